# SPDX-License-Identifier: BSD-2-Clause
"""AmpPciEndpoint: the core with its own configuration space and BAR decoding, on raw TLPs.

Simulations enumerate this top, and a soft PCIe core or another simulator connects to it.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from .arbiter import PacketArbiter
from .block_options import BlockOptions
from .config_space import ConfigSpace
from .core import AmpPciCore
from .core_ports import device_members
from .dma.limits import COMPLETION_TIMEOUT
from .errors import ERRORS
from .geometry import Geometry
from .tlp import ConfigTarget, RequestHeader, TlpType, raw_signature
from .tlp_check import TlpCheck

__all__ = ["NO_BAR", "AmpPciEndpoint"]

NO_BAR = 7
"""``bar_id`` of a request that matches no BAR: the core treats it as unsupported."""


RAW_FIELDS = ("data", "strb", "hdr", "sop", "eop")
"""Payload fields common to all streams of TLPs with data."""


class Route(enum.Enum, shape=2):
    """Destination of a received TLP."""

    REQUEST = 0
    CONFIG = 1
    COMPLETION = 2
    DROP = 3


class AmpPciEndpoint(wiring.Component):
    """The AMP PCI endpoint with configuration space.

    Parameters
    ----------
    num_fifos, data_width, shell, layout, dma, completion_timeout
        As for :class:`~hdl.core.AmpPciCore`.

    Attributes
    ----------
    rx_tlp : In(raw_signature(data_width))
        Received TLPs of every kind.
    tx_tlp : Out(raw_signature(data_width))
        Transmitted TLPs. MSI-X writes have priority, so that no completion overtakes one; the
        others are arbitrated round-robin.
    m_axis_msg : Out(message_signature(data_width))
        Messages, driver to device; see :class:`~hdl.core.AmpPciCore` for all of the device side.
    s_axis_msg : In(message_signature(data_width))
        Messages, device to driver.
    s_axi_dma : In(AxiSignature(data_width))
        DMA window, with ``dma``.
    device_queue_ready : Out(num_fifos)
        The FIFO's device queue has space for one more message.
    doorbell : Out(num_fifos)
        Pulse for each doorbell write.
    host_reset : Out(1)
        Pulse: the host reset the function.
    count_* : Out
        Event counters, see :data:`models.counters.COUNTERS`.

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
        self._geometry = Geometry(
            data_width=data_width, num_fifos=num_fifos, shell=shell, layout=layout
        )
        self._dma = dma
        self._device_members = device_members(data_width, num_fifos, dma=dma)
        self._core = AmpPciCore(
            num_fifos=num_fifos,
            data_width=data_width,
            shell=shell,
            layout=layout,
            dma=dma,
            completion_timeout=completion_timeout,
            # MSI-X writes have priority over completions, too, so one arbiter merges all.
            block=BlockOptions(separate_msix=True),
            own_config=True,
        )
        super().__init__(
            {
                "rx_tlp": In(raw_signature(data_width)),
                "tx_tlp": Out(raw_signature(data_width)),
                **self._device_members,
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.core = core = self._core
        m.submodules.config = config = ConfigSpace(g)
        m.submodules.arbiter = arbiter = PacketArbiter(
            raw_signature(g.data_width), count=5 if self._dma else 3, priority=1, parked=1
        )

        self._route_received(m, core, config)
        self._collect_sent(m, core, config, arbiter)

        m.d.comb += [
            core.rcb_128b.eq(config.rcb_128b),
            core.ext_tag_enable.eq(config.ext_tag_enable),
        ]
        for name in config.control.signature.members:
            pin = "function_reset" if name == "reset" else name
            m.d.comb += getattr(core, pin).eq(getattr(config.control, name))
        for name, member in self._device_members.items():
            inner, outer = getattr(core, name), getattr(self, name)
            if member.is_signature:
                wiring.connect(m, inner, wiring.flipped(outer))
            else:
                m.d.comb += outer.eq(inner)
        return m

    def _route_received(self, m, core, config):
        """Decode BAR and kind of each received TLP, and route it to its consumer."""
        g = self._geometry
        m.submodules.check = check = TlpCheck(g)
        beat = self.rx_tlp.p
        header = RequestHeader(beat.hdr)
        word0 = header.word0
        address = header.low_address
        below_4g = ~word0.four_dwords | (header.dword2 == 0)

        bar_id = Signal(3)
        m.d.comb += bar_id.eq(NO_BAR)
        for bar, size in g.bar_sizes.items():
            low = (size - 1).bit_length()
            with m.If(
                config.control.memory_space_enable
                & below_4g
                & (address[low:] == config.bar[bar][low:])
            ):
                m.d.comb += bar_id.eq(bar)

        # `check.discard` is late, so it does not gate `first_route`: few registers depend on it.
        first_route = Signal(Route)
        with m.If(
            (word0.type == TlpType.CONFIG_0)
            & ~word0.four_dwords
            & (word0.length == 1)
            & (ConfigTarget(header.dword2).function == 0)
        ):
            m.d.comb += first_route.eq(Route.CONFIG)
        with m.Elif(word0.is_completion):
            m.d.comb += first_route.eq(Route.COMPLETION)
        later_route = Signal(Route)
        route = Signal(Route)
        m.d.comb += route.eq(Mux(beat.sop, first_route, later_route))

        # `ready` does not depend on the kind of the beat, which is decoded late. Completions never
        # stall; only the request and configuration paths can. A configuration request may move a
        # BAR, so the TLPs behind it stall until it has taken effect.
        request, completion = core.rx_req_tlp, core.rx_cpl_tlp
        accepted = Signal()
        m.d.comb += [
            self.rx_tlp.ready.eq(request.ready & config.i.ready),
            accepted.eq(self.rx_tlp.valid & self.rx_tlp.ready),
        ]
        with m.If(accepted & beat.sop):
            m.d.sync += later_route.eq(Mux(check.discard, Route.DROP, first_route))
        # A beat is valid for one consumer only if the other one that may stall is ready.
        for stream, kind, valid in (
            (request, Route.REQUEST, self.rx_tlp.valid & config.i.ready),
            (config.i, Route.CONFIG, self.rx_tlp.valid & request.ready),
            (completion, Route.COMPLETION, accepted),
        ):
            m.d.comb += [stream.p[field].eq(beat[field]) for field in RAW_FIELDS]
            m.d.comb += stream.valid.eq(valid & (route == kind))
        m.d.comb += [
            request.p.bar_id.eq(bar_id),
            request.p.func_num.eq(0),
            completion.p.error.eq(0),
            core.rx_discard.eq(beat.sop & check.discard),
            config.discard.eq(check.discard),
            check.beat.eq(beat),
            check.accepted.eq(accepted),
            check.max_payload_size.eq(config.control.max_payload_size),
            config.malformed.eq(check.malformed),
            config.transactions_pending.eq(core.status_transactions_pending),
        ]
        m.d.comb += [
            getattr(config.errors, cause.name).eq(getattr(core, f"status_{cause.name}"))
            for cause in ERRORS
        ]

    def _collect_sent(self, m, core, config, arbiter):
        """Merge all TLPs to send; MSI-X writes, which completions must not overtake, go first."""
        completions, config_completions = arbiter.i[1:3]
        wiring.connect(m, core.tx_cpl_tlp, completions)
        wiring.connect(m, config.o, config_completions)
        wiring.connect(m, arbiter.o, wiring.flipped(self.tx_tlp))
        requests = [core.tx_msix_wr_req_tlp]
        if self._dma:
            requests += [core.tx_wr_req_tlp, core.tx_rd_req_tlp]
        # Some requests lack payload fields, so `wiring.connect` does not apply.
        for source, sink in zip(requests, [arbiter.i[0], *arbiter.i[3:]], strict=True):
            fields = dict(source.signature.members["payload"].shape)
            m.d.comb += [sink.p[field].eq(source.p[field]) for field in fields]
            m.d.comb += [sink.valid.eq(source.valid), source.ready.eq(sink.ready)]

        # The arbiter sends TLPs in the order of acceptance: those built under a former setting
        # leave before the completion of the write that changed it.
        m.d.comb += [
            config.settled.eq(core.status_config_settled),
            config.departed.eq(~self.tx_tlp.valid | self.tx_tlp.ready),
        ]
