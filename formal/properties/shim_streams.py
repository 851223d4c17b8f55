# SPDX-License-Identifier: BSD-2-Clause
"""Packets that pass a shim: headers taken out and put in front, beats that begin in the middle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Value

from hdl.shims.inline import HeaderJoiner, HeaderSplitter
from hdl.shims.straddle import Unstraddler

from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS", "beside"]


def headers_leave_once(h: Harness) -> None:
    """Whole packets of any lengths; how long their headers are is told beside their first beats."""
    splitter = HeaderSplitter(128, (3, 4))
    part = h.add("splitter", splitter)
    h.assume_held(beside(splitter.i, Cat(splitter.is_long, splitter.broken)), "beats")
    h.assume(splitter.i.valid | ~splitter.broken)
    h.ensure_held(splitter.o, "packets")
    # A packet that came whole leaves whole: as many ends as came, at most one of them later.
    ends = splitter.i.valid & splitter.i.ready & splitter.i.p.last
    leaves = splitter.o.valid & splitter.o.ready
    owed = h.signal(2, "owed")
    h.m.d.sync += owed.eq(owed + ends - (leaves & splitter.o.p.last))
    h.ensure(owed == part.inside("flush"))
    h.ensure(splitter.o.p.first == ~part.inside("begun"))
    inside = h.latch("inside", rises=leaves & ~splitter.o.p.last, falls=leaves & splitter.o.p.last)
    h.ensure(part.inside("begun") == inside)
    h.ensure(~part.inside("flush") | part.inside("begun"))
    h.cover(splitter.o.valid & part.inside("flush"))


def headers_come_first(h: Harness) -> None:
    joiner = HeaderJoiner(128, (3, 4))
    part = h.add("joiner", joiner)
    h.assume_held(beside(joiner.i, joiner.is_long), "packets")
    # Where there is no payload, there is one beat.
    h.assume((joiner.i.p.strb != 0) | (joiner.i.p.first & joiner.i.p.last))
    h.ensure_held(beside(joiner.o, joiner.first), "beats")
    ends = joiner.i.valid & joiner.i.ready & joiner.i.p.last
    leaves = joiner.o.valid & joiner.o.ready
    owed = h.signal(2, "owed")
    h.m.d.sync += owed.eq(owed + ends - (leaves & joiner.o.p.last))
    h.ensure(owed == part.inside("flush"))
    h.ensure(joiner.first == ~(part.inside("inside") | part.inside("flush")))
    inside = h.latch("begun", rises=leaves & ~joiner.o.p.last, falls=leaves & joiner.o.p.last)
    h.ensure((part.inside("inside") | part.inside("flush")) == inside)
    h.cover(joiner.o.valid & part.inside("flush"))


def halves_are_joined(h: Harness) -> None:
    """Whatever begins and ends in the beats."""
    straight = Unstraddler()
    part = h.add("straight", straight)
    h.assume_held(straight.i, "beats")
    h.ensure_held(beside(straight.o, straight.side), "packets")
    # Of packets that the block may make: an end has a beginning, and a beginning an end before it.
    beat = straight.i.p
    under_way = h.signal(1, "under_way")
    taken = straight.i.valid & straight.i.ready
    high = beat.begins & beat.begin_half
    h.assume(under_way == ~(beat.begins & (~high | ~beat.ends)))
    h.assume(~(high & beat.ends) | ~beat.last_lane[1])
    with h.m.If(taken):
        h.m.d.sync += under_way.eq(high | ~beat.ends)
    ends = taken & beat.ends
    owed = h.signal(2, "owed")
    h.m.d.sync += owed.eq(owed + ends - (straight.o.valid & straight.o.ready & straight.o.p.last))
    h.ensure(owed == part.inside("flush"))
    h.ensure(~part.inside("held") | under_way)
    h.ensure(~(part.inside("held") & part.inside("flush")))
    h.cover(straight.o.valid & part.inside("flush"))


def beside(stream: Any, more: Value) -> SimpleNamespace:
    """A stream and what comes with its payload."""
    payload = Cat(Value.cast(stream.p), more)
    return SimpleNamespace(valid=stream.valid, ready=stream.ready, p=payload)


PROOFS = (
    Proof(
        property="headers-leave-once",
        statement="of packets of any lengths that begin with their headers, each leaves once, with "
        "one beginning and one end, and holds until it is taken; headers of 3 and 4 dwords, 128 "
        "bits",
        source="PCI Express Base 4.0 section 2.2.1; PG054, receive interface",
        module="hdl.shims.inline",
        harness=headers_leave_once,
        mutant=Mutant(
            module="hdl.shims.inline",
            before="takes.eq(~flush & self.i.valid & (self.o.ready | ~emits))",
            after="takes.eq(self.i.valid & (self.o.ready | ~emits))",
        ),
    ),
    Proof(
        property="headers-come-first",
        statement="of packets that have their headers beside them, each leaves once, with one "
        "beginning and one end, and holds until it is taken; headers of 3 and 4 dwords, 128 bits",
        source="PCI Express Base 4.0 section 2.2.1; PG054, transmit interface",
        module="hdl.shims.inline",
        harness=headers_come_first,
        mutant=Mutant(
            module="hdl.shims.inline",
            before="m.d.sync += [flush.eq(0), inside.eq(0), place.eq(0)]",
            after="m.d.sync += [flush.eq(0), place.eq(0)]",
        ),
    ),
    Proof(
        property="halves-are-joined",
        statement="of packets that begin in either half of a beat, each has one end and holds "
        "until it is taken, what came beside its beginning with it; 128 bits",
        source="PG054, receive interface, 128 bits",
        module="hdl.shims.straddle",
        harness=halves_are_joined,
        mutant=Mutant(
            module="hdl.shims.straddle",
            before="self.i.ready.eq(~flush & (self.o.ready | ~emits))",
            after="self.i.ready.eq(self.o.ready | ~emits)",
        ),
    ),
)
