# SPDX-License-Identifier: BSD-2-Clause
"""AmpPciCore: the endpoint behind a PCIe hard block that owns configuration space.

Behaviour: design of the project; PCI Express Base 4.0; the patch series, ``hw/virtio`` AMP PCI
device. Its TLP ports are those of the open-source verilog-pcie library.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.config_space import SETTLING_CYCLES
from models.counters import COUNTERS
from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI, PciShell

from .block_options import NO_OPTIONS, BlockOptions
from .completer import Completer
from .dma.axi import AxiSignature
from .dma.confirmations import ConfirmationSerializer
from .dma.limits import COMPLETION_TIMEOUT, check_completion_timeout
from .dma.window import DmaWindow, NoDmaWindow
from .geometry import Geometry
from .ingress import RequestIngress
from .msix import MsixController, interrupt_signature
from .queues.index_words import IndexWords
from .queues.memory import FifoMemory
from .queues.message import message_signature
from .queues.pop import PopEngine
from .queues.push import PushEngine
from .registers import RegisterBar
from .requests import Target
from .tlp import (
    completion_signature,
    header_signature,
    raw_signature,
    request_signature,
)
from .write_merger import WriteMerger

__all__ = ["AmpPciCore", "device_members"]

COMPLETION_ERRORS = {
    "unexpected": "unexpected",
    "unsupported": "unsupported",
    "aborted": "aborted",
    "poisoned": "poisoned",
    "timeout": "timed_out",
}
"""``status_completion_*`` outputs, and what they are called in the DMA window."""


def device_members(data_width: int, num_fifos: int, *, dma: bool) -> dict[str, wiring.Member]:
    """Members of the device side, the same for both tops."""
    return {
        "m_axis_msg": Out(message_signature(data_width)),
        "s_axis_msg": In(message_signature(data_width)),
        **({"s_axi_dma": In(AxiSignature(data_width))} if dma else {}),
        "device_queue_ready": Out(num_fifos),
        "doorbell": Out(num_fifos),
        "host_reset": Out(1),
        **{counter.port: Out(counter.bits) for counter in COUNTERS},
    }


class AmpPciCore(wiring.Component):
    """The AMP PCI endpoint without configuration space.

    Parameters
    ----------
    num_fifos : int
        1 to 8.
    data_width : int
        64, 128, 256 or 512 bits, of the TLP streams and of the message streams.
    shell : PciShell
        Ids, BARs, registers, vectors.
    layout : SharedLayout
        Where the queues lie in the FIFO BAR.
    dma : bool
        Whether there is a DMA window. Without it there are no ``s_axi_dma``, ``tx_rd_req_tlp`` and
        ``tx_wr_req_tlp``, and every completion is unexpected.
    completion_timeout : int
        Cycles, 64 or more, until a read of host memory that is not answered fails.
    block : BlockOptions
        What the hard block needs or offers.
    own_config : bool
        Whether configuration space is ours, and no hard block's: there are inputs for what such a
        block does not offer, or does itself.

    Attributes
    ----------
    rx_req_tlp : In
        Requests that a BAR matched.
    tx_cpl_tlp : Out
        Completions.
    tx_rd_req_tlp, tx_wr_req_tlp : Out
        Bus-master requests, with a DMA window. MSI-X writes leave on ``tx_wr_req_tlp``, too, in
        order with the others. A message waits until the writes that were accepted before it have
        left here, or, with ``sequence_numbers``, the hard block. So does its interrupt.
    tx_msix_wr_req_tlp : Out
        MSI-X writes, with ``separate_msix`` or without a DMA window. The hazard of that is in
        :class:`~hdl.block_options.BlockOptions`.
    wr_req_tx_seq_num_valid : In(2) at 512 bits, else In(1)
        With ``sequence_numbers``, a one-cycle pulse of a bit for each TLP of ``tx_wr_req_tlp``, in
        their order: it has left the hard block, and no read or completion of later can pass it. One
        may come before the TLP's end, and then counts at that; without a TLP it is ignored. After
        :data:`~hdl.dma.confirmations.CONFIRMATIONS` TLPs without a pulse the next one waits.
    msix_refused : In(1)
        With ``tx_msix_wr_req_tlp``, a one-cycle pulse: the block did not send what it took last.
        The vector is pending again, and its interrupt is sent when it may be. It comes before the
        block takes another.
    rx_cpl_tlp : In
        Completions for them, always taken. An unexpected one is dropped.
    completer_id, requester_id : In(16)
        Bus, device and function number.
    max_payload_size, max_read_request_size : In(3), rcb_128b, ext_tag_enable, bus_master_enable,
    msix_enable, msix_mask : In(1)
        From configuration space. ``rcb_128b`` does not matter: an answer may come split at any
        boundary. Nor does ``ext_tag_enable``: five bits do.

        A lower value holds from the completion of the configuration write on, for every TLP. Change
        the pin when the write is carried out, and complete the write when
        ``status_config_settled`` is high, :data:`~models.config_space.SETTLING_CYCLES` cycles later
        or more. A hard block that completes it by itself lets through what is then still inside:
        see there.
    memory_space_enable : In(1)
        From configuration space, for ``status_config_settled``: requests are matched outside. With
        ``own_config``.
    completion_timeout_disable : In(1)
        From configuration space: reads of host memory wait without end. With ``own_config``.
    rx_discard : In(1)
        Beside the first beat of a request or a completion: it is malformed, and nothing is to come
        of it. No further beats of it follow. With ``own_config``.
    function_reset : In(1)
        Function-level reset, for a cycle or longer. Empties the queues, clears and masks MSI-X.
        TLPs and packets under way are finished; a message that was, moves no index. Accesses to
        host memory that were accepted fail, answered or not.
    function_reset_done : Out(1)
        Of what was under way when ``function_reset`` came, nothing will reach the host any more,
        and MSI-X and queues are as after ``rst``. Low from the cycle after ``function_reset`` came
        on until then, while it is high, and for some cycles after. With ``sequence_numbers`` the
        writes are waited for that the hard block holds.
    status_error_cor, status_error_uncor : Out(1)
        One-cycle pulses for the hard block's error reporting: a non-posted request was answered
        with Unsupported Request or a completion was unexpected (both advisory); a posted request
        was unsupported, a write or a completion was poisoned, or a completion did not come.
    status_unsupported_posted, status_unsupported_non_posted, status_poisoned,
    status_completion_unexpected, status_completion_unsupported, status_completion_aborted,
    status_completion_poisoned, status_completion_timeout : Out(1)
        One-cycle pulses, by cause.
    status_config_settled : Out(1)
        No TLP is inside that was made to a former setting: since ``max_payload_size``,
        ``max_read_request_size``, ``bus_master_enable``, ``msix_enable`` or
        ``memory_space_enable`` fell, ``msix_mask`` rose, or ``function_reset`` came. Valid from
        :data:`~models.config_space.SETTLING_CYCLES` cycles after that on. It goes high with the
        outputs alone: nothing that the host answers or the device side sends is waited for. Until
        then there may leave, of the former size, completions of requests that came before (16 wait
        at most, besides those of which a beat does), one read, and writes whose data has come,
        2 KiB at most; with bus mastering off, one read, three writes and one interrupt.
    status_transactions_pending : Out(1)
        A read of host memory has left that is neither answered in full nor given up, as
        Device Status tells it.
    m_axis_msg : Out
        Messages, driver to device, a 64-byte slot each.
    s_axis_msg : In
        Messages, device to driver, 8 to 64 bytes each.
    s_axi_dma : In
        Host memory, see :class:`~hdl.dma.window.DmaWindow`.
    device_queue_ready : Out(num_fifos)
        FIFO n has room for one more message.
    doorbell : Out(num_fifos)
        Pulse for each doorbell write.
    host_reset : Out(1)
        Pulse: the host reset the function. A message under way on ``m_axis_msg`` belongs to the
        time before; one on offer on ``s_axis_msg`` does, too, and is dropped.
    count_* : Out
        What happened since ``rst``, see :data:`models.counters.COUNTERS`.

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
        self._geometry = Geometry(
            data_width=data_width, num_fifos=num_fifos, shell=shell, layout=layout, block=block
        )
        self._own_config = own_config
        self._dma = dma
        self._merged = dma and not block.separate_msix
        if block.sequence_numbers and not dma:
            raise ValueError("sequence_numbers without dma: must have writes to number")
        if block.completion_headers is not None and not dma:
            raise ValueError("completion_headers without dma: must have reads to answer")
        self._numbered = block.sequence_numbers
        check_completion_timeout(completion_timeout)
        self._window: DmaWindow | NoDmaWindow = (
            DmaWindow(self._geometry, completion_timeout=completion_timeout)
            if dma
            else NoDmaWindow(self._geometry)
        )
        super().__init__(
            {
                "rx_req_tlp": In(request_signature(data_width)),
                "tx_cpl_tlp": Out(raw_signature(data_width)),
                **(
                    {}
                    if self._merged
                    else {
                        "tx_msix_wr_req_tlp": Out(interrupt_signature()),
                        "msix_refused": In(1),
                    }
                ),
                **(
                    {"wr_req_tx_seq_num_valid": In(2 if data_width == 512 else 1)}
                    if self._numbered
                    else {}
                ),
                **(
                    {
                        "tx_rd_req_tlp": Out(header_signature()),
                        "tx_wr_req_tlp": Out(raw_signature(data_width)),
                    }
                    if dma
                    else {}
                ),
                "rx_cpl_tlp": In(completion_signature(data_width)),
                "completer_id": In(16),
                "requester_id": In(16),
                "max_payload_size": In(3),
                "max_read_request_size": In(3),
                "rcb_128b": In(1),
                "ext_tag_enable": In(1),
                **(
                    {
                        "completion_timeout_disable": In(1),
                        "memory_space_enable": In(1),
                        "rx_discard": In(1),
                    }
                    if own_config
                    else {}
                ),
                "bus_master_enable": In(1),
                "msix_enable": In(1),
                "msix_mask": In(1),
                "function_reset": In(1),
                "function_reset_done": Out(1, init=1),
                "status_error_cor": Out(1),
                "status_error_uncor": Out(1),
                "status_unsupported_posted": Out(1),
                "status_unsupported_non_posted": Out(1),
                "status_poisoned": Out(1),
                **{f"status_completion_{cause}": Out(1) for cause in COMPLETION_ERRORS},
                "status_config_settled": Out(1, init=1),
                "status_transactions_pending": Out(1),
                **device_members(data_width, num_fifos, dma=dma),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.ingress = ingress = RequestIngress(g)
        m.submodules.completer = completer = Completer(g)
        m.submodules.registers = registers = RegisterBar(g)
        m.submodules.indices = indices = IndexWords(g)
        m.submodules.memory = memory = FifoMemory(g)
        m.submodules.msix = msix = MsixController(g)
        m.submodules.pop = pop = PopEngine(g)
        m.submodules.push = push = PushEngine(g, fenced=self._dma)
        m.submodules.window = window = self._window

        # A cycle later inside, and for the push engine, whose paths are long, from a register that
        # also covers the cycle in which the device side is told.
        reset = Signal()
        push_reset = Signal()
        was_reset = Signal()

        wiring.connect(m, wiring.flipped(self.rx_req_tlp), ingress.i)
        wiring.connect(m, completer.o, wiring.flipped(self.tx_cpl_tlp))
        wiring.connect(m, pop.o, wiring.flipped(self.m_axis_msg))
        wiring.connect(m, wiring.flipped(self.s_axis_msg), push.i)
        wiring.connect(m, wiring.flipped(self.rx_cpl_tlp), window.completions)
        if self._own_config:
            m.d.comb += [
                ingress.discard.eq(self.rx_discard),
                completer.memory_space_enable.eq(self.memory_space_enable),
                window.completions.valid.eq(self.rx_cpl_tlp.valid & ~self.rx_discard),
            ]
        if self._dma:
            self._connect_window(m, window, reset)
        held_back = Signal()
        self._connect_writes(m, msix, window, held_back)

        wiring.connect(m, ingress.reads, completer.i)
        self._serve_host(m, ingress, completer, registers, indices, memory, msix, push)
        self._read_words(m, completer, registers, indices, memory, msix)

        m.d.comb += [
            indices.reset.eq(reset),
            msix.reset.eq(reset),
            pop.reset.eq(reset),
            push.reset.eq(push_reset),
            push.writes_pending.eq(window.pending),
            push.write_taken.eq(window.taken),
            push.write_left.eq(window.left),
            completer.completer_id.eq(self.completer_id),
            completer.max_payload_size.eq(self.max_payload_size),
            msix.requester_id.eq(self.requester_id),
            msix.enable.eq(self.msix_enable),
            msix.function_mask.eq(self.msix_mask),
            msix.bus_master_enable.eq(self.bus_master_enable),
            indices.doorbell.eq(registers.doorbell),
            self.doorbell.eq(registers.doorbell),
            pop.driver_tail.eq(indices.driver_tail),
            pop.snapshot.eq(indices.snapshot),
            pop.tail_written.eq(indices.tail_written),
            pop.room.eq(push.room),
            indices.advance_tail.eq(pop.advance_tail),
            memory.pop_enable.eq(pop.read_enable),
            memory.pop_address.eq(pop.read_address),
            pop.read_data.eq(memory.pop_data),
            push.device_head.eq(indices.device_head),
            push.device_tail.eq(indices.device_tail),
            push.head_written.eq(indices.head_written),
            indices.advance_head.eq(push.advance_head),
            memory.push_valid.eq(push.write_valid),
            push.write_ready.eq(memory.push_ready),
            memory.push_address.eq(push.write_address),
            memory.push_data.eq(push.write_data),
            memory.push_mask.eq(push.write_mask),
            self.device_queue_ready.eq(push.room),
            self.status_transactions_pending.eq(window.outstanding),
        ]
        for vector in range(len(msix.raised)):
            fifos = [
                push.raised[fifo]
                for fifo in range(g.num_fifos)
                if g.shell.vector_of(fifo, g.num_fifos) == vector
            ]
            m.d.comb += msix.raised[vector].eq(sum(fifos) != 0)

        m.d.comb += [
            self.status_error_cor.eq(
                self.status_unsupported_non_posted | self.status_completion_unexpected
            ),
            self.status_error_uncor.eq(
                self.status_unsupported_posted
                | self.status_poisoned
                | self.status_completion_poisoned
                | self.status_completion_timeout
            ),
        ]

        m.d.sync += [
            reset.eq(self.function_reset),
            push_reset.eq(self.function_reset | reset),
            self.host_reset.eq(reset & ~was_reset),
            was_reset.eq(reset),
            self.status_unsupported_posted.eq(ingress.unsupported_posted),
            self.status_unsupported_non_posted.eq(ingress.unsupported_non_posted),
            self.status_poisoned.eq(ingress.poisoned),
            self.status_config_settled.eq(~(completer.former | msix.former | window.former)),
        ]
        # The pins take SETTLING_CYCLES to be heard, and so does a reset.
        lately = Signal(SETTLING_CYCLES + 2)
        m.d.sync += [
            lately.eq(Cat(self.function_reset, lately)),
            self.function_reset_done.eq(
                ~(self.function_reset | lately.any() | msix.busy | held_back)
                & self.status_config_settled
            ),
        ]
        for cause, pulse in COMPLETION_ERRORS.items():
            m.d.sync += getattr(self, f"status_completion_{cause}").eq(getattr(window, pulse))
        to_device, interrupt = self.m_axis_msg, msix.o
        # Counted a cycle after, so that no counter hangs on what it counts.
        events = {
            "messages_to_device": to_device.valid & to_device.ready & to_device.p.tlast,
            "messages_to_driver": push.advance_head.valid,
            "malformed_packets": push.malformed,
            "dropped_packets": push.dropped,
            "sanitised_indices": indices.sanitised,
            "doorbells": sum(registers.doorbell),
            "interrupts_sent": interrupt.valid & interrupt.ready,
            "interrupts_held": msix.held,
            "unsupported_requests": ingress.unsupported_posted | ingress.unsupported_non_posted,
            "unexpected_completions": window.unexpected,
            "dma_errors": window.read_failed + window.write_failed,
        }
        for counter in COUNTERS:
            total = getattr(self, counter.port)
            event = Signal.like(events[counter.name], name=f"event_{counter.name}")
            m.d.sync += [event.eq(events[counter.name]), total.eq(total + event)]
        return m

    def _connect_window(self, m, window, reset):
        """What a DMA window has that none has not."""
        wiring.connect(m, wiring.flipped(self.s_axi_dma), window.axi)
        wiring.connect(m, window.reads, wiring.flipped(self.tx_rd_req_tlp))
        m.d.comb += [
            window.reset.eq(reset),
            window.requester_id.eq(self.requester_id),
            window.bus_master_enable.eq(self.bus_master_enable),
            window.max_payload_size.eq(self.max_payload_size),
            window.max_read_request_size.eq(self.max_read_request_size),
        ]
        if self._own_config:
            m.d.comb += window.timeout_disable.eq(self.completion_timeout_disable)

    def _connect_writes(self, m, msix, window, held_back):
        """Where DMA writes and MSI-X writes leave, and whether the hard block holds some."""
        confirmed = Signal()
        if self._numbered:
            pulses = self.wr_req_tx_seq_num_valid
            m.submodules.confirmations = serializer = ConfirmationSerializer(len(pulses))
            writes = self.tx_wr_req_tlp
            m.d.comb += [
                serializer.i.eq(pulses),
                serializer.beat.eq(writes.valid & writes.ready),
                serializer.last.eq(writes.p.eop),
                confirmed.eq(serializer.o),
            ]
        if self._merged:
            block = self._geometry.block
            m.submodules.merger = merger = WriteMerger(self._geometry.data_width, block)
            wiring.connect(m, window.writes, merger.writes)
            wiring.connect(m, msix.o, merger.interrupts)
            wiring.connect(m, merger.o, wiring.flipped(self.tx_wr_req_tlp))
            m.d.comb += [
                merger.confirmed.eq(confirmed),
                window.confirmed.eq(merger.write_confirmed),
                held_back.eq(~merger.empty),
            ]
            return
        wiring.connect(m, msix.o, wiring.flipped(self.tx_msix_wr_req_tlp))
        m.d.comb += msix.refused.eq(self.msix_refused)
        if self._dma:
            wiring.connect(m, window.writes, wiring.flipped(self.tx_wr_req_tlp))
            m.d.comb += [window.confirmed.eq(confirmed), held_back.eq(~window.empty)]

    def _serve_host(self, m, ingress, completer, registers, indices, memory, msix, push):
        """Carry out each write in turn, and the completer's reads in between."""
        write = ingress.writes.p
        taken = Signal()
        # Nothing is read while something is written. Who had to wait for a write goes first in the
        # next cycle, wherever the write after that goes: so much is known a cycle ahead, and behind
        # the writes stands all that the host sends.
        m.d.sync += ingress.writes.ready.eq(
            ~(completer.read_wanted & ~completer.read_ready)
            & memory.push_ready
            & ~(msix.reset | msix.busy)
        )
        m.d.comb += [
            taken.eq(ingress.writes.valid & ingress.writes.ready),
            completer.read_ready.eq(~taken & ~msix.busy & ~msix.written),
            memory.host_write_enable.eq(taken & (write.target == Target.FIFOS)),
            memory.host_write_to_device.eq(ingress.writes.ready & write.to_device_queue),
            memory.host_write_address.eq(write.address),
            memory.host_write_data.eq(write.data),
            memory.host_write_mask.eq(write.mask),
            indices.write_enable.eq(taken),
            indices.write_to_indices.eq(write.to_indices),
            indices.write_address.eq(write.address),
            indices.write_data.eq(write.data),
            indices.write_mask.eq(write.mask),
            registers.write_enable.eq(taken & (write.target == Target.REGISTERS)),
            registers.write_address.eq(write.address),
            registers.write_mask.eq(write.mask),
            msix.write_enable.eq(taken & (write.target == Target.MSIX)),
            msix.write_address.eq(write.address),
            msix.write_data.eq(write.data),
            msix.write_mask.eq(write.mask),
        ]

    def _read_words(self, m, completer, registers, indices, memory, msix):
        """What the completer reads, from behind each BAR: a cycle for the RAM, and another one
        before anything else is done with what comes of it."""
        # Each source is zero where it is not what is read.
        to_fifos = completer.read_target == Target.FIFOS
        address = Signal.like(completer.read_address)
        from_registers = Signal()
        # What is not in a RAM.
        other = Signal.like(completer.read_data)
        m.d.sync += [
            address.eq(completer.read_address),
            from_registers.eq(completer.read_target == Target.REGISTERS),
            other.eq(indices.read_value | registers.read_data | msix.read_controls),
        ]
        m.d.comb += [
            memory.host_read_enable.eq(completer.read_enable & to_fifos),
            memory.host_read_address.eq(completer.read_address),
            memory.host_read_hides.eq(indices.read_hit),
            msix.read_enable.eq(completer.read_enable & (completer.read_target == Target.MSIX)),
            msix.read_address.eq(completer.read_address),
            registers.read_enable.eq(from_registers),
            registers.read_address.eq(address),
            indices.read_enable.eq(to_fifos),
            indices.read_address.eq(completer.read_address),
            completer.read_data.eq(memory.host_read_data | msix.read_data | other),
        ]
