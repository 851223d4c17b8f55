# SPDX-License-Identifier: BSD-2-Clause
"""Push engine: messages of the device side into the device queues.

Source: the patch series, ``spsc_send`` and ``vmsg_bus_amp_pci_send``. Unlike there, a full queue
holds the message back, and a slot's bytes past the message are written as zero.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.layout import MIN_MESSAGE

from ..dma.limits import PENDING_WRITES
from ..geometry import Geometry
from .message import message_signature, word_of_slot
from .modulo import successor

__all__ = ["PushEngine"]


class PushEngine(wiring.Component):
    """Writes each packet into the slot at head, then moves head and raises the FIFO's interrupt.

    A packet of 8 bytes to a whole slot is accepted; one of another size, with a hole in ``tkeep``,
    or for a FIFO that does not exist is dropped whole. A packet for a full queue waits. Its slot is
    completed when what the device side wrote to host memory before it has left. One that is
    under way when the host resets the function or rewrites head belongs to a queue that is no more
    and is dropped, too. So is one that is on offer when the function is reset: the device side
    could not take it back.

    Parameters
    ----------
    geometry : Geometry
    fenced : bool
        Whether there is a DMA window whose writes a message may have to wait for.

    Attributes
    ----------
    i : In(message_signature(data_width))
        Packets. A short one costs the cycles of a whole slot.
    reset : In(1)
        The function is being reset, or the device side is just told so.
    writes_pending : In, write_taken, write_left : In(1)
        Bursts of the DMA window that are still to leave for host memory; one more was taken in the
        cycle before, and counts from the next one on; and the pulse with which one has left.
    device_head, device_tail : In
        Indices, an element for each FIFO.
    head_written : In(num_fifos)
        The host is writing the head.
    advance_head : Out
        See :class:`~hdl.queues.index_words.IndexWords`.
    room : Out(num_fifos)
        The FIFO has room for one more message than those accepted before this cycle.
    raised : Out(num_fifos)
        One-cycle pulse with the edge on which head moves.
    malformed, dropped : Out(1)
        One-cycle pulse for each packet that is none, and for each that is given up.
    write_valid, write_address, write_data, write_mask : Out, write_ready : In(1)
        RAM port, see :class:`~hdl.queues.memory.FifoMemory`.
    """

    def __init__(self, geometry: Geometry, *, fenced: bool = True):
        self._geometry = geometry
        self._fenced = fenced
        n = geometry.num_fifos
        super().__init__(
            {
                "i": In(message_signature(geometry.data_width)),
                "reset": In(1),
                "writes_pending": In(range(PENDING_WRITES + 1)),
                "write_taken": In(1),
                "write_left": In(1),
                "device_head": In(geometry.indices_shape),
                "device_tail": In(geometry.indices_shape),
                "head_written": In(n),
                "advance_head": Out(geometry.advance_shape),
                "room": Out(n),
                "raised": Out(n),
                "malformed": Out(1),
                "dropped": Out(1),
                "write_valid": Out(1),
                "write_ready": In(1),
                "write_address": Out(geometry.word_address_bits),
                "write_data": Out(geometry.data_width),
                "write_mask": Out(geometry.word_bytes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        n = g.num_fifos
        words = g.slot_words
        capacity = g.layout.queue.capacity
        beat = self.i.p

        # A packet between its first beat and the end of its slot.
        active = Signal()
        # Its last beat is in; zeroes are being written.
        padding = Signal()
        # Its rest is taken and thrown away, and that is because the function was reset.
        swallowing = Signal()
        stale = Signal()
        # The packet on offer behind a slot that is being filled up was so as the reset came. It is
        # taken in the first cycle after.
        doomed = Signal()
        cancelled = Signal()
        was_bad = Signal()
        word = Signal(range(max(words, 2)))
        last_fifo = Signal(g.fifo_shape)
        last_slot = Signal.like(self.device_head[0])

        # Whether there is a slot free, as it will be when the head has moved in this cycle.
        vacant = Signal(n)
        fifo = Signal(g.fifo_shape)
        written = Signal()
        for index in range(n):
            after = Signal.like(last_slot, name=f"after_head_{index}")
            one = Signal(name=f"one_slot_{index}")
            two = Signal(name=f"two_slots_{index}")
            here = fifo == index
            m.d.comb += [
                after.eq(successor(self.device_head[index], capacity)),
                one.eq(after != self.device_tail[index]),
                two.eq(one & (successor(after, capacity) != self.device_tail[index])),
            ]
            m.d.sync += [
                vacant[index].eq(
                    Mux(self.advance_head.valid & here, two, one) & ~self.head_written[index]
                ),
                self.room[index].eq(Mux((active | written) & here, two, one)),
            ]

        slot = Signal.like(last_slot)
        exists = Signal()
        m.d.comb += [
            exists.eq(beat.tdest < n),
            fifo.eq(Mux(active, last_fifo, beat.tdest) if n > 1 else 0),
            slot.eq(Mux(active, last_slot, self.device_head[fifo])),
        ]
        overruled = Signal()
        too_late = Signal()
        refused = Signal()
        given_up = Signal()
        m.d.comb += [
            overruled.eq(self.reset | self.head_written.bit_select(fifo, 1)),
            too_late.eq(~active & (self.reset | doomed)),
            refused.eq(swallowing | too_late | (~active & ~exists)),
            given_up.eq(Mux(swallowing, stale, too_late)),
        ]

        fits = active | (vacant.bit_select(fifo, 1) & ~overruled)
        final = word == words - 1
        wants = Signal()
        accepted = Signal()

        held = Signal()
        if self._fenced:
            m.d.comb += held.eq(final & self._fence(m, wants & final & ~written))

        m.d.comb += [
            wants.eq(padding | (self.i.valid & ~refused & fits)),
            self.write_valid.eq(wants & ~held),
            self.write_address.eq(word_of_slot(g, g.layout.device_queue, fifo, slot, word)),
            written.eq(self.write_valid & self.write_ready),
            accepted.eq(self.i.valid & self.i.ready),
        ]
        with m.If(padding):
            m.d.comb += self.i.ready.eq(0)
        with m.Elif(refused):
            m.d.comb += self.i.ready.eq(1)
        with m.Else():
            m.d.comb += self.i.ready.eq(written)
        m.d.comb += [
            self.write_data.eq(beat.tdata),
            self.write_mask.eq(Mux(padding, 0, beat.tkeep)),
        ]

        gap = (beat.tkeep[1:] & ~beat.tkeep[:-1]).any()
        too_short = ~active & ~beat.tkeep[MIN_MESSAGE - 1]
        bad_beat = Signal()
        with m.If(beat.tlast):
            m.d.comb += bad_beat.eq(gap | ~beat.tkeep.any() | too_short)
        with m.Else():
            m.d.comb += bad_beat.eq(~beat.tkeep.all() | (word == words - 1))
        bad = bad_beat | (active & was_bad)
        void = overruled | (active & cancelled)

        ends = Signal()
        m.d.comb += [
            ends.eq(written & final & (padding | beat.tlast)),
            self.advance_head.valid.eq(ends & ~void & Mux(padding, 1, ~bad)),
            self.advance_head.fifo.eq(fifo),
            self.advance_head.value.eq(successor(slot, capacity)),
        ]
        for index in range(n):
            m.d.comb += self.raised[index].eq(self.advance_head.valid & (fifo == index))

        with m.If(written):
            m.d.sync += [
                active.eq(~final),
                word.eq(Mux(final, 0, word + 1)),
                last_fifo.eq(fifo),
                last_slot.eq(slot),
            ]
        with m.If(padding):
            m.d.sync += padding.eq(~(written & final))
        with m.Elif(accepted):
            m.d.sync += was_bad.eq(bad)
            with m.If(refused):
                m.d.sync += [swallowing.eq(~beat.tlast), stale.eq(given_up)]
            with m.Elif(beat.tlast):
                with m.If(bad):
                    m.d.sync += [active.eq(0), word.eq(0)]
                with m.Elif(~final):
                    m.d.sync += padding.eq(1)
            with m.Elif(final):
                m.d.sync += [swallowing.eq(1), stale.eq(0)]
        m.d.sync += doomed.eq(padding & (doomed | (self.reset & self.i.valid)))
        with m.If(active | written):
            m.d.sync += cancelled.eq((active & cancelled) | overruled)

        # Told once for each packet: where its last beat shows it malformed or astray, or where
        # its slot is complete but the queue is no longer the one that it was meant for.
        m.d.comb += [
            self.malformed.eq(accepted & beat.tlast & (refused | bad) & ~given_up),
            self.dropped.eq(
                (accepted & beat.tlast & given_up) | (ends & void & Mux(padding, 1, ~bad))
            ),
        ]
        return m

    def _fence(self, m, waits):
        """Whether writes are still to leave that were under way when the slot's last word was due.

        Not those that came after, so that the device side may go on writing. ``waits``: the word
        is due, and is not written in this cycle.
        """
        fencing = Signal()
        counted = Signal()
        still_to_leave = Signal.like(self.writes_pending)
        some_still = Signal()
        now_to_leave = Signal.like(self.writes_pending)
        after = Signal.like(self.writes_pending)
        m.d.comb += [
            now_to_leave.eq(Mux(counted, still_to_leave, self.writes_pending)),
            after.eq(now_to_leave - (self.write_left & (now_to_leave != 0))),
        ]
        m.d.sync += [
            fencing.eq(waits),
            # A cycle after, when all that were taken before have been counted.
            counted.eq(waits & fencing),
            still_to_leave.eq(after),
            some_still.eq(after != 0),
        ]
        taken = self.write_taken & ~fencing
        return Mux(counted, some_still, (self.writes_pending != 0) | taken)
