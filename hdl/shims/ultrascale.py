# SPDX-License-Identifier: BSD-2-Clause
"""Endpoint behind the integrated block for PCI Express of UltraScale and UltraScale+.

Sources: PG156 and PG213. The block must be set to dword-aligned mode and client tags, without
straddling.
"""

from functools import partial

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from ..arbiter import PacketArbiter
from ..block_options import BlockOptions
from ..core import AmpPciCore
from ..core_ports import device_members
from ..dma.limits import COMPLETION_TIMEOUT
from ..tlp import RequestHeader, raw_signature
from .connections import (
    axi_stream,
    connect_arbiter,
    connect_device_side,
    from_splitter,
    kept_lanes,
    to_joiner,
)
from .function_reset import FunctionResetHandshake
from .inline import HeaderJoiner, HeaderSplitter
from .sequence import DroppedWrites, SequenceNumbers
from .settling import track_packets
from .ultrascale_fields import (
    CompleterRequest,
    RequesterCompletion,
    completion_of,
    header_of_completion,
    header_of_request,
    is_message,
    request_of,
    sideband,
)

__all__ = ["UltraScaleShim", "XilinxUltraScale", "XilinxUltraScalePlus"]

BUS_MASTER_ENABLE = 2
"""Bit of ``cfg_function_status``."""

DROPPING_CYCLES = 256
"""Cycles from the fall of bus mastering until the block has dropped all of its writes."""

MAX_PACKETS = 4
"""Maximum number of requests between the core and the block."""

DMA_WRITE_TAG = 1
"""Tag that distinguishes DMA writes from MSI-X writes; posted requests may have any."""


class UltraScaleShim(wiring.Component):
    """Common part of the shims for both families.

    All requests leave through RQ in one ordered stream: DMA writes, MSI-X writes and DMA reads. The
    head of a device queue moves, ``BRESP`` is sent and an interrupt is sent only when the block has
    returned the sequence numbers of the DMA writes before: from then on neither a completion nor a
    read can pass them.

    Parameters
    ----------
    num_fifos, data_width, shell, layout, dma, completion_timeout
        As in :class:`~hdl.core.AmpPciCore`.

    Attributes
    ----------
    user_clk : In(1)
        Clock.
    user_reset : In(1)
        Reset.
    m_axis_cq, s_axis_cc, s_axis_rq, m_axis_rc
        Streams of the block. RC never stalls.
    pcie_rq_seq_num*, pcie_rq_seq_num_vld* : In
        Sequence numbers that the block returns: number and valid of each port.
    pcie_cq_np_req : Out
        Constant: non-posted requests are always accepted.
    cfg_max_payload, cfg_max_read_req, cfg_rcb_status, cfg_function_status : In
        Settings of the function. A lower setting holds for everything planned from then on; what is
        already planned is sent before ``status_config_settled`` rises, as in
        :class:`~hdl.core.AmpPciCore`, because the block completes the configuration write by
        itself.
    cfg_interrupt_msix_enable, cfg_interrupt_msix_mask : In(2), for UltraScale+ In(4)
        MSI-X Enable and Function Mask. The block must be set to "MSI-X External": table and pending
        bits are in a BAR of the core.
    cfg_flr_in_process : In(4)
        Function-level reset, bit 0 for physical function 0.
    cfg_flr_done : Out(4)
        One-cycle pulse on bit 0: the reset is complete, nothing from before it is inside.
    cfg_power_state_change_interrupt : In(1)
        Power state change.
    cfg_power_state_change_ack : Out(1)
        Acknowledges it in the next cycle: there is no state to save.
    cfg_err_cor_in, cfg_err_uncor_in : Out(1)
        Errors for the block to report.
    status_config_settled : Out(1)
        As in :class:`~hdl.core.AmpPciCore`.
    m_axis_msg, s_axis_msg, s_axi_dma, device_queue_ready, doorbell, host_reset, count_*
        Device side, as in :class:`~hdl.core.AmpPciCore`.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    plus: bool
    sequence_bits: int
    sequence_ports: tuple[str, ...]
    payload_bits: int
    completion_headers: int
    """Header credits of the receive buffer, which has at least 64 bytes for each (PG156, PG213,
    completion space)."""
    msix_functions: int

    def __init__(
        self,
        *,
        num_fifos: int = 1,
        data_width: int = 128,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        dma: bool = True,
        completion_timeout: int = COMPLETION_TIMEOUT,
    ):
        self._core = AmpPciCore(
            num_fifos=num_fifos,
            data_width=data_width,
            shell=shell,
            layout=layout,
            dma=dma,
            completion_timeout=completion_timeout,
            # Requests are merged in the shim, which distinguishes those that return a sequence
            # number.
            block=BlockOptions(
                force_64_bit_addresses=True,
                separate_msix=True,
                sequence_numbers=dma,
                completion_headers=self.completion_headers if dma else None,
            ),
        )
        self._side = side = sideband(data_width, plus=self.plus)
        self._data_width = data_width
        self._dma = dma
        self._device_members = device_members(data_width, num_fifos, dma=dma)
        # `tkeep` has a bit for each dword.
        streams = partial(axi_stream, data_width, keep_bits=data_width // 32)
        super().__init__(
            {
                "user_clk": In(1),
                "user_reset": In(1),
                "m_axis_cq": In(streams(user_bits=side.cq)),
                "s_axis_cc": Out(streams(user_bits=side.cc)),
                "s_axis_rq": Out(streams(user_bits=side.rq)),
                "m_axis_rc": In(streams(user_bits=side.rc)),
                **self._sequence_members(),
                "pcie_cq_np_req": Out(2 if self.plus else 1, init=1),
                "cfg_max_payload": In(self.payload_bits),
                "cfg_max_read_req": In(3),
                "cfg_function_status": In(16),
                "cfg_rcb_status": In(4),
                "cfg_interrupt_msix_enable": In(self.msix_functions),
                "cfg_interrupt_msix_mask": In(self.msix_functions),
                "cfg_flr_in_process": In(4),
                "cfg_flr_done": Out(4),
                "cfg_power_state_change_interrupt": In(1),
                "cfg_power_state_change_ack": Out(1),
                "cfg_err_cor_in": Out(1),
                "cfg_err_uncor_in": Out(1),
                "status_config_settled": Out(1),
                **self._device_members,
            }
        )

    @classmethod
    def _sequence_members(cls):
        """Pins of the returned sequence numbers: number and valid of each port."""
        return {
            name: member
            for port in cls.sequence_ports
            for name, member in (
                (f"pcie_rq_seq_num{port}", In(cls.sequence_bits)),
                (f"pcie_rq_seq_num_vld{port}", In(1)),
            )
        }

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.user_clk), ResetSignal().eq(self.user_reset)]
        m.submodules.core = core = self._core
        m.submodules.function_reset = function_reset = FunctionResetHandshake()

        self._receive_requests(m, core)
        self._send_completions(m, core)
        self._receive_completions(m, core)
        arbiter = self._send_requests(m, core)
        rq = self.s_axis_rq
        departed = rq.valid & rq.ready & rq.p.tlast
        settling = track_packets(m, core, arbiter, departed=departed, max_packets=MAX_PACKETS)

        bus_master_enable = self.cfg_function_status[BUS_MASTER_ENABLE]
        m.d.comb += [
            self.pcie_cq_np_req.eq(1),
            core.max_payload_size.eq(self.cfg_max_payload),
            core.max_read_request_size.eq(self.cfg_max_read_req),
            core.rcb_128b.eq(self.cfg_rcb_status[0]),
            core.bus_master_enable.eq(bus_master_enable),
            core.msix_enable.eq(self.cfg_interrupt_msix_enable[0]),
            core.msix_mask.eq(self.cfg_interrupt_msix_mask[0]),
            function_reset.in_process.eq(self.cfg_flr_in_process[0]),
            settling.reset.eq(function_reset.reset),
            function_reset.done.eq(core.function_reset_done & ~settling.former),
            core.function_reset.eq(function_reset.reset),
            self.cfg_flr_done.eq(function_reset.acknowledge),
            self.status_config_settled.eq(settling.settled),
        ]
        m.d.sync += [
            self.cfg_power_state_change_ack.eq(self.cfg_power_state_change_interrupt),
            self.cfg_err_cor_in.eq(core.status_error_cor),
        ]
        connect_device_side(m, core, self, self._device_members)
        return m

    def _receive_requests(self, m, core):
        """Connect CQ: descriptors to TLP headers."""
        m.submodules.requests = splitter = HeaderSplitter(self._data_width, (4,))
        side = self._side
        user = self.m_axis_cq.p.tuser
        corrupt = self._split(m, self.m_axis_cq, splitter, side.cq_discontinue, core.rx_req_tlp)
        m.d.sync += self.cfg_err_uncor_in.eq(core.status_error_uncor | corrupt)

        # Keep the byte enables of the first beat: the header may be emitted with a later one.
        begins = Signal(init=1)
        first_be, last_be = Signal(4), Signal(4)
        with m.If(splitter.i.valid & splitter.i.ready):
            m.d.sync += begins.eq(splitter.i.p.last)
            with m.If(begins):
                m.d.sync += [first_be.eq(user[:4]), last_be.eq(user[side.cq_last_be :][:4])]
        request = CompleterRequest(splitter.o.p.header)
        header = header_of_request(
            request,
            Mux(begins, user[:4], first_be),
            Mux(begins, user[side.cq_last_be :][:4], last_be),
        )
        m.d.comb += [
            core.rx_req_tlp.p.hdr.eq(header),
            core.rx_req_tlp.p.bar_id.eq(request.bar),
            # For a message, `function` is its code.
            core.rx_req_tlp.p.func_num.eq(Mux(is_message(request), 0, request.function)),
        ]

    def _send_completions(self, m, core):
        """Connect CC: TLP headers to descriptors."""
        m.submodules.completions = joiner = HeaderJoiner(self._data_width, (3,))
        source, sink = core.tx_cpl_tlp, self.s_axis_cc
        m.d.comb += to_joiner(source, joiner, header=completion_of(source.p.hdr))
        m.d.comb += [
            sink.valid.eq(joiner.o.valid),
            joiner.o.ready.eq(sink.ready),
            self._drive(joiner, sink, self._side.cc_frame),
        ]

    def _receive_completions(self, m, core):
        """Connect RC: descriptors to TLP headers."""
        m.submodules.answers = splitter = HeaderSplitter(self._data_width, (3,))
        sink = core.rx_cpl_tlp
        self._split(m, self.m_axis_rc, splitter, self._side.rc_discontinue, sink)
        completion = RequesterCompletion(splitter.o.p.header[: RequesterCompletion.as_shape().size])
        m.d.comb += [
            sink.p.hdr.eq(header_of_completion(completion)),
            sink.p.error.eq(completion.error),
        ]

    def _send_requests(self, m, core):
        """Connect RQ: TLP headers to descriptors, with sequence numbers for DMA writes.

        Returns the arbiter that merges the requests.
        """
        side = self._side
        signature = raw_signature(self._data_width)
        m.submodules.requester = arbiter = PacketArbiter(
            signature, count=3 if self._dma else 1, priority=1
        )
        m.submodules.joiner = joiner = HeaderJoiner(self._data_width, (4,))
        sources = [core.tx_msix_wr_req_tlp]
        if self._dma:
            sources += [core.tx_wr_req_tlp, core.tx_rd_req_tlp]
        connect_arbiter(m, sources, arbiter)
        if self._dma:
            write_header = Signal(RequestHeader)
            m.d.comb += write_header.eq(core.tx_wr_req_tlp.p.hdr)
            m.d.comb += [
                write_header.tag.eq(DMA_WRITE_TAG),
                arbiter.i[1].p.hdr.eq(write_header),
            ]

        header = RequestHeader(arbiter.o.p.hdr)
        rq = self.s_axis_rq
        may_send = Signal()
        m.d.comb += to_joiner(arbiter.o, joiner, header=request_of(arbiter.o.p.hdr))
        m.d.comb += [
            rq.valid.eq(joiner.o.valid & may_send),
            joiner.o.ready.eq(rq.ready & may_send),
            self._drive(joiner, rq, side.rq_frame),
        ]
        with m.If(joiner.first):
            m.d.comb += [
                rq.p.tuser[:4].eq(header.first_be),
                rq.p.tuser[side.rq_last_be :][:4].eq(header.last_be),
            ]
        if not self._dma:
            m.d.comb += may_send.eq(1)
            return arbiter

        ports = [
            (getattr(self, f"pcie_rq_seq_num{port}"), getattr(self, f"pcie_rq_seq_num_vld{port}"))
            for port in self.sequence_ports
        ]
        m.submodules.numbers = numbers = SequenceNumbers(self.sequence_bits - 1, ports=len(ports))
        m.submodules.dropped = dropped = DroppedWrites(DROPPING_CYCLES)
        m.d.comb += [
            dropped.bus_master_enable.eq(self.cfg_function_status[BUS_MASTER_ENABLE]),
            numbers.flush.eq(dropped.flush),
        ]
        # Bit 0 marks the numbers of DMA writes; the return of all others is ignored.
        numbered = header.word0.has_payload & (header.tag == DMA_WRITE_TAG)
        number = Cat(numbered, numbers.number)
        m.d.comb += [
            may_send.eq(~(joiner.first & numbered) | (numbers.has_space & ~dropped.hold)),
            numbers.accepted.eq(joiner.first & numbered & rq.valid & rq.ready),
            core.wr_req_tx_seq_num_valid.eq(numbers.gone),
        ]
        for port, (returned, valid) in enumerate(ports):
            m.d.comb += [
                numbers.returned[port].eq(valid & returned[0]),
                numbers.returned_number[port].eq(returned[1:]),
            ]
        low_bit = 0
        with m.If(joiner.first & numbered):
            for first, bits in side.rq_sequence:
                m.d.comb += rq.p.tuser[first : first + bits].eq(number[low_bit : low_bit + bits])
                low_bit += bits
        return arbiter

    def _split(self, m, source, splitter, discontinue, sink):
        """Connect a stream of the block to one of the core, except for the header and its sideband.

        Returns whether a corrupt beat is accepted.
        """
        m.d.comb += [
            splitter.i.valid.eq(source.valid),
            source.ready.eq(splitter.i.ready),
            splitter.i.p.data.eq(source.p.tdata),
            splitter.i.p.lanes.eq(sum(source.p.tkeep)[: len(splitter.i.p.lanes)]),
            splitter.i.p.last.eq(source.p.tlast),
            splitter.broken.eq(source.p.tuser[discontinue]),
            sink.valid.eq(splitter.o.valid),
            splitter.o.ready.eq(sink.ready),
            *from_splitter(splitter, sink),
        ]
        return source.valid & source.ready & source.p.tuser[discontinue]

    def _drive(self, joiner, sink, frame):
        """Statements that drive a stream of the block, with marks of the first and last beat if it
        has them."""
        beat = joiner.o.p
        statements = [
            sink.p.tdata.eq(beat.data),
            sink.p.tkeep.eq(kept_lanes(joiner)),
            sink.p.tlast.eq(beat.last),
        ]
        if frame is not None:
            begins, ends, last_lane = frame
            statements += [
                sink.p.tuser[begins].eq(joiner.first),
                sink.p.tuser[ends].eq(beat.last),
                sink.p.tuser[last_lane : last_lane + 4].eq(beat.lanes - 1),
            ]
        return statements


class XilinxUltraScale(UltraScaleShim):
    """Endpoint for UltraScale, 64 to 256 bits; otherwise as :class:`UltraScaleShim`."""

    plus = False
    completion_headers = 64
    sequence_bits = 4
    sequence_ports = ("",)
    payload_bits = 3
    msix_functions = 2


class XilinxUltraScalePlus(UltraScaleShim):
    """Endpoint for UltraScale+, 64 to 512 bits; otherwise as :class:`UltraScaleShim`."""

    plus = True
    completion_headers = 128
    sequence_bits = 6
    sequence_ports = ("0", "1")
    payload_bits = 2
    msix_functions = 4
