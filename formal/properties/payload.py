# SPDX-License-Identifier: BSD-2-Clause
"""Payloads: each dword arrives in its lane of its beat."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Mux, Value

from hdl.payload import PayloadQueue

from ..geometry import geometry
from ..harness import Harness, Part
from ..proof import Mutant, Proof

__all__ = ["PROOFS", "is_direct", "last_strobes", "num_words"]

DEPTH = 4


def is_direct(offset: Value, dwords: Value, lanes: int) -> Value:
    """No dword of a payload moves to an earlier beat than its word."""
    return (offset == 0) | (offset + dwords <= lanes)


def last_strobes(dwords: Value, lanes: int) -> Value:
    """``strb`` of the last beat of a payload of ``dwords`` dwords, at least one."""
    rest = dwords[: lanes.bit_length() - 1]
    return Cat(*((rest == 0) | (rest > lane) for lane in range(lanes - 1)), rest == 0)


def num_words(offset: Value, dwords: Value, lanes: int) -> Value:
    """Words that the queue accepts for ``dwords`` dwords from lane ``offset`` of the first word.

    One for each beat and, where dwords move, one more at the beginning.
    """
    beats = (dwords + (lanes - 1)) >> (lanes.bit_length() - 1)
    single = offset + dwords <= lanes
    return Mux(single, 1, beats + (offset != 0))


def payloads_are_queued(data_width: int) -> Callable[[Harness], None]:
    """The value of each dword is its number. The words of a payload arrive in order, with any
    pauses. Follow one beat, chosen by the solver."""

    def build(h: Harness) -> None:
        g = geometry(data_width, 1)
        lanes = g.lanes
        queue = PayloadQueue(g, 4, depth=DEPTH)
        part = h.add("queue", queue, driven=("i_payload",))
        length, offset = h.free(11, "length"), h.free(g.lane_bits, "offset")
        h.assume((length != 0) & (length <= 1024))
        count = h.signal(11, "words_before")
        words = num_words(offset, length, lanes)
        goes = queue.i.valid & queue.i.ready
        same = h.register((count + goes != 0) & ~(goes & (count + 1 == words)), "goes_on")
        for what, name in ((length, "length"), (offset, "offset")):
            h.assume(~same | (what == h.register(what, f"{name}_before")))
        word = queue.i.p
        direct = is_direct(offset, length, lanes)
        fields = h.free(4, "fields")
        h.m.d.comb += [
            word.data.eq(Cat((count * lanes + lane)[:32] | Const(0, 32) for lane in range(lanes))),
            word.first.eq(count == 0),
            word.last.eq(count + 1 == words),
            word.offset.eq(offset),
            word.direct.eq(direct),
            word.strb.eq(last_strobes(length, lanes)),
            word.fields.eq(fields),
        ]
        with h.m.If(goes):
            h.m.d.sync += count.eq(Mux(word.last, 0, count + 1))
        # The beat of the payload that the word completes.
        completes = goes & (direct | (count != 0))
        place = Mux(direct | (count == 0), count, count - 1)

        following, oldest = (part.inside("places", name) for name in ("next_place", "oldest_place"))
        queued = h.signal(1, "queued")
        chooses = completes & h.free(1, "chosen") & ~queued
        at = h.latched(following, chooses, "at")
        # Number of the dword in each lane: past the payload, lanes of its only word wrap.
        dwords = []
        for lane in range(lanes):
            wraps = Mux(direct & (offset + lane >= lanes), lanes, 0)
            dword = (offset + place * lanes + lane - wraps)[:13]
            dwords.append(h.latched(dword, chooses, f"dword_{lane}"))
        # Dwords of the payload before the beat, and from there on.
        before = h.latched((place * lanes)[:11], chooses, "before")
        left = h.latched((length - place * lanes)[:11], chooses, "left")
        its_fields = h.latched(fields, chooses, "its_fields")
        mine = queued & (oldest == at)
        pops = queue.o.valid & queue.o.ready
        h.m.d.sync += queued.eq(chooses | (queued & ~(mine & pops)))

        context = queue.o.p.context
        strobes = Cat(*(lane < left for lane in range(lanes)))
        expected = Cat(strobes, before == 0, left <= lanes, its_fields)
        shown = mine & queue.o.valid
        h.ensure(~shown | (Value.cast(context) == expected))
        for lane in range(lanes):
            dword = queue.o.p.data.word_select(lane, 32)
            h.ensure(~shown | (dword == dwords[lane]))
        h.ensure(queue.o.valid == (queue.level != 0))
        h.ensure(~(goes & word.last) | completes)
        h.ensure_held(queue.o, "beats")
        h.cover(mine & (queue.level == DEPTH - 1) & (before != 0) & (left == lanes - 1))

        # For the induction: the position in the payload, and what the RAMs have.
        size = len(at)
        h.ensure(count < words)
        h.ensure(part.inside("places", "level") < DEPTH)
        h.ensure((count == 0) | same)
        h.ensure(part.inside("started") == ((count != 0) & (place != 0)))
        h.ensure((following - oldest - queue.level)[:size] == 0)
        h.ensure(~queued | ((at - oldest)[:size] < queue.level))
        h.ensure(~queued | (left != 0))
        h.ensure(~queued | (part.row(h, at, "context") == expected))
        filling = (count != 0) & ~direct
        went, completed = h.register(goes, "went"), h.register(completes, "completed")
        for lane in range(lanes):
            holds = _Lane(h, part, lane)
            if lanes > 2:
                holds.add_register(went, completed)
            h.ensure(~queued | holds.has(at, dwords[lane]))
            dword = ((count - 1) * lanes + offset + lane)[:13]
            h.ensure(~(filling & (offset + lane < lanes)) | holds.has(following, dword))

    return build


class _Lane:
    """What a lane holds, with the invariants of its register."""

    def __init__(self, h: Harness, part: Part, lane: int):
        self._h = h
        self._part = part
        self._lane = lane
        self._register: tuple[Value, Value, Value] | None = None

    def add_register(self, went: Value, completed: Value) -> None:
        """Dwords pass a register on their way to the RAM.

        ``went`` and ``completed``: the cycle before accepted a word, and that completed a beat.
        """
        h, part = self._h, self._part
        following, oldest = (part.inside("places", name) for name in ("next_place", "oldest_place"))
        newest, at, was_ahead = (
            part.inside(f"{name}{self._lane}") for name in ("newest", "newest_place", "was_ahead")
        )
        h.ensure((at == following) | ((at + 1)[: len(at)] == following))
        h.ensure((at == following) | ~went | completed)
        only = part.inside("only")
        h.ensure(only == (completed & (part.inside("places", "level") == 1)))
        h.ensure(~only | (was_ahead == (at != oldest)))
        self._register = newest, at, went

    def has(self, place: Value, dword: Value) -> Value:
        """The lane holds ``dword`` for the beat at ``place``."""
        in_memory = self._part.row(self._h, place, f"lane{self._lane}") == dword
        if self._register is None:
            return in_memory
        newest, at, went = self._register
        return Mux(at == place, (newest == dword) & (went | in_memory), in_memory)


def _proof(suffix: str, data_width: int, mutant: Mutant) -> Proof:
    return Proof(
        property=f"payloads-are-queued{suffix}",
        statement="each beat leaves once, in order, with the right dwords, strobes, sop and eop, "
        "and holds until accepted; payloads of 1 to 1,024 dwords from any lane of the first word, "
        f"with any pauses, {data_width} bits, depth {DEPTH}",
        source="generic TLP interface of verilog-pcie",
        module="hdl.payload",
        harness=payloads_are_queued(data_width),
        depth=2,
        mutant=mutant,
    )


PROOFS = (
    _proof(
        "",
        128,
        Mutant(module="hdl.payload", before="only & ~was_ahead", after="only"),
    ),
    _proof(
        "-64",
        64,
        Mutant(
            module="hdl.payload",
            before="write.addr.eq(place)",
            after="write.addr.eq(places.next_place)",
        ),
    ),
)
