# SPDX-License-Identifier: BSD-2-Clause
"""Endpoint behind Intel's hard blocks with Avalon-ST: the common part."""

from collections.abc import Mapping
from typing import Any, ClassVar

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Module, Mux, ResetSignal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from models.config_space import size_code
from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from ..arbiter import PacketArbiter
from ..block_options import BlockOptions
from ..core import AmpPciCore
from ..core_ports import device_members
from ..dma.limits import COMPLETION_TIMEOUT
from ..tlp import HeaderWord0, TlpType, header_signature, raw_signature
from .avalon import PacketSender, ReceiveBuffer
from .connections import connect_arbiter, connect_device_side, connect_received
from .function_reset import FunctionResetHandshake
from .intel_config import ADDRESS_BITS, ConfigurationLayout, ConfigurationListener
from .intel_errors import ErrorReporter
from .segments import Unsegmenter, segments_layout
from .settling import track_packets

__all__ = ["IntelShim"]

LONGEST_PAYLOAD = 512
"""Bytes. A packet is sent only once it is stored whole, so the longest must fit the buffer."""
BUFFER_BYTES = 2 * LONGEST_PAYLOAD
SENDER_LATENCY = 3
"""``tx_st_ready`` applies to the third cycle after it."""
MAX_PACKETS = 8
"""Maximum number of packets between the core and the buffer, and on their way out of it."""


class IntelShim(wiring.Component):
    """Common part of the shims for Intel's hard blocks.

    Everything is sent through one stream, in order. MSI-X writes go before completions, as in
    :class:`~hdl.endpoint.AmpPciEndpoint`. Reads of host memory are held back until the host has
    granted credits.

    Parameters
    ----------
    num_fifos, shell, layout, dma, completion_timeout
        As in :class:`~hdl.core.AmpPciCore`.
    data_width : int
        A width that the block has. At 512 bits there are two segments. The block may begin a packet
        in either; the shim begins packets in the lower one only.

    Attributes
    ----------
    coreclkout_hip : In(1)
        Clock.
    rx_st_data, rx_st_empty, rx_st_eop, rx_st_valid, rx_st_bar_range, rx_st_func_num : In
        Received packets, a part of each for every segment. There is no parity.
    rx_st_sop : In
        Ignored: a packet begins after the end of the one before.
    rx_st_ready : Out(1)
        The block may send.
    tx_st_data, tx_st_sop, tx_st_eop, tx_st_valid, tx_st_err : Out
        Packets to send, a part of each for every segment. There is no parity.
    tx_st_ready : In(1)
        The block accepts a word three cycles later.
    tl_cfg_func, tl_cfg_add, tl_cfg_ctl : In
        Settings of the function, one register at a time. A lower setting holds for everything
        planned from then on; what is already planned is sent before ``status_config_settled``
        rises, as in :class:`~hdl.core.AmpPciCore`, because the block completes the configuration
        write by itself. A Max_Payload_Size above 512 bytes counts as 512 bytes.
    app_err_valid : Out(1)
        One-cycle pulse: an error for the block to report.
    app_err_info : Out
        Cause of the error.
    app_err_hdr, app_err_func_num : Out
        Constant 0: errors are reported without headers, for physical function 0.
    status_config_settled : Out(1)
        As in :class:`~hdl.core.AmpPciCore`, with the packets inside the shim included.
    m_axis_msg, s_axis_msg, s_axi_dma, device_queue_ready, doorbell, host_reset, count_*
        Device side, as in :class:`~hdl.core.AmpPciCore`.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    block: str
    data_widths: tuple[int, ...]
    reset_pin: tuple[str, bool]
    """Name of the reset, and whether it is active low."""
    configuration: ConfigurationLayout
    receive_allowance: int
    completion_headers: ClassVar[Mapping[int, int]] = {}
    """Capacity of the receive buffer in completions, for each data width at which it may be too
    small for all outstanding reads."""
    error_bits: int
    flr_pins: tuple[str, str, int]
    """Pins of function-level reset: request, acknowledgement, and the number of functions."""
    side: data.StructLayout
    """Sideband of the beginning of a packet: ``bar``, ``function``, and what a block adds."""
    sent_sideband: ClassVar[Mapping[str, int]] = {}
    """Fields that a block adds to a word to send."""

    def __init__(
        self,
        *,
        num_fifos: int = 1,
        data_width: int = 256,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        dma: bool = True,
        completion_timeout: int = COMPLETION_TIMEOUT,
    ):
        if data_width not in self.data_widths:
            *others, last = self.data_widths
            allowed = f"{', '.join(map(str, others))} or {last}"
            raise ValueError(f"data_width is {data_width!r}: must be {allowed} for {self.block}")
        self._core = AmpPciCore(
            num_fifos=num_fifos,
            data_width=data_width,
            shell=shell,
            layout=layout,
            dma=dma,
            completion_timeout=completion_timeout,
            block=BlockOptions(
                separate_msix=True,
                completion_headers=self.completion_headers.get(data_width) if dma else None,
            ),
        )
        self._data_width = data_width
        self._dma = dma
        self._segments = segments = 2 if data_width == 512 else 1
        self._device_members = device_members(data_width, num_fifos, dma=dma)
        lanes = data_width // 32 // segments
        request_pin, acknowledge_pin, functions = self.flr_pins
        super().__init__(
            {
                "coreclkout_hip": In(1),
                self.reset_pin[0]: In(1),
                "rx_st_data": In(data_width),
                "rx_st_empty": In(segments * (lanes - 1).bit_length()),
                "rx_st_sop": In(segments),
                "rx_st_eop": In(segments),
                "rx_st_valid": In(segments),
                "rx_st_ready": Out(1),
                "rx_st_bar_range": In(segments * 3),
                "rx_st_func_num": In(segments * self.configuration.function_bits),
                "tx_st_data": Out(data_width),
                "tx_st_sop": Out(segments),
                "tx_st_eop": Out(segments),
                "tx_st_valid": Out(segments),
                "tx_st_ready": In(1),
                "tx_st_err": Out(segments),
                "tl_cfg_func": In(self.configuration.function_bits),
                "tl_cfg_add": In(ADDRESS_BITS),
                "tl_cfg_ctl": In(self.configuration.control_bits),
                "app_err_valid": Out(1),
                "app_err_hdr": Out(32),
                "app_err_info": Out(self.error_bits),
                "app_err_func_num": Out(self.configuration.function_bits),
                request_pin: In(functions),
                acknowledge_pin: Out(functions),
                **self._block_members(segments),
                "status_config_settled": Out(1),
                **self._device_members,
            }
        )

    def _block_members(self, segments: int) -> dict[str, wiring.Member]:
        """Members that a block adds."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        name, active_low = self.reset_pin
        reset = getattr(self, name)
        m.d.comb += [
            ClockSignal().eq(self.coreclkout_hip),
            ResetSignal().eq(~reset if active_low else reset),
        ]
        m.submodules.core = core = self._core
        connect_device_side(m, core, self, self._device_members)
        self._receive(m, core)
        self._configure(m, core)
        settling = self._transmit(m, core)
        self._report(m, core)

        m.submodules.function_reset = function_reset = FunctionResetHandshake()
        request_pin, acknowledge_pin, _ = self.flr_pins
        m.d.comb += [
            settling.reset.eq(function_reset.reset),
            self.status_config_settled.eq(settling.settled),
            function_reset.in_process.eq(getattr(self, request_pin)[0]),
            core.function_reset.eq(function_reset.reset),
            function_reset.done.eq(core.function_reset_done & ~settling.former),
            getattr(self, acknowledge_pin)[0].eq(function_reset.acknowledge),
        ]
        return m

    def _configure(self, m, core):
        """Connect the settings of Configuration Space."""
        m.submodules.configuration = listener = ConfigurationListener(self.configuration)
        number = Cat(Const(0, 3), listener.device_number, listener.bus_number)
        longest = size_code(LONGEST_PAYLOAD)
        m.d.comb += [
            listener.tl_cfg_func.eq(self.tl_cfg_func),
            listener.tl_cfg_add.eq(self.tl_cfg_add),
            listener.tl_cfg_ctl.eq(self.tl_cfg_ctl),
            core.completer_id.eq(number),
            core.requester_id.eq(number),
            core.max_payload_size.eq(
                Mux(listener.max_payload_size > longest, longest, listener.max_payload_size)
            ),
            core.max_read_request_size.eq(listener.max_read_request_size),
            core.ext_tag_enable.eq(listener.extended_tag_enable),
            core.rcb_128b.eq(listener.read_completion_boundary),
            core.bus_master_enable.eq(listener.bus_master_enable),
            core.msix_enable.eq(listener.msix_enable),
            core.msix_mask.eq(listener.msix_mask),
        ]

    def _report(self, m, core):
        """Connect the error reports."""
        m.submodules.errors = errors = ErrorReporter(self.error_bits)
        m.d.comb += [
            errors.unsupported_posted.eq(core.status_unsupported_posted),
            errors.unsupported_non_posted.eq(core.status_unsupported_non_posted),
            errors.poisoned.eq(core.status_poisoned | core.status_completion_poisoned),
            errors.unexpected.eq(core.status_completion_unexpected),
            errors.timeout.eq(core.status_completion_timeout),
            self.app_err_valid.eq(errors.app_err_valid),
            self.app_err_info.eq(errors.app_err_info),
        ]

    def _receive(self, m, core):
        """Connect requests and completions; see :meth:`_unsegment`."""
        raise NotImplementedError

    def _unsegment(self, m, block_pins: dict[str, Any]) -> Unsegmenter:
        """Align received packets to lane 0.

        ``block_pins`` maps the fields that a block adds to ``side`` to their pins."""
        segments = self._segments
        m.submodules.buffer = buffer = ReceiveBuffer(
            segments_layout(self._data_width, segments, self.side),
            allowance=self.receive_allowance,
        )
        m.submodules.unsegmenter = unsegmenter = Unsegmenter(self._data_width, segments, self.side)
        wiring.connect(m, buffer.o, unsegmenter.i)
        pins = {"bar": self.rx_st_bar_range, "function": self.rx_st_func_num, **block_pins}
        lanes = self._data_width // 32 // segments
        m.d.comb += [buffer.valid.eq(self.rx_st_valid.any()), self.rx_st_ready.eq(buffer.ready)]
        for number in range(segments):

            def of_segment(pin, number=number):
                return pin.word_select(number, len(pin) // segments)

            segment = buffer.p.segments[number]
            m.d.comb += [
                segment.data.eq(of_segment(self.rx_st_data)),
                segment.lanes.eq(lanes - of_segment(self.rx_st_empty)),
                segment.last.eq(of_segment(self.rx_st_eop)),
                segment.valid.eq(of_segment(self.rx_st_valid)),
                *(segment.side[name].eq(of_segment(pin)) for name, pin in pins.items()),
            ]
        return unsegmenter

    def _connect_received(self, m, core, received, side, header):
        """Connect ``received`` to the request or the completion stream of the core.

        ``header`` and ``side`` replace the header of ``received``.
        """
        connect_received(m, core, received, first=received.p.sop, word0=HeaderWord0(header[-32:]))
        requests, completions = core.rx_req_tlp, core.rx_cpl_tlp
        m.d.comb += [requests.p.bar_id.eq(side.bar), requests.p.func_num.eq(side.function)]
        for sink in (requests, completions):
            for name in ("data", "strb", "sop", "eop"):
                m.d.comb += sink.p[name].eq(received.p[name])
            m.d.comb += sink.p.hdr.eq(header)

    def _transmit(self, m, core):
        """Merge everything that is sent, MSI-X writes first. Returns the tracker of the packets."""
        sources = [core.tx_msix_wr_req_tlp, core.tx_cpl_tlp]
        if self._dma:
            reads = header_signature().create()
            sources += [core.tx_wr_req_tlp, reads]
        m.submodules.arbiter = arbiter = PacketArbiter(
            raw_signature(self._data_width), count=len(sources), priority=1, parked=1
        )
        connect_arbiter(m, sources, arbiter)

        lanes = self._data_width // 32
        layout = data.StructLayout(
            {
                "data": self._data_width,
                "upper": 1,
                "first": 1,
                "last": 1,
                "read": 1,
                **self.sent_sideband,
            }
        )
        depth = BUFFER_BYTES // 4 // lanes
        m.submodules.sender = sender = PacketSender(layout, depth=depth, latency=SENDER_LATENCY)
        word0 = HeaderWord0(arbiter.o.p.hdr[-32:])
        m.d.comb += sender.i.p.read.eq(~word0.has_payload & (word0.type == TlpType.MEMORY))
        self._connect_sender(m, arbiter.o, sender.i)

        sent = sender.p
        begins = sender.valid & sent.first
        ends = sender.valid & sent.last
        m.d.comb += [
            sender.ready.eq(self.tx_st_ready),
            self.tx_st_data.eq(sent.data),
            self.tx_st_valid[0].eq(sender.valid),
            self.tx_st_sop[0].eq(begins),
            self.tx_st_eop[0].eq(ends),
        ]
        if self._segments == 2:
            m.d.comb += [
                self.tx_st_valid[1].eq(sender.valid & sent.upper),
                self.tx_st_eop[0].eq(ends & ~sent.upper),
                self.tx_st_eop[1].eq(ends & sent.upper),
            ]

        self._drive_pins(m, sent)

        settling = track_packets(m, core, arbiter, departed=ends, max_packets=depth + MAX_PACKETS)

        if self._dma:
            m.submodules.credits = gate = self._credits(m, begins & sent.read)
            m.d.comb += [
                reads.p.eq(core.tx_rd_req_tlp.p),
                reads.valid.eq(core.tx_rd_req_tlp.valid & gate.may_send),
                core.tx_rd_req_tlp.ready.eq(reads.ready & gate.may_send),
                gate.consumed.eq(reads.valid & reads.ready),
            ]
        return settling

    def _connect_sender(self, m, source, sink):
        """Connect the merged stream to the words to send, all fields but ``read``."""
        raise NotImplementedError

    def _drive_pins(self, m, sent):
        """Drive the pins of the fields that a block adds."""

    def _credits(self, m, departed):
        """Create and connect the component that holds back reads without credits.

        ``departed``: a read leaves for the block.
        """
        raise NotImplementedError
