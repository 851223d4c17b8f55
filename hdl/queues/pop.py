# SPDX-License-Identifier: BSD-2-Clause
"""Pop engine: driver queues to the device side, a message at a time, FIFOs in turn.

Source: the patch series, ``spsc_recv`` and ``vmsg_bus_amp_pci_process``. Unlike there, a queue is
popped up to the head that the newest doorbell saw, never further.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arbiter import round_robin
from ..geometry import Geometry
from .message import message_signature, word_of_slot
from .modulo import successor

__all__ = ["PopEngine"]


class PopEngine(wiring.Component):
    """Streams each message of ``[driver_tail, snapshot)`` out, one word a cycle, without a pause
    between messages.

    A FIFO is served while its device queue has room, so that what the device side is given can be
    answered. After a pause, a FIFO other than the last one begins a cycle later than that one
    would. Its tail moves when the last word has been read. A message under way when the host resets
    the function or rewrites the tail is still completed on the stream, but moves no index.

    Attributes
    ----------
    o : Out(message_signature(data_width))
        Messages, each a whole slot.
    reset : In(1)
        The function is being reset.
    driver_tail, snapshot : In
        Indices, an element for each FIFO.
    room : In(num_fifos)
        The FIFO's device queue has room for one more message.
    tail_written : In(num_fifos)
        The host is writing the tail.
    advance_tail : Out
        See :class:`~hdl.queues.index_words.IndexWords`.
    read_enable, read_address : Out, read_data : In
        RAM port, see :class:`~hdl.queues.memory.FifoMemory`.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        n = geometry.num_fifos
        super().__init__(
            {
                "o": Out(message_signature(geometry.data_width)),
                "reset": In(1),
                "driver_tail": In(geometry.indices_shape),
                "snapshot": In(geometry.indices_shape),
                "room": In(n),
                "tail_written": In(n),
                "advance_tail": Out(geometry.advance_shape),
                "read_enable": Out(1),
                "read_address": Out(geometry.word_address_bits),
                "read_data": In(geometry.data_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        words = g.slot_words
        capacity = g.layout.queue.capacity

        waiting = Signal(g.num_fifos)
        m.d.comb += [
            waiting[fifo].eq(
                (self.driver_tail[fifo] != self.snapshot[fifo]) & self.room[fifo] & ~self.reset
            )
            for fifo in range(g.num_fifos)
        ]

        active = Signal()
        cancelled = Signal()
        word = Signal(range(max(words, 2)))
        last_fifo = Signal(g.fifo_shape)
        last_slot = Signal.like(self.driver_tail[0])

        fifo = Signal(g.fifo_shape)
        slot = Signal.like(last_slot)
        free = ~self.o.valid | self.o.ready
        step = Signal()
        if g.num_fifos > 1:
            under_way = [~cancelled & (last_fifo == index) for index in range(g.num_fifos)]
            turn = self._turn(m, waiting, active, under_way, begins=step & ~active)
            waits, served = waiting.bit_select(turn, 1), Mux(active, last_fifo, turn)
        else:
            waits, served = waiting.any(), 0
        m.d.comb += [
            fifo.eq(served),
            slot.eq(Mux(active, last_slot, self.driver_tail[fifo])),
        ]

        final = word == words - 1
        # The last of several words is never the first.
        ends = free & active & final if words > 1 else step
        overruled = self.reset | self.tail_written.bit_select(fifo, 1)
        m.d.comb += [
            step.eq(free & (active | waits)),
            # Where nothing is on offer it does not matter what is read.
            self.read_enable.eq(free),
            self.read_address.eq(word_of_slot(g, g.layout.driver_queue, fifo, slot, word)),
            self.advance_tail.valid.eq(ends & ~overruled & ~(active & cancelled)),
            self.advance_tail.fifo.eq(fifo),
            self.advance_tail.value.eq(successor(slot, capacity)),
        ]
        with m.If(free):
            m.d.sync += self.o.valid.eq(step)
        with m.If(step):
            m.d.sync += [
                active.eq(~final),
                word.eq(Mux(final, 0, word + 1)),
                last_fifo.eq(fifo),
                last_slot.eq(slot),
                self.o.p.tlast.eq(final),
                self.o.p.tdest.eq(fifo),
            ]
        with m.If(active | step):
            m.d.sync += cancelled.eq((active & cancelled) | overruled)
        m.d.comb += [
            self.o.p.tdata.eq(self.read_data),
            self.o.p.tkeep.eq((1 << g.word_bytes) - 1),
        ]
        return m

    def _turn(self, m, waiting, active, under_way, begins):
        """The FIFO whose turn it is to begin a message, if it has one.

        Told a cycle ahead, since comparing all indices is as long a path as finding a slot is: by
        what will wait when the message under way has ended, or the one that begins. It is a hint;
        what is popped depends on the indices of the moment. A turn lasts until it is taken or there
        is nothing left to take.
        """
        g = self._geometry
        capacity = g.layout.queue.capacity
        turn = Signal(g.fifo_shape)
        coming = Signal(g.num_fifos)
        for fifo in range(g.num_fifos):
            left = successor(self.driver_tail[fifo], capacity) != self.snapshot[fifo]
            going = Mux(active, under_way[fifo], (turn == fifo) & waiting[fifo])
            m.d.comb += coming[fifo].eq(
                Mux(going, left & self.room[fifo] & ~self.reset, waiting[fifo])
            )
        stays = Mux(active, coming, waiting).bit_select(turn, 1) & ~begins
        with m.If(~stays & coming.any()):
            m.d.sync += turn.eq(round_robin(coming, turn))
        return turn
