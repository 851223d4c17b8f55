# SPDX-License-Identifier: BSD-2-Clause
"""LitePCIe's codec of TLPs as Verilog, and a top that joins it to the endpoint.

LitePCIe is at the other end of the streams of the 7 series' block: its depacketizer takes what the
endpoint sends, its packetizer makes what the endpoint receives. Both are used as LitePCIe's
``S7PCIEPHY`` has them: big-endian, which is that block's order of bytes.
"""

import re

from litepcie.common import completion_layout, request_layout
from litepcie.tlp.depacketizer import LitePCIeTLPDepacketizer
from litepcie.tlp.packetizer import LitePCIeTLPPacketizer
from migen import ClockDomain, If, Module, Signal
from migen.fhdl import verilog

from hdl.beside import Port, instance
from hdl.shims.series7 import BAR_HIT, BARS, BEGINS, ENDS, PLACE_BITS, RX_USER_BITS

ENDIANNESS = "big"
HANDSHAKE = ("valid", "first", "last")


class Peer(Module):
    """Ports by the names that the block has; the packets beside them, a bundle for each kind.

    ``requests`` and ``answers`` are what the endpoint sends, ``ask`` and ``complete`` what it is
    sent; ``bars`` says which BARs match the packet that is on its way to it.
    """

    def __init__(self, data_width):
        self.ios = set()
        self.clock_domains.cd_sys = ClockDomain()
        self.cd_sys.clk = self._port("user_clk_out", 1)
        self.cd_sys.rst = self._port("user_reset_out", 1)
        self.submodules.depacketizer = taken = LitePCIeTLPDepacketizer(data_width, ENDIANNESS)
        self.submodules.packetizer = made = LitePCIeTLPPacketizer(data_width, ENDIANNESS)
        self._transmit(taken.sink, data_width)
        self._receive(made.source, data_width)
        fields = [name for name, *_ in request_layout(data_width).payload_layout]
        self._show("requests", taken.req_source, fields)
        for name in ("first_be", "last_be"):
            enables = self._port(f"requests_{name}", 4)
            self.comb += enables.eq(getattr(taken.tlp_req, name))
        self._take("ask", made.req_sink, fields)
        fields = [name for name, *_ in completion_layout(data_width).payload_layout]
        self._show("answers", taken.cmp_source, fields)
        self._take("complete", made.cmp_sink, fields)

    def _port(self, name, bits):
        port = Signal(bits, name_override=name)
        self.ios.add(port)
        return port

    def _show(self, name, source, fields):
        for field in (*HANDSHAKE, *fields):
            inner = getattr(source, field)
            self.comb += self._port(f"{name}_{field}", len(inner)).eq(inner)
        self.comb += source.ready.eq(self._port(f"{name}_ready", 1))

    def _take(self, name, sink, fields):
        for field in (*HANDSHAKE, *fields):
            inner = getattr(sink, field)
            self.comb += inner.eq(self._port(f"{name}_{field}", len(inner)))
        self.comb += self._port(f"{name}_ready", 1).eq(sink.ready)

    def _transmit(self, sink, data_width):
        """What the endpoint sends."""
        self.comb += [
            sink.valid.eq(self._port("s_axis_tx_tvalid", 1)),
            sink.last.eq(self._port("s_axis_tx_tlast", 1)),
            sink.dat.eq(self._port("s_axis_tx_tdata", data_width)),
            sink.be.eq(self._port("s_axis_tx_tkeep", data_width // 8)),
            self._port("s_axis_tx_tready", 1).eq(sink.ready),
        ]

    def _receive(self, source, data_width):
        """What it receives, with what the block says beside it."""
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
    """The Verilog of :class:`Peer`, and its ports."""
    module = Peer(data_width)
    text = str(verilog.convert(module, ios=module.ios, name="litepcie_peer"))
    head = text.partition(");")[0]
    found = re.findall(r"^\s*(input|output)\s+(?:reg|wire)?\s*(?:\[(\d+):0\])?\s*(\w+)", head, re.M)
    return text, [Port(name, way, int(high or 0) + 1) for way, high, name in found]


def joined(name, *modules):
    """A module that has an instance of each of ``modules``, which are names with their ports.

    What one of them drives and another takes is a wire, everything else a port.
    """
    ports, driven, taken = {}, set(), set()
    for _, its_ports in modules:
        for port in its_ports:
            ports[port.name] = port
            (driven if port.direction == "output" else taken).add(port.name)
    wires = driven & taken

    def declare(port):
        kind = "wire" if port.name in wires else port.direction
        # Of one bit cocotb makes no vector.
        bits = f" [{port.bits - 1}:0]" if port.bits > 1 else ""
        return f"{kind}{bits} {port.name}"

    outside = [declare(port) for port in ports.values() if port.name not in wires]
    inside = [f"{declare(ports[wire])};" for wire in sorted(wires)]
    instances = [instance(module, its_ports) for module, its_ports in modules]
    return "\n".join(
        [f"module {name} (", ",\n".join(outside), ");", *inside, *instances, "endmodule", ""]
    )
