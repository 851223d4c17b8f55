# SPDX-License-Identifier: BSD-2-Clause
"""Pop engine: sends the messages of the driver queues to the device side, round robin.

Source: the patch series, ``spsc_recv`` and ``vmsg_bus_amp_pci_process``. Unlike there, a queue is
popped only up to the head that the last doorbell sampled.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arbiter import round_robin
from ..geometry import Geometry, SlotPlace
from ..interfaces import QueuePort, WordRead
from .message import message_signature

__all__ = ["PopEngine"]


class PopEngine(wiring.Component):
    """Streams each message of a driver queue out, one word per cycle, back to back.

    A FIFO is served only while its device queue has space, so that the device side can answer the
    message. The tail advances with the last word of the message. When the host resets the function
    or rewrites the tail, a message in flight completes on the stream, but its index does not
    advance. After an idle cycle, a FIFO other than the last one starts one cycle later.

    Attributes
    ----------
    o : Out(message_signature(data_width))
        Messages, each a whole slot.
    reset : In(1)
        The function is being reset.
    queues : In(QueuePort)
        Driver queues; the engine owns the tails.
    has_space : In(num_fifos)
        The device queue of the FIFO has space for one more message.
    ram : Out(WordRead(word_address_bits, data_width))
        RAM read port; data is valid in the next cycle and holds until the next read.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "o": Out(message_signature(geometry.data_width)),
                "reset": In(1),
                "queues": In(QueuePort(geometry)),
                "has_space": In(geometry.num_fifos),
                "ram": Out(WordRead(geometry.word_address_bits, geometry.data_width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        words = g.slot_words
        queues = self.queues

        ready = Signal(g.num_fifos)
        m.d.comb += ready.eq(queues.has_one & self.has_space & ~self.reset.replicate(g.num_fifos))

        # The message in flight: `active` after its first word, `aborted` once its index must not
        # advance.
        active = Signal()
        aborted = Signal()
        word = Signal(range(max(words, 2)))
        last_fifo = Signal(g.fifo_shape)
        last_slot = Signal(SlotPlace(g))

        fifo = Signal(g.fifo_shape)
        slot = Signal(SlotPlace(g))
        can_load = ~self.o.valid | self.o.ready
        step = Signal()
        if g.num_fifos > 1:
            in_flight = [~aborted & (last_fifo == index) for index in range(g.num_fifos)]
            grant = self._grant(m, ready, active, in_flight, starts=step & ~active)
            any_ready = ready.bit_select(grant, 1)
            m.d.comb += [
                fifo.eq(Mux(active, last_fifo, grant)),
                queues.fifo.eq(grant),
            ]
        else:
            any_ready = ready.any()
        m.d.comb += slot.eq(Mux(active, last_slot, queues.slot))

        is_last = word == words - 1
        # With several words per slot, the last word is never the first: `any_ready`, which is late,
        # does not matter.
        ends = can_load & ~queues.hold & active & is_last if words > 1 else step
        ended = last_slot if words > 1 else slot
        abort = self.reset | queues.rewritten
        m.d.comb += [
            step.eq(can_load & (active | any_ready) & ~queues.hold),
            # Without `step` the data read is not used.
            self.ram.enable.eq(can_load),
            self.ram.address.eq(g.word_of_slot(g.layout.driver_queue, fifo, slot.place, word)),
            # Neither a reset need stop the tail, which it clears afterwards, nor a rewrite, which
            # holds the engine: both are late.
            queues.advance.eq(ends & ~(active & aborted)),
            queues.advance_fifo.eq(last_fifo if words > 1 else fifo),
            queues.next_index.eq(ended.next),
        ]
        with m.If(can_load):
            m.d.sync += self.o.valid.eq(step)
        with m.If(step):
            m.d.sync += [
                active.eq(~is_last),
                word.eq(Mux(is_last, 0, word + 1)),
                last_fifo.eq(fifo),
                last_slot.eq(slot),
                self.o.p.tlast.eq(is_last),
                self.o.p.tdest.eq(fifo),
            ]
        with m.If(active | step):
            m.d.sync += aborted.eq((active & aborted) | abort)
        m.d.comb += [
            self.o.p.tdata.eq(self.ram.data),
            self.o.p.tkeep.eq((1 << g.word_bytes) - 1),
        ]
        return m

    def _grant(self, m, ready, active, in_flight, starts):
        """The FIFO that may start a message next.

        Registered: comparing all indices is as long a path as the slot's address is. It is computed
        one cycle ahead, from the FIFOs that will be ready when the message in flight has ended. It
        is only a hint: `ready` of the granted FIFO decides in the cycle itself. A grant holds until
        the FIFO starts a message or is no longer ready.
        """
        g = self._geometry
        grant = Signal(g.fifo_shape)
        ready_next = Signal(g.num_fifos)
        for fifo in range(g.num_fifos):
            popping = Mux(active, in_flight[fifo], (grant == fifo) & ready[fifo])
            m.d.comb += ready_next[fifo].eq(
                Mux(
                    popping,
                    self.queues.has_two[fifo] & self.has_space[fifo] & ~self.reset,
                    ready[fifo],
                )
            )
        holds = Mux(active, ready_next, ready).bit_select(grant, 1) & ~starts
        with m.If(~holds & ready_next.any()):
            m.d.sync += grant.eq(round_robin(ready_next, grant))
        return grant
