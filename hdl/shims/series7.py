# SPDX-License-Identifier: BSD-2-Clause
"""Endpoint behind the integrated block for PCI Express of the 7 series.

Source: PG054. The streams carry TLPs as they are on the link: dwords in order, the first byte of
each in its most significant bits. LitePCIe's cores have the same interface to that block.
"""

from functools import partial

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models import config_space as space
from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from ..arbiter import PacketArbiter
from ..block_options import BlockOptions
from ..core import AmpPciCore
from ..core_ports import device_members
from ..dma.limits import COMPLETION_TIMEOUT
from ..tlp import HeaderWord0, raw_signature
from .connections import (
    axi_stream,
    connect_arbiter,
    connect_device_side,
    connect_received,
    from_splitter,
    kept_lanes,
    received_header,
    reverse_dwords,
    to_joiner,
)
from .inline import HeaderJoiner, HeaderSplitter
from .settling import track_packets
from .straddle import Unstraddler

__all__ = ["DATA_WIDTHS", "XilinxSeries7"]

DATA_WIDTHS = (64, 128)
HEADERS = (3, 4)

BAR_HIT = 2
"""First of the bits of ``m_axis_rx_tuser`` that say which BAR matched."""
BARS = 6
NO_BAR = 7
BEGINS, ENDS = 10, 17
"""First bits in ``m_axis_rx_tuser`` of the positions of a packet's first and last byte, at 128
bits: the position in the beat, then a valid bit."""
PLACE_BITS = 4
RX_USER_BITS = 22
TX_USER_BITS = 4

MAX_PACKETS = 4
"""Maximum number of packets between the core and the block."""

COMPLETION_HEADERS = 36
"""Header credits of the receive buffer. Its data credits suffice if the Performance Level is High,
or if the block supports payloads of 512 bytes (PG054, completion space)."""


class XilinxSeries7(wiring.Component):
    """Endpoint for the 7 series, 64 and 128 bits.

    Everything is sent through one stream, in order, and the block keeps that order as far as PCI
    Express requires it. MSI-X writes go before completions, as in
    :class:`~hdl.endpoint.AmpPciEndpoint`.

    Parameters
    ----------
    num_fifos, shell, layout, dma, completion_timeout
        As in :class:`~hdl.core.AmpPciCore`.
    data_width : int
        64 or 128 bits.

    Attributes
    ----------
    user_clk_out : In(1)
        Clock.
    user_reset_out : In(1)
        Reset.
    m_axis_rx, s_axis_tx
        Streams of the block. At 128 bits a packet may begin in the middle of a beat of
        ``m_axis_rx``.
    rx_np_ok, rx_np_req : Out(1)
        Constant: non-posted requests are always accepted.
    tx_cfg_gnt : Out(1)
        Constant: the block may send its own packets first.
    cfg_bus_number, cfg_device_number, cfg_function_number : In
        Requester and completer ID of the function.
    cfg_command, cfg_dcommand, cfg_lcommand : In(16)
        Command, Device Control and Link Control. A lower setting holds for everything planned from
        then on; what is already planned is sent before ``status_config_settled`` rises, as in
        :class:`~hdl.core.AmpPciCore`, because the block completes the configuration write by
        itself.
    cfg_interrupt_msixenable, cfg_interrupt_msixfm : In(1)
        MSI-X Enable and Function Mask. Table and pending bits are in a BAR of the core.
    cfg_received_func_lvl_rst : In(1)
        Function-level reset. The block needs no acknowledgement.
    cfg_to_turnoff : In(1)
        Request to turn off.
    cfg_turnoff_ok : Out(1)
        Acknowledges it in the next cycle: there is no state to save.
    cfg_trn_pending : Out(1)
        A read of host memory is outstanding.
    cfg_err_ur, cfg_err_posted, cfg_err_cor, cfg_err_poisoned : Out(1)
        Errors for the block to report. Unsupported non-posted requests get a completion from the
        core, so they are reported as correctable.
    cfg_err_cpl_unexpect, cfg_err_cpl_timeout : Out(1)
        Errors of completions for the block to report.
    status_config_settled : Out(1)
        As in :class:`~hdl.core.AmpPciCore`.
    m_axis_msg, s_axis_msg, s_axi_dma, device_queue_ready, doorbell, host_reset, count_*
        Device side, as in :class:`~hdl.core.AmpPciCore`.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

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
        if data_width not in DATA_WIDTHS:
            raise ValueError(f"data_width is {data_width!r}: must be 64 or 128 for the 7 series")
        self._core = AmpPciCore(
            num_fifos=num_fifos,
            data_width=data_width,
            shell=shell,
            layout=layout,
            dma=dma,
            completion_timeout=completion_timeout,
            block=BlockOptions(
                separate_msix=True, completion_headers=COMPLETION_HEADERS if dma else None
            ),
        )
        self._data_width = data_width
        self._dma = dma
        self._device_members = device_members(data_width, num_fifos, dma=dma)
        inputs = {
            "cfg_bus_number": 8,
            "cfg_device_number": 5,
            "cfg_function_number": 3,
            "cfg_command": 16,
            "cfg_dcommand": 16,
            "cfg_lcommand": 16,
            "cfg_interrupt_msixenable": 1,
            "cfg_interrupt_msixfm": 1,
            "cfg_received_func_lvl_rst": 1,
            "cfg_to_turnoff": 1,
        }
        outputs = (
            "cfg_turnoff_ok",
            "cfg_trn_pending",
            "cfg_err_ur",
            "cfg_err_posted",
            "cfg_err_cor",
            "cfg_err_poisoned",
            "cfg_err_cpl_unexpect",
            "cfg_err_cpl_timeout",
            "status_config_settled",
        )
        # `tkeep` has a bit for each byte.
        streams = partial(axi_stream, data_width, keep_bits=data_width // 8)
        super().__init__(
            {
                "user_clk_out": In(1),
                "user_reset_out": In(1),
                "m_axis_rx": In(streams(user_bits=RX_USER_BITS)),
                "s_axis_tx": Out(streams(user_bits=TX_USER_BITS)),
                "rx_np_ok": Out(1, init=1),
                "rx_np_req": Out(1, init=1),
                "tx_cfg_gnt": Out(1, init=1),
                **{name: In(width) for name, width in inputs.items()},
                **dict.fromkeys(outputs, Out(1)),
                **self._device_members,
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.user_clk_out), ResetSignal().eq(self.user_reset_out)]
        m.submodules.core = core = self._core
        self._receive(m, core)
        settling = self._transmit(m, core)
        connect_device_side(m, core, self, self._device_members)

        def field(register, where):
            return register[where.lsb : where.lsb + where.width]

        number = Cat(self.cfg_function_number, self.cfg_device_number, self.cfg_bus_number)
        m.d.comb += [
            self.rx_np_ok.eq(1),
            self.rx_np_req.eq(1),
            self.tx_cfg_gnt.eq(1),
            core.completer_id.eq(number),
            core.requester_id.eq(number),
            core.max_payload_size.eq(field(self.cfg_dcommand, space.MAX_PAYLOAD_SIZE)),
            core.max_read_request_size.eq(field(self.cfg_dcommand, space.MAX_READ_REQUEST_SIZE)),
            core.ext_tag_enable.eq(field(self.cfg_dcommand, space.EXTENDED_TAG_ENABLE)),
            core.rcb_128b.eq(field(self.cfg_lcommand, space.READ_COMPLETION_BOUNDARY)),
            core.bus_master_enable.eq(field(self.cfg_command, space.BUS_MASTER_ENABLE)),
            core.msix_enable.eq(self.cfg_interrupt_msixenable),
            core.msix_mask.eq(self.cfg_interrupt_msixfm),
            core.function_reset.eq(self.cfg_received_func_lvl_rst),
            self.cfg_trn_pending.eq(core.status_transactions_pending),
            self.cfg_err_posted.eq(1),
            settling.reset.eq(self.cfg_received_func_lvl_rst),
            self.status_config_settled.eq(settling.settled),
        ]
        m.d.sync += [
            self.cfg_turnoff_ok.eq(self.cfg_to_turnoff),
            self.cfg_err_ur.eq(core.status_unsupported_posted),
            self.cfg_err_cor.eq(core.status_unsupported_non_posted),
            self.cfg_err_poisoned.eq(core.status_poisoned | core.status_completion_poisoned),
            self.cfg_err_cpl_unexpect.eq(core.status_completion_unexpected),
            self.cfg_err_cpl_timeout.eq(core.status_completion_timeout),
        ]
        return m

    def _receive(self, m, core):
        """Connect requests and completions, whose headers are in front of the payloads."""
        m.submodules.splitter = splitter = HeaderSplitter(self._data_width, HEADERS)
        source = self.m_axis_rx
        user = source.p.tuser
        hits = Signal(BARS)
        if self._data_width == 128:
            m.submodules.unstraddler = aligned = Unstraddler()
            m.d.comb += [
                aligned.i.valid.eq(source.valid),
                source.ready.eq(aligned.i.ready),
                aligned.i.p.data.eq(source.p.tdata),
                aligned.i.p.begins.eq(user[BEGINS + PLACE_BITS]),
                aligned.i.p.begin_half.eq(user[BEGINS + PLACE_BITS - 1]),
                aligned.i.p.ends.eq(user[ENDS + PLACE_BITS]),
                aligned.i.p.last_lane.eq(user[ENDS + 2 : ENDS + PLACE_BITS]),
                aligned.i.p.side.eq(user[BAR_HIT : BAR_HIT + BARS]),
                hits.eq(aligned.side),
            ]
            wiring.connect(m, aligned.o, splitter.i)
        else:
            begins = Signal(init=1)
            first_hits = Signal(BARS)
            with m.If(source.valid & source.ready):
                m.d.sync += begins.eq(source.p.tlast)
                with m.If(begins):
                    m.d.sync += first_hits.eq(user[BAR_HIT:])
            m.d.comb += [
                splitter.i.valid.eq(source.valid),
                source.ready.eq(splitter.i.ready),
                splitter.i.p.data.eq(source.p.tdata),
                # One dword, or both, coded as 0.
                splitter.i.p.lanes.eq(~source.p.tkeep[4]),
                splitter.i.p.last.eq(source.p.tlast),
                hits.eq(Mux(begins, user[BAR_HIT:], first_hits)),
            ]
        m.d.comb += splitter.is_long.eq(HeaderWord0(splitter.i.p.data[:32]).four_dwords)

        beat = splitter.o.p
        connect_received(m, core, splitter.o, first=beat.first, word0=HeaderWord0(beat.header[:32]))
        requests, completions = core.rx_req_tlp, core.rx_cpl_tlp
        for sink in (requests, completions):
            m.d.comb += from_splitter(splitter, sink, data=_swapped(beat.data))
            m.d.comb += sink.p.hdr.eq(received_header(beat.header))
        m.d.comb += requests.p.bar_id.eq(NO_BAR)
        for bar in range(BARS):
            with m.If(hits[bar]):
                m.d.comb += requests.p.bar_id.eq(bar)

    def _transmit(self, m, core):
        """Merge everything that is sent, MSI-X writes first. Returns the tracker of the packets."""
        requests = [core.tx_wr_req_tlp, core.tx_rd_req_tlp] if self._dma else []
        sources = [core.tx_msix_wr_req_tlp, core.tx_cpl_tlp, *requests]
        m.submodules.arbiter = arbiter = PacketArbiter(
            raw_signature(self._data_width), count=len(sources), priority=1, parked=1
        )
        m.submodules.joiner = joiner = HeaderJoiner(self._data_width, HEADERS)
        connect_arbiter(m, sources, arbiter)
        source, sink = arbiter.o, self.s_axis_tx
        beat = joiner.o.p
        m.d.comb += [
            *to_joiner(
                source,
                joiner,
                header=reverse_dwords(source.p.hdr),
                data=_swapped(source.p.data),
            ),
            joiner.is_long.eq(source.p.hdr[-3]),
            sink.valid.eq(joiner.o.valid),
            joiner.o.ready.eq(sink.ready),
            sink.p.tdata.eq(beat.data),
            sink.p.tlast.eq(beat.last),
            sink.p.tkeep.eq(Cat(lane.replicate(4) for lane in kept_lanes(joiner))),
        ]
        departed = sink.valid & sink.ready & sink.p.tlast
        return track_packets(m, core, arbiter, departed=departed, max_packets=MAX_PACKETS)


def _swapped(beat):
    """The bytes of each dword in reverse order."""
    return Cat(
        *(
            beat.word_select(4 * dword + byte, 8)
            for dword in range(len(beat) // 32)
            for byte in reversed(range(4))
        )
    )
