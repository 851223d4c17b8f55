# SPDX-License-Identifier: BSD-2-Clause
"""Tags of reads of host memory: one request each, until it is answered or given up."""

from __future__ import annotations

from hdl.dma.limits import TAGS
from hdl.dma.read import ReadRequester
from hdl.tlp import RequestHeader

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]


def tags_are_used_once(h: Harness) -> None:
    """Of one tag, whichever the solver likes; any bursts and any completions, but no reset."""
    g = geometry(128, 1)
    requester = ReadRequester(g, completion_timeout=64)
    part = h.add("requester", requester, driven=("reset",))
    tag = h.constant(range(TAGS), "tag")
    bits = len(tag)
    header = RequestHeader(requester.o.p.hdr)
    offers = requester.o.valid & (header.tag == tag)
    leaves = offers & requester.o.ready
    answered = part.inside("receiver", "ended") & (part.inside("receiver", "tag") == tag)
    oldest, newest, known = (part.inside(name) for name in ("oldest", "newest", "known"))
    take = part.inside("returner", "take")
    old_tag = oldest[:bits]
    given_up = requester.timed_out & (old_tag == tag)
    pending = h.latch("pending", rises=leaves, falls=answered | given_up)
    h.ensure(~(offers & pending))
    h.cover(h.latch("was_answered", rises=answered & pending, falls=0))
    h.cover(offers & (tag == 3))

    # For the induction. Tags in use are those from the oldest to the newest, and behind the oldest
    # those whose data is being returned.
    window = (newest - oldest)[: bits + 1]
    follows, active = part.inside("returner", "follows"), part.inside("returner", "active")
    retire = part.inside("returner", "retire")
    used = part.inside("used")
    h.ensure(used == window + follows + active + retire)
    h.ensure(used <= TAGS)
    h.ensure((newest - known)[: bits + 1] == part.inside("allocated"))
    seen = (known - oldest)[: bits + 1]
    h.ensure(seen <= window)
    issuer = [part.inside("issuer", name) for name in ("tag", "sent", "sent_tag")]
    unanswered, done = part.inside("unanswered"), part.inside("done")
    for each in range(TAGS):
        place = (each - old_tag)[:bits]
        inside = place < window
        awaits = unanswered[each]
        on_offer = requester.o.valid & (issuer[0] == each)
        sent = issuer[1] & (issuer[2] == each)
        taken = part.inside("taken") & (part.inside("taken_tag") == each)
        ended = part.inside("receiver", "ended") & (part.inside("receiver", "tag") == each)
        h.ensure(~awaits | inside | taken)
        h.ensure(~(on_offer | sent) | (inside & ~awaits))
        h.ensure(~(on_offer & sent))
        h.ensure(~((place < seen) & done[each]) | ~(awaits | sent | on_offer))
        h.ensure(~ended | (awaits & ~done[each]) | ~inside)
        h.ensure((tag != each) | (pending == ((awaits | sent) & ~taken)))
    lately = part.inside("lately")
    h.ensure(~part.inside("issuer", "recalled"))
    h.ensure(part.inside("issuer", "tag") == header.tag)
    h.ensure(part.inside("taken") == h.register(take, "took"))
    h.ensure(~part.inside("taken") | follows)
    h.ensure(~part.inside("taken") | (part.inside("taken_tag") == (oldest - 1)[:bits]))
    of_oldest = unanswered.bit_select(old_tag, 1)
    is_done = done.bit_select(old_tag, 1)
    may_return = part.inside("may_return") & ~part.inside("taken")
    h.ensure(~may_return | ((seen != 0) & is_done))
    h.ensure(~(part.inside("waiting") & ~lately[0]) | of_oldest)
    h.ensure(~(part.inside("too_long") & ~lately.any()) | of_oldest)


PROOFS = (
    Proof(
        property="tags-are-used-once",
        statement="of any bursts and any completions, without a reset: no read is offered under a "
        "tag whose read before has left and has been neither answered nor given up; 32 tags, "
        "128 bits",
        source="PCI Express Base 4.0 section 2.2.6.2",
        module="hdl.dma.read",
        harness=tags_are_used_once,
        depth=4,
        mutant=Mutant(
            module="hdl.dma.read",
            before="newest.eq(newest + 1)",
            after="newest.eq(newest + issuer.failed)",
        ),
    ),
)
