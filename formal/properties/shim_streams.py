# SPDX-License-Identifier: BSD-2-Clause
"""Packets that pass a shim: headers in front and beside, packets that straddle beats."""

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
    """Whole packets of any length; `is_long` is valid with their first beats."""
    splitter = HeaderSplitter(128, (3, 4))
    part = h.add("splitter", splitter)
    h.assume_held(beside(splitter.i, Cat(splitter.is_long, splitter.broken)), "beats")
    h.assume(splitter.i.valid | ~splitter.broken)
    h.ensure_held(splitter.o, "packets")
    # As many packets end at the output as at the input, at most one of them later.
    ends = splitter.i.valid & splitter.i.ready & splitter.i.p.last
    leaves = splitter.o.valid & splitter.o.ready
    pending = h.signal(2, "pending")
    h.m.d.sync += pending.eq(pending + ends - (leaves & splitter.o.p.last))
    h.ensure(pending == part.inside("flush"))
    h.ensure(splitter.o.p.first == ~part.inside("begun"))
    inside = h.latch("inside", rises=leaves & ~splitter.o.p.last, falls=leaves & splitter.o.p.last)
    h.ensure(part.inside("begun") == inside)
    h.ensure(~part.inside("flush") | part.inside("begun"))
    h.cover(splitter.o.valid & part.inside("flush"))


def headers_come_first(h: Harness) -> None:
    joiner = HeaderJoiner(128, (3, 4))
    part = h.add("joiner", joiner)
    h.assume_held(beside(joiner.i, joiner.is_long), "packets")
    # A packet without payload is one beat.
    h.assume((joiner.i.p.strb != 0) | (joiner.i.p.first & joiner.i.p.last))
    h.ensure_held(beside(joiner.o, joiner.first), "beats")
    ends = joiner.i.valid & joiner.i.ready & joiner.i.p.last
    leaves = joiner.o.valid & joiner.o.ready
    pending = h.signal(2, "pending")
    h.m.d.sync += pending.eq(pending + ends - (leaves & joiner.o.p.last))
    h.ensure(pending == part.inside("flush"))
    h.ensure(joiner.first == ~(part.inside("inside") | part.inside("flush")))
    inside = h.latch("begun", rises=leaves & ~joiner.o.p.last, falls=leaves & joiner.o.p.last)
    h.ensure((part.inside("inside") | part.inside("flush")) == inside)
    h.cover(joiner.o.valid & part.inside("flush"))


def straddled_packets_are_aligned(h: Harness) -> None:
    """Any valid sequence of beginnings and ends."""
    unstraddler = Unstraddler()
    part = h.add("unstraddler", unstraddler)
    h.assume_held(unstraddler.i, "beats")
    h.ensure_held(beside(unstraddler.o, unstraddler.side), "packets")
    # Beginnings and ends alternate.
    beat = unstraddler.i.p
    in_packet = h.signal(1, "in_packet")
    taken = unstraddler.i.valid & unstraddler.i.ready
    high = beat.begins & beat.begin_half
    h.assume(in_packet == ~(beat.begins & (~high | ~beat.ends)))
    h.assume(~(high & beat.ends) | ~beat.last_lane[1])
    with h.m.If(taken):
        h.m.d.sync += in_packet.eq(high | ~beat.ends)
    ends = taken & beat.ends
    pending = h.signal(2, "pending")
    h.m.d.sync += pending.eq(
        pending + ends - (unstraddler.o.valid & unstraddler.o.ready & unstraddler.o.p.last)
    )
    h.ensure(pending == part.inside("flush"))
    h.ensure(~part.inside("held") | in_packet)
    h.ensure(~(part.inside("held") & part.inside("flush")))
    h.cover(unstraddler.o.valid & part.inside("flush"))


def beside(stream: Any, more: Value) -> SimpleNamespace:
    """A stream with ``more`` added to its payload."""
    payload = Cat(Value.cast(stream.p), more)
    return SimpleNamespace(valid=stream.valid, ready=stream.ready, p=payload)


PROOFS = (
    Proof(
        property="headers-leave-once",
        statement="for packets of any length with their headers in front: each leaves once, with "
        "one beginning and one end, and holds until accepted; headers of 3 and 4 dwords, 128 bits",
        source="PCI Express Base 4.0 section 2.2.1; PG054, receive interface",
        module="hdl.shims.inline",
        harness=headers_leave_once,
        mutant=Mutant(
            module="hdl.shims.inline",
            before="accept.eq(~s.flush & self.i.valid & (self.o.ready | ~emit))",
            after="accept.eq(self.i.valid & (self.o.ready | ~emit))",
        ),
    ),
    Proof(
        property="headers-come-first",
        statement="for packets with their headers beside the data: each leaves once, with one "
        "beginning and one end, and holds until accepted; headers of 3 and 4 dwords, 128 bits",
        source="PCI Express Base 4.0 section 2.2.1; PG054, transmit interface",
        module="hdl.shims.inline",
        harness=headers_come_first,
        mutant=Mutant(
            module="hdl.shims.inline",
            before="m.d.sync += [s.flush.eq(0), inside.eq(0), s.beat_number.eq(0)]",
            after="m.d.sync += [s.flush.eq(0), s.beat_number.eq(0)]",
        ),
    ),
    Proof(
        property="straddled-packets-are-aligned",
        statement="for packets that begin in either half of a beat: each has one end, and holds "
        "until accepted together with its sideband; 128 bits",
        source="PG054, receive interface, 128 bits",
        module="hdl.shims.straddle",
        harness=straddled_packets_are_aligned,
        mutant=Mutant(
            module="hdl.shims.straddle",
            before="self.i.ready.eq(~flush & (self.o.ready | ~emit))",
            after="self.i.ready.eq(self.o.ready | ~emit)",
        ),
    ),
)
