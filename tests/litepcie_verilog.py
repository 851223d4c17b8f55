# SPDX-License-Identifier: BSD-2-Clause
"""LitePCIe's TLP codec as Verilog, and a top that joins it to the endpoint.

LitePCIe stands in for the 7 series' block: its depacketizer receives the endpoint's TLPs, its
packetizer sends TLPs to the endpoint. Both are big-endian, as in LitePCIe's ``S7PCIEPHY``: that is
the block's byte order.
"""

import re

from litepcie.common import completion_layout, request_layout
from litepcie.tlp.depacketizer import LitePCIeTLPDepacketizer
from litepcie.tlp.packetizer import LitePCIeTLPPacketizer
from migen import ClockDomain, If, Module, Signal
from migen.fhdl import verilog

from hdl.companions import Port, instance
from hdl.shims.series7 import BAR_HIT, BARS, BEGINS, ENDS, PLACE_BITS, RX_USER_BITS

ENDIANNESS = "big"
HANDSHAKE = ("valid", "first", "last")


class Peer(Module):
    """LitePCIe's codec with the block's port names, and a bundle of ports for each packet kind.

    The endpoint sends ``requests`` and ``answers``, and receives ``ask`` and ``complete``.
    ``bars`` gives the BARs that match the packet on its way to the endpoint.
    """

    def __init__(self, data_width):
        self.ios = set()
        self.clock_domains.cd_sys = ClockDomain()
        self.cd_sys.clk = self._port("user_clk_out", 1)
        self.cd_sys.rst = self._port("user_reset_out", 1)
        self.submodules.depacketizer = depacketizer = LitePCIeTLPDepacketizer(
            data_width, ENDIANNESS
        )
        self.submodules.packetizer = packetizer = LitePCIeTLPPacketizer(data_width, ENDIANNESS)
        self._transmit(depacketizer.sink, data_width)
        self._receive(packetizer.source, data_width)
        fields = [name for name, *_ in request_layout(data_width).payload_layout]
        self._expose_source("requests", depacketizer.req_source, fields)
        for name in ("first_be", "last_be"):
            enables = self._port(f"requests_{name}", 4)
            self.comb += enables.eq(getattr(depacketizer.tlp_req, name))
        self._expose_sink("ask", packetizer.req_sink, fields)
        fields = [name for name, *_ in completion_layout(data_width).payload_layout]
        self._expose_source("answers", depacketizer.cmp_source, fields)
        self._expose_sink("complete", packetizer.cmp_sink, fields)

    def _port(self, name, bits):
        port = Signal(bits, name_override=name)
        self.ios.add(port)
        return port

    def _expose_source(self, name, source, fields):
        for field in (*HANDSHAKE, *fields):
            member = getattr(source, field)
            self.comb += self._port(f"{name}_{field}", len(member)).eq(member)
        self.comb += source.ready.eq(self._port(f"{name}_ready", 1))

    def _expose_sink(self, name, sink, fields):
        for field in (*HANDSHAKE, *fields):
            member = getattr(sink, field)
            self.comb += member.eq(self._port(f"{name}_{field}", len(member)))
        self.comb += self._port(f"{name}_ready", 1).eq(sink.ready)

    def _transmit(self, sink, data_width):
        """Connect the stream from the endpoint."""
        self.comb += [
            sink.valid.eq(self._port("s_axis_tx_tvalid", 1)),
            sink.last.eq(self._port("s_axis_tx_tlast", 1)),
            sink.dat.eq(self._port("s_axis_tx_tdata", data_width)),
            sink.be.eq(self._port("s_axis_tx_tkeep", data_width // 8)),
            self._port("s_axis_tx_tready", 1).eq(sink.ready),
        ]

    def _receive(self, source, data_width):
        """Connect the stream to the endpoint, with the block's ``tuser``."""
        user, bars = Signal(RX_USER_BITS), self._port("bars", BARS)
        self.comb += [
            self._port("m_axis_rx_tvalid", 1).eq(source.valid),
            self._port("m_axis_rx_tlast", 1).eq(source.last),
            self._port("m_axis_rx_tdata", data_width).eq(source.dat),
            self._port("m_axis_rx_tkeep", data_width // 8).eq(source.be),
            self._port("m_axis_rx_tuser", RX_USER_BITS).eq(user),
            source.ready.eq(self._port("m_axis_rx_tready", 1)),
            user[BAR_HIT : BAR_HIT + BARS].eq(bars),
        ]
        if data_width == 128:
            self.comb += [
                user[BEGINS + PLACE_BITS].eq(source.first),
                user[ENDS + PLACE_BITS].eq(source.last),
                user[ENDS : ENDS + PLACE_BITS].eq(3),
            ]
            for lane in range(1, data_width // 32):
                last_byte = user[ENDS : ENDS + PLACE_BITS]
                self.comb += If(source.be[4 * lane], last_byte.eq(4 * lane + 3))


def peer(data_width):
    """Verilog and ports of :class:`Peer`."""
    module = Peer(data_width)
    text = str(verilog.convert(module, ios=module.ios, name="litepcie_peer"))
    head = text.partition(");")[0]
    declarations = re.findall(
        r"^\s*(input|output)\s+(?:reg|wire)?\s*(?:\[(\d+):0\])?\s*(\w+)", head, re.M
    )
    return text, [Port(name, way, int(high or 0) + 1) for way, high, name in declarations]


def join_modules(name, *modules):
    """Verilog of a module that instantiates ``modules``, pairs of a name and its ports.

    A signal that one module drives and another reads is a wire, every other is a port.
    """
    ports, driven, read = {}, set(), set()
    for _, module_ports in modules:
        for port in module_ports:
            ports[port.name] = port
            (driven if port.direction == "output" else read).add(port.name)
    wires = driven & read

    def declare(port):
        kind = "wire" if port.name in wires else port.direction
        # No range for a single bit: cocotb takes it for a scalar.
        bits = f" [{port.bits - 1}:0]" if port.bits > 1 else ""
        return f"{kind}{bits} {port.name}"

    ports_of_top = [declare(port) for port in ports.values() if port.name not in wires]
    wire_declarations = [f"{declare(ports[wire])};" for wire in sorted(wires)]
    instances = [instance(module, module_ports) for module, module_ports in modules]
    return "\n".join(
        [
            f"module {name} (",
            ",\n".join(ports_of_top),
            ");",
            *wire_declarations,
            *instances,
            "endmodule",
            "",
        ]
    )
