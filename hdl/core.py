# SPDX-License-Identifier: BSD-2-Clause
"""AmpPciCore: the endpoint behind a PCIe hard block that owns configuration space.

Behaviour: design of the project; PCI Express Base 4.0; the patch series, ``hw/virtio`` AMP PCI
device. Its TLP ports are those of the open-source verilog-pcie library.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from models.counters import COUNTERS
from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from .bar_access import BarAccess
from .block_options import NO_OPTIONS, BlockOptions
from .completer import Completer
from .core_ports import CoreSignature
from .dma.confirmations import ConfirmationSerializer
from .dma.limits import COMPLETION_TIMEOUT, check_completion_timeout
from .dma.window import DmaWindow, NoDmaWindow
from .errors import COMPLETION_ERRORS, ERRORS, REQUEST_ERRORS
from .event_counters import EventCounters
from .function_reset import FunctionReset
from .geometry import Geometry
from .ingress import RequestIngress
from .interfaces import FunctionControl
from .msix import MsixController
from .queues.device_queues import DeviceQueues
from .queues.driver_queues import DriverQueues
from .queues.index_words import IndexWords
from .queues.memory import FifoMemory
from .queues.pop import PopEngine
from .queues.push import PushEngine
from .registers import RegisterBar
from .write_merger import WriteMerger

__all__ = ["AmpPciCore"]


class AmpPciCore(wiring.Component):
    """The AMP PCI endpoint without configuration space.

    Host requests pass :class:`~hdl.ingress.RequestIngress` and
    :class:`~hdl.bar_access.BarAccess`; :class:`~hdl.completer.Completer` answers them. The RAM and
    the index words of the FIFO BAR join the host with :class:`~hdl.queues.pop.PopEngine` and
    :class:`~hdl.queues.push.PushEngine`. :class:`~hdl.dma.window.DmaWindow` masters the bus.
    The ports are those of :class:`~hdl.core_ports.CoreSignature`.

    Parameters
    ----------
    num_fifos : int
        1 to 8.
    data_width : int
        64, 128, 256 or 512 bits, of the TLP streams and of the message streams.
    shell : PciShell
        Ids, BARs, registers, vectors.
    layout : SharedLayout
        Location of the queues in the FIFO BAR.
    dma : bool
        Add the DMA window. Without it every completion is unexpected.
    completion_timeout : int
        Cycles, 64 or more, until a read of host memory that is not completed fails.
    block : BlockOptions
        What the hard block needs or offers.
    own_config : bool
        Add the inputs that only configuration space of our own drives.

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
        block: BlockOptions = NO_OPTIONS,
        own_config: bool = False,
    ):
        self._geometry = g = Geometry(
            data_width=data_width, num_fifos=num_fifos, shell=shell, layout=layout, block=block
        )
        self._own_config = own_config
        self._dma = dma
        if block.sequence_numbers and not dma:
            raise ValueError("sequence_numbers without dma: must have writes to number")
        if block.completion_headers is not None and not dma:
            raise ValueError("completion_headers without dma: must have reads to answer")
        check_completion_timeout(completion_timeout)
        self._window: DmaWindow | NoDmaWindow = (
            DmaWindow(g, completion_timeout=completion_timeout) if dma else NoDmaWindow(g)
        )
        super().__init__(
            CoreSignature(
                data_width=data_width,
                num_fifos=num_fifos,
                dma=dma,
                block=block,
                own_config=own_config,
            )
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.ingress = ingress = RequestIngress(g)
        m.submodules.access = access = BarAccess(g)
        m.submodules.completer = completer = Completer(g)
        m.submodules.registers = registers = RegisterBar(g)
        m.submodules.indices = indices = IndexWords(g)
        m.submodules.driver_queues = driver_queues = DriverQueues(g)
        m.submodules.device_queues = device_queues = DeviceQueues(g)
        m.submodules.memory = memory = FifoMemory(g)
        m.submodules.msix = msix = MsixController(g)
        m.submodules.pop = pop = PopEngine(g)
        m.submodules.push = push = PushEngine(g, fenced=self._dma)
        m.submodules.window = window = self._window
        m.submodules.reset = reset = FunctionReset()
        m.submodules.counters = counters = EventCounters()

        for source, sink in (
            (wiring.flipped(self.rx_req_tlp), ingress.i),
            (ingress.writes, access.writes),
            (ingress.reads, completer.i),
            (completer.words, access.reads),
            (completer.o, wiring.flipped(self.tx_cpl_tlp)),
            (access.register_write, registers.write),
            (access.register_read, registers.read),
            (access.fifos, memory.host),
            (access.index_write, indices.write),
            (access.index_read, indices.read),
            (access.msix, msix.host),
            (indices.driver, driver_queues.update),
            (driver_queues.engine, pop.queues),
            (pop.ram, memory.pop),
            (pop.o, wiring.flipped(self.m_axis_msg)),
            (wiring.flipped(self.s_axis_msg), push.i),
            (indices.device, device_queues.update),
            (device_queues.engine, push.queues),
            (push.ram, memory.push),
            (window.fence, push.writes),
            (wiring.flipped(self.rx_cpl_tlp), window.completions),
        ):
            wiring.connect(m, source, sink)
        for views, queues in (
            (indices.driver_tails, driver_queues),
            (indices.device_heads, device_queues),
        ):
            for view, port in zip(views, queues.views, strict=True):
                wiring.connect(m, view, port)
        self._connect_control(m, completer, msix, window, reset)
        if self._own_config:
            m.d.comb += [
                ingress.discard.eq(self.rx_discard),
                window.completions.valid.eq(self.rx_cpl_tlp.valid & ~self.rx_discard),
            ]
        if self._dma:
            wiring.connect(m, wiring.flipped(self.s_axi_dma), window.axi)
            wiring.connect(m, window.reads, wiring.flipped(self.tx_rd_req_tlp))
        holds_writes = self._connect_writes(m, msix, window)

        m.d.comb += [
            access.index_write_ready.eq(indices.write_ready),
            access.index_read_ready.eq(indices.read_ready),
            access.index_read_hit.eq(indices.read_hit),
            driver_queues.doorbell.eq(registers.doorbell),
            driver_queues.clear.eq(indices.clear),
            device_queues.clear.eq(indices.clear),
            device_queues.filling.eq(push.filling),
            self.doorbell.eq(registers.doorbell),
            pop.has_space.eq(device_queues.has_space),
            self.device_queue_ready.eq(device_queues.has_space),
            self.status_transactions_pending.eq(window.outstanding),
            reset.request.eq(self.function_reset),
            reset.busy.eq(msix.busy | indices.clear | holds_writes),
            reset.settled.eq(self.status_config_settled),
            self.function_reset_done.eq(reset.done),
            self.host_reset.eq(reset.host_reset),
            indices.reset.eq(reset.reset),
            pop.reset.eq(reset.reset),
            push.reset.eq(reset.push_reset),
        ]
        for vector in range(len(msix.raised)):
            raised = [
                push.raised[fifo]
                for fifo in range(g.num_fifos)
                if g.shell.vector_of(fifo, g.num_fifos) == vector
            ]
            m.d.comb += msix.raised[vector].eq(sum(raised) != 0)
        m.d.sync += self.status_config_settled.eq(~(completer.former | msix.former | window.former))
        self._report_errors(m, ingress, window)
        self._count(m, counters, ingress, registers, indices, pop, push, msix, window)
        return m

    def _connect_control(self, m, completer, msix, window, reset):
        """Distribute the settings of configuration space."""
        control = FunctionControl().create(path=("control",))
        m.d.comb += control.reset.eq(reset.reset)
        for name in (
            "completer_id",
            "requester_id",
            "max_payload_size",
            "max_read_request_size",
            "bus_master_enable",
            "msix_enable",
            "msix_mask",
            *(("memory_space_enable", "completion_timeout_disable") if self._own_config else ()),
        ):
            m.d.comb += getattr(control, name).eq(getattr(self, name))
        for user in (completer, msix, *((window,) if self._dma else ())):
            wiring.connect(m, control, user.control)

    def _connect_writes(self, m, msix, window):
        """Connect DMA writes and MSI-X writes to their ports. Returns whether the hard block holds
        a write."""
        block = self._geometry.block
        confirmed = Signal()
        if block.sequence_numbers:
            pulses = self.wr_req_tx_seq_num_valid
            m.submodules.confirmations = serializer = ConfirmationSerializer(len(pulses))
            writes = self.tx_wr_req_tlp
            m.d.comb += [
                serializer.i.eq(pulses),
                serializer.beat.eq(writes.valid & writes.ready),
                serializer.last.eq(writes.p.eop),
                confirmed.eq(serializer.o),
            ]
        if self._dma and not block.separate_msix:
            m.submodules.merger = merger = WriteMerger(self._geometry.data_width, block)
            wiring.connect(m, window.writes, merger.writes)
            wiring.connect(m, msix.o, merger.interrupts)
            wiring.connect(m, merger.o, wiring.flipped(self.tx_wr_req_tlp))
            m.d.comb += [
                merger.confirmed.eq(confirmed),
                window.confirmed.eq(merger.write_confirmed),
            ]
            return ~merger.empty
        wiring.connect(m, msix.o, wiring.flipped(self.tx_msix_wr_req_tlp))
        m.d.comb += msix.refused.eq(self.msix_refused)
        if not self._dma:
            return 0
        wiring.connect(m, window.writes, wiring.flipped(self.tx_wr_req_tlp))
        m.d.comb += window.confirmed.eq(confirmed)
        return ~window.empty

    def _report_errors(self, m, ingress, window):
        pulses = {cause: getattr(self, f"status_{cause.name}") for cause in ERRORS}
        for causes, errors in (
            (REQUEST_ERRORS, ingress.errors),
            (COMPLETION_ERRORS, window.errors),
        ):
            m.d.sync += [pulses[cause].eq(getattr(errors, cause.name)) for cause in causes]
        correctable = [pulse for cause, pulse in pulses.items() if cause.correctable]
        uncorrectable = [pulse for cause, pulse in pulses.items() if cause.uncorrectable]
        m.d.comb += [
            self.status_error_cor.eq(sum(correctable) != 0),
            self.status_error_uncor.eq(sum(uncorrectable) != 0),
        ]

    def _count(self, m, counters, ingress, registers, indices, pop, push, msix, window):
        errors = ingress.errors
        m.d.comb += [
            counters.messages_to_device.eq(pop.o.valid & pop.o.ready & pop.o.p.tlast),
            counters.messages_to_driver.eq(push.raised.any()),
            counters.malformed_packets.eq(push.malformed),
            counters.dropped_packets.eq(push.dropped),
            counters.sanitised_indices.eq(indices.sanitised),
            counters.doorbells.eq(sum(registers.doorbell)),
            counters.interrupts_sent.eq(msix.o.valid & msix.o.ready),
            counters.interrupts_held.eq(msix.held),
            counters.unsupported_requests.eq(
                errors.unsupported_posted | errors.unsupported_non_posted
            ),
            counters.unexpected_completions.eq(window.errors.completion_unexpected),
            counters.dma_errors.eq(window.read_failed + window.write_failed),
            *(
                getattr(self, counter.port).eq(getattr(counters, counter.port))
                for counter in COUNTERS
            ),
        ]
