# SPDX-License-Identifier: BSD-2-Clause
"""Push engine: stores messages of the device side in the device queues.

Source: the patch series, ``spsc_send`` and ``vmsg_bus_amp_pci_send``. Unlike there, a full queue
stalls the stream, and the bytes of a slot past its message are written as zero.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry, SlotPlace
from ..interfaces import QueuePort, WriteFence
from .fence import SlotFence
from .message import message_signature, slot_word_layout
from .packet_check import PacketCheck

__all__ = ["PushEngine"]


class PushEngine(wiring.Component):
    """Writes each packet to the slot at head, then advances head and raises the interrupt.

    A packet of 8 bytes to a whole slot is a message. A packet of another size, with a gap in
    ``tkeep``, or for a FIFO that does not exist is malformed and discarded whole. A packet for a
    full queue stalls the stream. The last word of a slot stalls until the DMA writes before it have
    departed. When the host resets the function or rewrites the head, the packet in flight is
    dropped. When the host resets the function, the packet that is valid on the stream is dropped
    too, because the device side cannot withdraw it.

    Parameters
    ----------
    geometry : Geometry
    fenced : bool
        There is a DMA window whose writes a message waits for.

    Attributes
    ----------
    i : In(message_signature(data_width))
        Packets. A short one takes the cycles of a whole slot.
    reset : In(1)
        The function is being reset, or ``host_reset`` pulses.
    writes : In(WriteFence())
        DMA writes, with ``fenced``.
    queues : In(QueuePort)
        Device queues; the engine owns the heads.
    filling : Out(num_fifos)
        A slot of the FIFO is being filled, or its first word is written in this cycle.
    raised : Out(num_fifos)
        One-cycle pulse in the cycle before head changes.
    malformed, dropped : Out(1)
        One-cycle pulses: a malformed packet was discarded, a packet was dropped.
    ram : Out(stream of slot_word_layout)
        Words for the RAM.
    """

    def __init__(self, geometry: Geometry, *, fenced: bool = True):
        self._geometry = geometry
        self._fenced = fenced
        n = geometry.num_fifos
        super().__init__(
            {
                "i": In(message_signature(geometry.data_width)),
                "reset": In(1),
                "writes": In(WriteFence()),
                "queues": In(QueuePort(geometry)),
                "filling": Out(n),
                "raised": Out(n),
                "malformed": Out(1),
                "dropped": Out(1),
                "ram": Out(stream.Signature(slot_word_layout(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        words = g.slot_words
        beat, queues = self.i.p, self.queues
        m.submodules.check = check = PacketCheck(g)

        # The slot being filled: `active` after its first word, `padding` once the last beat of its
        # packet is accepted and zeros follow, `aborted` once its head must not advance.
        active = Signal()
        padding = Signal()
        aborted = Signal()
        word = Signal(range(max(words, 2)))
        last_fifo = Signal(g.fifo_shape)
        last_slot = Signal(SlotPlace(g))

        fifo = Signal(g.fifo_shape)
        slot = Signal(SlotPlace(g))
        accepted = Signal()
        written = Signal()
        abort = Signal()
        m.d.comb += [
            fifo.eq(Mux(active, last_fifo, beat.tdest) if g.num_fifos > 1 else 0),
            queues.fifo.eq(beat.tdest),
            slot.eq(Mux(active, last_slot, queues.slot)),
            accepted.eq(self.i.valid & self.i.ready),
            written.eq(self.ram.valid & self.ram.ready),
            abort.eq(self.reset | queues.rewritten),
        ]

        # Packets that are accepted without being stored. `draining`: the rest of one;
        # `drain_drops`: it counts as dropped, not as malformed. `drop_next`: the packet behind a
        # slot that is being padded was valid when the reset came; drop it after the slot.
        draining = Signal()
        drain_drops = Signal()
        drop_next = Signal()
        drop_first = Signal()
        discard = Signal()
        drops = Signal()
        m.d.comb += [
            drop_first.eq(~active & (self.reset | drop_next)),
            discard.eq(draining | drop_first | (~active & (beat.tdest >= g.num_fifos))),
            drops.eq(Mux(draining, drain_drops, drop_first)),
        ]

        is_last = word == words - 1
        has_slot = active | (queues.has_one.bit_select(beat.tdest, 1) & ~self.reset & ~queues.hold)
        due = Signal()
        stall = Signal()
        m.d.comb += [
            due.eq(padding | (self.i.valid & ~discard & has_slot)),
            self.ram.valid.eq(due & ~(is_last & (stall | queues.hold))),
            self.ram.p.address.eq(g.word_of_slot(g.layout.device_queue, fifo, slot.place, word)),
            self.ram.p.data.eq(beat.tdata),
            self.ram.p.mask.eq(Mux(padding, 0, beat.tkeep)),
            self.i.ready.eq(Mux(discard, 1, written) & ~padding),
            check.beat.eq(beat),
            check.accepted.eq(accepted),
            check.first.eq(~active),
            check.last_word.eq(is_last),
        ]
        if self._fenced:
            m.submodules.fence = fence = SlotFence()
            wiring.connect(m, wiring.flipped(self.writes), fence.writes)
            m.d.comb += [fence.due.eq(due & is_last & ~written), stall.eq(fence.stall)]

        completes = Signal()
        # With several words per slot, the last word is never the first: `has_slot`, which is late,
        # does not matter.
        ends = written & is_last
        if words > 1:
            ends = active & is_last & (padding | self.i.valid) & ~(stall | queues.hold)
            ends = ends & self.ram.ready
        ended = last_slot if words > 1 else slot
        aborts = abort | (active & aborted)
        m.d.comb += [
            completes.eq(ends & (padding | (beat.tlast & ~check.malformed))),
            # Neither a reset need stop the head, which it clears afterwards, nor a rewrite, which
            # holds the engine: both are late.
            queues.advance.eq(completes & ~(active & aborted)),
            queues.advance_fifo.eq(last_fifo if words > 1 else fifo),
            queues.next_index.eq(ended.next),
            self.raised.eq(Mux(completes & ~aborts, 1 << queues.advance_fifo, 0)),
            # Reported once per packet: with its last beat, or when its slot is complete but its
            # queue was reset or rewritten.
            self.malformed.eq(accepted & beat.tlast & (discard | check.malformed) & ~drops),
            self.dropped.eq((self.i.valid & ~padding & beat.tlast & drops) | (completes & aborts)),
            self.filling.eq(Mux(active | written, 1 << fifo, 0)),
        ]

        with m.If(written):
            m.d.sync += [
                active.eq(~is_last),
                word.eq(Mux(is_last, 0, word + 1)),
                last_fifo.eq(fifo),
                last_slot.eq(slot),
            ]
        with m.If(padding):
            m.d.sync += padding.eq(~(written & is_last))
        with m.Elif(accepted):
            with m.If(discard):
                m.d.sync += [draining.eq(~beat.tlast), drain_drops.eq(drops)]
            with m.Elif(beat.tlast):
                with m.If(check.malformed):
                    m.d.sync += [active.eq(0), word.eq(0)]
                with m.Elif(~is_last):
                    m.d.sync += padding.eq(1)
            with m.Elif(is_last):
                m.d.sync += [draining.eq(1), drain_drops.eq(0)]
        with m.If(active | written):
            m.d.sync += aborted.eq((active & aborted) | abort)
        m.d.sync += drop_next.eq(padding & (drop_next | (self.reset & self.i.valid)))
        return m
