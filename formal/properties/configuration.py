# SPDX-License-Identifier: BSD-2-Clause
"""Completions of configuration requests, for the endpoint with a configuration space."""

from __future__ import annotations

from amaranth.hdl import Mux, Value
from amaranth.lib import data

from hdl.config_space import ConfigSpace
from hdl.tlp import CompletionHeader, CompletionStatus, RequestHeader, TlpFormat, TlpType

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]


def configuration_requests_are_completed(h: Harness) -> None:
    """Type 0 reads and writes, poisoned or not, some of them discarded."""
    g = geometry(128, 2)
    config = ConfigSpace(g)
    part = h.add("config", config)
    incoming = RequestHeader(config.i.p.hdr)
    h.assume(~config.i.valid | config.i.p.sop)
    h.assume(incoming.word0.type == TlpType.CONFIG_0)
    accepted = config.i.valid & config.i.ready & ~config.discard
    completed = config.o.valid & config.o.ready

    # At most two requests are outstanding.
    outstanding = h.signal(2, "outstanding")
    oldest, newest = h.signal(128, "oldest"), h.latched(config.i.p.hdr, accepted, "newest")
    h.m.d.sync += outstanding.eq(outstanding + accepted - completed)
    with h.m.If(completed | (outstanding == 0)):
        h.m.d.sync += oldest.eq(Mux(accepted, config.i.p.hdr, newest))
    h.ensure(~config.o.valid | (outstanding != 0))
    h.ensure(outstanding <= 2)
    requested = RequestHeader(oldest)
    word0 = requested.word0
    header = CompletionHeader(config.o.p.hdr)
    is_write = word0.has_payload
    unsupported = is_write & word0.ep
    for condition in completion_conditions(header, requested):
        h.ensure(~config.o.valid | condition)
    h.ensure(~config.o.valid | (config.o.p.strb == ~is_write))
    h.ensure_held(config.o, "completions")
    not_stalled = config.o.ready & config.departed & config.settled
    wait_cycles = h.count("wait_cycles", 4, while_=(outstanding != 0) & not_stalled & ~completed)
    h.ensure(wait_cycles < 8)
    h.cover(completed & (outstanding == 2))
    h.cover(completed & unsupported)

    # Invariants for the induction: which states occur together.
    state, waiting = part.inside("fsm_state"), part.inside("waiting")
    answering, leaving = state == 1, state == 2
    idle = state == 0
    free_q, free = part.inside("free_q"), part.inside("free")
    arrived = free_q & ~free
    arrived_valid = arrived & ~part.inside("discard_q")
    h.ensure(outstanding == waiting + arrived_valid + (answering | leaving))
    h.ensure(~(arrived & (waiting | part.inside("drop"))))
    h.ensure(config.o.valid == leaving)
    h.ensure(~(waiting & free))
    h.ensure(~(waiting & part.inside("drop")))
    settling = part.inside("settling")
    h.ensure(~(settling.any() & (waiting | arrived)))
    h.ensure(~(settling[:2].any() & free))
    h.ensure(~(settling.any() & (idle | leaving)))
    h.ensure((settling & (settling - 1)) == 0)
    answering_cycles = Mux(settling[0], 3, Mux(settling[1], 4, Mux(settling[2], 5, 6)))
    h.ensure(
        wait_cycles <= Mux(answering, answering_cycles, Mux(leaving, 7, Mux(idle, 1 + waiting, 0)))
    )
    request = data.View(config.i.p.shape(), part.inside("request"))
    h.ensure(~(waiting | arrived_valid) | (request.hdr == newest))
    h.ensure((outstanding != 1) | (oldest == newest))
    completion = data.View(CompletionHeader, part.inside("completion"))
    h.ensure(completion.lower_address == 0)
    for condition in completion_conditions(completion, requested):
        h.ensure(~(answering | leaving) | condition)


def completion_conditions(header: data.View, requested: data.View) -> list[Value]:
    """Conditions on the completion header of a configuration request (sections 2.2.9, 2.3.1)."""
    word0 = requested.word0
    is_write = word0.has_payload
    return [
        header.word0.type == TlpType.COMPLETION,
        Value.cast(header.word0.fmt) == Mux(is_write, TlpFormat.HEADER_3DW, TlpFormat.DATA_3DW),
        header.word0.length == ~is_write,
        header.tag == requested.tag,
        header.requester_id == requested.requester_id,
        header.word0.tc == word0.tc,
        header.word0.attr == word0.attr,
        header.word0.ido == word0.ido,
        header.byte_count == 4,
        header.lower_address == 0,
        Value.cast(header.status)
        == Mux(
            is_write & word0.ep,
            CompletionStatus.UNSUPPORTED_REQUEST,
            CompletionStatus.SUCCESS,
        ),
    ]


PROOFS = (
    Proof(
        property="configuration-requests-are-completed",
        statement="for any configuration requests: each request that is not discarded gets one "
        "completion, in order and with the request's fields; the completion holds until accepted, "
        "and leaves within eight cycles in which nothing stalls it",
        source="PCI Express Base 4.0 sections 2.2.9, 2.3.1",
        module="hdl.config_space",
        harness=configuration_requests_are_completed,
        depth=3,
        mutant=Mutant(
            module="hdl.config_space",
            before="waiting.eq(~discard_q)",
            after="waiting.eq(1)",
        ),
    ),
)
