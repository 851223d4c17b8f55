# SPDX-License-Identifier: BSD-2-Clause
"""Tags of the memory reads: allocation, context and state of each.

PCI Express Base 4.0 section 2.2.6.2. Tags are allocated in circular order: a late completion of a
read that timed out then meets a new read with its tag as late as possible.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .limits import TAGS
from .read_interfaces import TAG_BITS, ReadContext, ReadOutcome

__all__ = ["ReadTags"]


class ReadTags(wiring.Component):
    """Ring of the tags in use, from the oldest to the newest.

    Attributes
    ----------
    reset : In(1)
        The function is being reset: every read fails, none is outstanding.
    new_tag : Out(TAG_BITS)
        The next tag to allocate.
    free : Out(1)
        ``new_tag`` may be allocated.
    allocate : In(1)
        One-cycle pulse: ``new_tag`` is allocated to ``new_context``.
    new_context : In(ReadContext)
        How to return the data.
    unsent : In(1)
        With ``allocate``: the read fails and is not sent.
    sent : In(1)
        One-cycle pulse: the read with ``sent_tag`` is outstanding from the next cycle on.
    sent_tag : In(TAG_BITS)
        Its tag.
    outcome : In(ReadOutcome())
        Result of a completion.
    old_tag : Out(TAG_BITS)
        The oldest tag.
    old_context : Out(ReadContext)
        Its context.
    done : Out(1)
        The read with ``old_tag`` is complete or failed. Valid two cycles after ``take``.
    failed : Out(1)
        The read with ``old_tag`` failed. Valid two cycles after ``take``.
    take : In(1)
        One-cycle pulse: ``old_tag`` is taken to return its data.
    retire : In(1)
        One-cycle pulse: a tag that was taken is free again.
    outstanding : Out(TAGS)
        A bit for each tag: its read is outstanding.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "reset": In(1),
                "new_tag": Out(TAG_BITS),
                "free": Out(1),
                "allocate": In(1),
                "new_context": In(ReadContext),
                "unsent": In(1),
                "sent": In(1),
                "sent_tag": In(TAG_BITS),
                "outcome": In(ReadOutcome()),
                "old_tag": Out(TAG_BITS),
                "old_context": Out(ReadContext),
                "done": Out(1),
                "failed": Out(1),
                "take": In(1),
                "retire": In(1),
                "outstanding": Out(TAGS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Ring pointers have one bit more than a tag, to tell a full ring from an empty one.
        newest = Signal(TAG_BITS + 1)
        newest_q = Signal(TAG_BITS + 1)
        oldest = Signal(TAG_BITS + 1)
        used = Signal(range(TAGS + 1))
        tag_done = Signal(TAGS)
        tag_failed = Signal(TAGS)
        m.submodules.contexts = contexts = memory.Memory(shape=ReadContext, depth=TAGS, init=[])
        store, look_up = contexts.write_port(), contexts.read_port(domain="comb")
        m.d.comb += [
            self.new_tag.eq(newest),
            self.old_tag.eq(oldest),
            self.free.eq(~used[-1]),
            store.addr.eq(self.new_tag),
            store.data.eq(self.new_context),
            store.en.eq(self.allocate),
            look_up.addr.eq(self.old_tag),
            self.old_context.eq(look_up.data),
        ]
        # The lookup is registered: tags are not taken in consecutive cycles, so `oldest` is stable
        # when the result is used.
        m.d.sync += [
            self.done.eq((newest_q != oldest) & tag_done.bit_select(self.old_tag, 1)),
            self.failed.eq(tag_failed.bit_select(self.old_tag, 1) | self.reset),
        ]

        # The bits of a new tag are written one cycle after the allocation; `newest_q` follows, so
        # that they are not looked up before.
        allocate_q = Signal()
        unsent_q = Signal()
        m.d.sync += [
            allocate_q.eq(self.allocate),
            unsent_q.eq(self.unsent),
            newest_q.eq(newest),
        ]
        with m.If(self.allocate):
            m.d.sync += newest.eq(newest + 1)
        with m.If(allocate_q):
            m.d.sync += [
                tag_done.bit_select(newest_q[:TAG_BITS], 1).eq(unsent_q),
                tag_failed.bit_select(newest_q[:TAG_BITS], 1).eq(unsent_q),
            ]
        with m.If(self.sent):
            m.d.sync += self.outstanding.bit_select(self.sent_tag, 1).eq(1)
        with m.If(self.outcome.failed):
            m.d.sync += tag_failed.bit_select(self.outcome.tag, 1).eq(1)
        with m.If(self.outcome.ended):
            m.d.sync += [
                self.outstanding.bit_select(self.outcome.tag, 1).eq(0),
                tag_done.bit_select(self.outcome.tag, 1).eq(1),
            ]
        take_q = Signal()
        take_tag_q = Signal(TAG_BITS)
        with m.If(self.take):
            m.d.sync += oldest.eq(oldest + 1)
        m.d.sync += [take_q.eq(self.take), take_tag_q.eq(self.old_tag)]
        with m.If(take_q):
            # Already 0 unless the read timed out.
            m.d.sync += self.outstanding.bit_select(take_tag_q, 1).eq(0)
        with m.If(self.allocate ^ self.retire):
            m.d.sync += used.eq(used + Mux(self.retire, -1, 1))
        with m.If(self.reset):
            m.d.sync += [self.outstanding.eq(0), tag_done.eq(-1), tag_failed.eq(-1)]
        return m
