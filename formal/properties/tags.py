# SPDX-License-Identifier: BSD-2-Clause
"""Tags of reads of host memory: one outstanding request each."""

from __future__ import annotations

from hdl.dma.limits import TAGS
from hdl.dma.read import ReadRequester
from hdl.tlp import RequestHeader

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]


def tags_are_used_once(h: Harness) -> None:
    """Track one arbitrary tag; any bursts and any completions, but no reset."""
    g = geometry(128, 1)
    requester = ReadRequester(g, completion_timeout=64)
    part = h.add("requester", requester, driven=("control_reset",))
    tag = h.constant(range(TAGS), "tag")
    bits = len(tag)
    header = RequestHeader(requester.o.p.hdr)
    valid = requester.o.valid & (header.tag == tag)
    departs = valid & requester.o.ready
    ended, ended_tag = (
        part.inside("receiver", "matcher", name) for name in ("outcome__ended", "outcome__tag")
    )
    answered = ended & (ended_tag == tag)
    oldest, newest, newest_q, used, outstanding, tag_done, allocate_q, take_q, take_tag_q, done = (
        part.inside("tags", name)
        for name in (
            "oldest",
            "newest",
            "newest_q",
            "used",
            "outstanding",
            "tag_done",
            "allocate_q",
            "take_q",
            "take_tag_q",
            "done",
        )
    )
    take = part.inside("returner", "take")
    old_tag = oldest[:bits]
    timed_out = requester.errors.completion_timeout & (old_tag == tag)
    pending = h.latch("pending", rises=departs, falls=answered | timed_out)
    h.ensure(~(valid & pending))
    h.cover(h.latch("was_answered", rises=answered & pending, falls=0))
    h.cover(valid & (tag == 3))

    # Invariants. The tags in use are those from the oldest to the newest, and before the oldest
    # those whose data is being returned.
    window = (newest - oldest)[: bits + 1]
    next_valid, context_valid, retire = (
        part.inside("returner", name) for name in ("next_valid", "context_valid", "retire")
    )
    h.ensure(used == window + next_valid + context_valid + retire)
    h.ensure(used <= TAGS)
    h.ensure((newest - newest_q)[: bits + 1] == allocate_q)
    visible = (newest_q - oldest)[: bits + 1]
    h.ensure(visible <= window)
    issued_tag, sent, sent_tag, issued_aborted = (
        part.inside("issuer", name) for name in ("issued_tag", "sent", "sent_tag", "issued_aborted")
    )
    for each in range(TAGS):
        place = (each - old_tag)[:bits]
        inside = place < window
        awaits = outstanding[each]
        is_valid = requester.o.valid & (issued_tag == each)
        is_sent = sent & (sent_tag == each)
        was_taken = take_q & (take_tag_q == each)
        ends = ended & (ended_tag == each)
        h.ensure(~awaits | inside | was_taken)
        h.ensure(~(is_valid | is_sent) | (inside & ~awaits))
        h.ensure(~(is_valid & is_sent))
        h.ensure(~((place < visible) & tag_done[each]) | ~(awaits | is_sent | is_valid))
        h.ensure(~ends | (awaits & ~tag_done[each]) | ~inside)
        h.ensure((tag != each) | (pending == ((awaits | is_sent) & ~was_taken)))
    h.ensure(~issued_aborted)
    h.ensure(issued_tag == header.tag)
    h.ensure(take_q == h.register(take, "previous_take"))
    h.ensure(~take_q | next_valid)
    h.ensure(~take_q | (take_tag_q == (oldest - 1)[:bits]))
    oldest_outstanding = outstanding.bit_select(old_tag, 1)
    h.ensure(~(done & ~take_q) | ((visible != 0) & tag_done.bit_select(old_tag, 1)))
    outstanding_q, overdue, changes_q = (
        part.inside("timer", name) for name in ("outstanding_q", "overdue", "changes_q")
    )
    h.ensure(~(outstanding_q & ~changes_q[0]) | oldest_outstanding)
    h.ensure(~(overdue & ~changes_q.any()) | oldest_outstanding)


PROOFS = (
    Proof(
        property="tags-are-used-once",
        statement="for any bursts and any completions, without a reset: no read is issued with a "
        "tag whose previous read has departed and has been neither answered nor timed out; 32 "
        "tags, 128 bits",
        source="PCI Express Base 4.0 section 2.2.6.2",
        module="hdl.dma.read",
        harness=tags_are_used_once,
        depth=4,
        mutant=Mutant(
            module="hdl.dma.read_tags",
            before="newest.eq(newest + 1)",
            after="newest.eq(newest + self.unsent)",
        ),
    ),
)
