# SPDX-License-Identifier: BSD-2-Clause
"""Settings that the host lowers: new items use the new value, former items are waited for.

The proofs combine as follows: an item that enters after a setting fell is planned under the new
value; an item that entered before counts as former until it has left; the completion of the
configuration write waits until there are no former items.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib import data

from hdl.completer import Completer, CompletionPlan, WordFetch
from hdl.completer.fetcher import RestPlan
from hdl.completer.packetizer import BeatFields
from hdl.config_space import ConfigSpace
from hdl.departures import DepartureTracker
from hdl.dma.limits import REQUEST_BYTES
from hdl.dma.read_issue import ReadIssuer
from hdl.dma.read_split import ReadPiece
from hdl.payload import payload_context
from hdl.tlp import CompletionStatus, RequestHeader, TlpType

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from .write_path import IN_BLOCK, WritePath

__all__ = ["PROOFS"]

MAX_ITEMS = 5


def former_items_are_tracked(h: Harness) -> None:
    """Track one arbitrary item among others that enter and leave in order."""
    tracker = DepartureTracker(MAX_ITEMS)
    part = h.add("tracker", tracker)
    planned, departed, fell = tracker.planned, tracker.departed, tracker.fell
    count = h.signal(range(MAX_ITEMS + 1), "items")
    h.m.d.sync += count.eq(count + planned - departed)
    h.assume(~departed | (count != 0))
    h.assume(~planned | departed | (count < MAX_ITEMS))

    chosen = planned & h.free(1, "chosen")
    inside = h.signal(1, "item_inside")
    ahead = h.signal(range(MAX_ITEMS + 1), "ahead")
    former = h.signal(1, "item_former")
    enters = chosen & ~inside
    leaves = inside & departed & (ahead == 0)
    h.m.d.sync += [
        inside.eq(enters | (inside & ~leaves)),
        ahead.eq(Mux(enters, count - departed, ahead - departed)),
        former.eq(fell | (former & ~enters)),
    ]
    h.ensure(~(inside & former) | tracker.former)
    # No longer than necessary: low once the item at the front is not former.
    h.ensure(~(inside & ~former & (ahead == 0)) | ~tracker.former)
    h.cover(inside & former & (ahead == 2))
    h.cover(inside & ~former & tracker.former)

    # Invariants.
    former_items = part.inside("former_items")
    h.ensure(part.inside("inside") == count)
    h.ensure((count <= MAX_ITEMS) & (former_items <= count))
    h.ensure(~inside | (ahead < count))
    h.ensure(~inside | (former == (former_items > ahead)))


def reads_are_split_again(h: Harness) -> None:
    issuer = ReadIssuer(geometry(128, 1))
    part = h.add("issuer", issuer, driven=("max_read_request_size",))
    code = h.free(3, "code")
    h.m.d.comb += issuer.max_read_request_size.eq(code)
    code_q = h.register(code, "code_q")
    block = Mux(code_q == 0, 128, Mux(code_q == 1, 256, REQUEST_BYTES))
    header = RequestHeader(issuer.o.p.hdr)
    word0 = header.word0
    length = Cat(word0.length, word0.length == 0)
    start = header.low_address[:IN_BLOCK] & (block - 1)
    h.ensure(~issuer.o.valid | issuer.former | (start + (length << 2) <= block))
    # A former read is valid: it waits only for `ready`.
    h.ensure(~issuer.former | issuer.o.valid)
    h.ensure(h.count("former_transfers", 2, while_=issuer.former & issuer.o.ready) < 2)

    # The pieces of a burst are adjacent, even if some are split again.
    piece = data.View(ReadPiece, part.inside("splitter", "piece"))
    fell, piece_valid = part.inside("splitter", "fell"), part.inside("splitter", "piece_valid")
    accepted = issuer.allocate & ~piece.abort
    in_page = piece.address[:12]
    last_in_page = (in_page & ~Const(511, 12)) | piece.last_offset
    next_in_page = h.latched(last_in_page + 1, accepted, "next_in_page")[:12]
    continues = h.signal(1, "continues")
    h.m.d.sync += continues.eq(Mux(issuer.allocate, ~piece.last & ~piece.abort, continues))
    h.ensure(~(accepted & continues) | (in_page == next_in_page))
    last_addr = part.inside("splitter", "last_addr")
    h.ensure(~(accepted & piece.last) | (last_in_page == last_addr))
    split_again = fell & piece_valid & ~piece.abort
    h.cover(accepted & continues & h.latch("was_split_again", rises=split_again, falls=0))

    # Invariants.
    started = h.register(1, "started")
    mask, burst_valid, served, burst_start, burst_aborted, request_valid = (
        part.inside("splitter", name)
        for name in ("mask", "burst_valid", "served", "start", "burst_aborted", "request_valid")
    )
    mask_q = h.register(mask, "mask_q")
    h.ensure(~started | (mask == block - 1))
    h.ensure(fell == (mask_q & ~mask).any())
    h.ensure(started | ~(burst_valid | piece_valid | request_valid | issuer.o.valid))
    h.ensure(~(burst_valid & served) | (burst_start <= last_addr))
    will_be_sent = piece_valid & ~piece.abort
    offset = piece.address[:IN_BLOCK]
    fits = ((piece.last_offset ^ offset) & ~mask) == 0
    h.ensure(~will_be_sent | fell | fits)
    h.ensure(~will_be_sent | ((piece.last_offset >= offset) & served & (in_page <= last_addr)))
    h.ensure(~will_be_sent | (last_in_page <= last_addr))
    h.ensure(~will_be_sent | (piece.last == (last_in_page == last_addr)) | burst_aborted)
    h.ensure(~(will_be_sent & piece.last) | ((last_in_page == last_addr) & ~burst_valid))
    h.ensure(
        ~(will_be_sent & ~piece.last) | (burst_valid & (burst_start == (last_in_page + 1)[:12]))
    )
    h.ensure(~continues | burst_valid | piece_valid)
    h.ensure(~piece_valid | (burst_valid == ~piece.last))
    h.ensure(~(will_be_sent & continues) | (in_page == next_in_page))
    h.ensure(~(burst_valid & ~piece_valid & served & continues) | (burst_start == next_in_page))


def lowered_payload_size_closes_writes(h: Harness) -> None:
    """The words of a burst are consecutive, with any strobes."""
    g = geometry(64, 1)
    code = h.free(3, "code")
    path = WritePath.of(h, g, code)
    finder, segmenter = path.finder, path.segmenter
    code_q = h.register(code, "code_q")
    block = Mux(code_q == 0, 128, Mux(code_q == 1, 256, REQUEST_BYTES))
    fell = finder.fell

    in_segment = path.segmenter_part.inside("in_segment")
    may_continue = path.finder_part.inside("may_continue")
    begins = finder.o.valid & finder.o.ready & ~in_segment
    former = h.signal(1, "former")
    h.m.d.sync += former.eq(fell | (former & ~begins))
    segment = segmenter.segments.p
    nonempty = segmenter.segments.valid & ~segment.empty
    dwords = block >> 2
    start = segment.address[2:IN_BLOCK] & (dwords - 1)
    h.ensure(~nonempty | former | fell | (start + segment.length_m1 < dwords))
    # A former segment waits for no data: the piece that closes it is valid.
    h.ensure(~(in_segment & former & ~fell) | (finder.o.valid & finder.o.p.closes))
    h.ensure(segmenter.begins == h.register(begins, "begins_q"))
    h.cover(nonempty & former & (segment.length_m1 == 5) & (block == 128))
    h.cover(
        nonempty
        & ~former
        & (segment.length_m1 == 31)
        & (block == 128)
        & h.latched(1, fell, "has_fallen")
    )

    mask = path.finder_part.inside("mask")
    mask_q = h.register(mask, "mask_q")
    h.ensure(fell == (mask_q & ~mask).any())
    path.ensure_consecutive_pieces(h, g, block, fell=fell, former=former)
    h.ensure(~in_segment | ~former | fell | ~may_continue)


def completions_are_planned(h: Harness) -> None:
    """Track one arbitrary request; check its completions as they begin."""
    g = geometry(128, 2)
    completer = Completer(g)
    part = h.add("completer", completer, driven=("control_max_payload_size",))
    code = h.free(3, "code")
    h.m.d.comb += completer.control.max_payload_size.eq(code)
    code_q = h.register(code, "code_q")
    limited = Mux(code_q > 5, 5, code_q)
    started = h.register(1, "started")
    mask, fell = part.inside("payload_mask"), part.inside("setting_fell")
    h.ensure(~started | (mask == (Const(32, 11) << limited)[:11] - 1))

    accepted = completer.i.valid & completer.i.ready
    # It leaves the queue with its last word read, and is tracked for one more cycle.
    entered, is_first_q = h.signal(1, "entered"), h.signal(1, "is_first_q")
    chooses = accepted & h.free(1, "chosen") & ~entered
    produce, consume, level = (
        part.inside("planner", "places", name) for name in ("next_place", "oldest_place", "level")
    )
    at = h.latched(produce, chooses, "at")
    queued = entered & ~(is_first_q & (consume != at))
    is_first = queued & (consume == at)
    fetch, busy = completer.words.enable, part.inside("fetcher", "busy")
    h.m.d.sync += [entered.eq(chooses | queued), is_first_q.eq(is_first)]
    # The mask has its new value in the cycle of `fell`: a request that enters then is not former.
    former = h.signal(1, "former")
    h.m.d.sync += former.eq((fell | former) & ~chooses)
    h.ensure(~(queued & (former | fell)) | completer.former)

    fetched = data.View(WordFetch(g), part.inside("fetcher", "fetched"))
    begins_q = h.register(is_first & fetch & ~busy, "begins_q")
    good = Value.cast(fetched.header.status) == CompletionStatus.SUCCESS
    excess = (fetched.header.length - 1)[:10] & ~mask
    h.ensure(~(begins_q & good) | former | fell | (excess == 0))
    h.cover(begins_q & good & ~former & (fetched.header.length == 32) & (code_q == 0))
    h.cover(begins_q & former & (excess != 0))

    # Invariants: the queue keeps the plans.
    plan = data.View(CompletionPlan(g), part.row(h, at, "planner", "plans"))
    depth = 1 << len(consume)
    behind = (at - consume)[: len(at)]
    h.ensure(~queued | (behind < level))
    h.ensure((level <= depth) & ((produce - consume - level)[: len(produce)] == 0))
    h.ensure(~completer.i.ready | (level < depth))
    exempt = former | fell
    h.ensure(~queued | exempt | ((plan.extent & ~mask) == 0))
    rest = data.View(RestPlan(), part.inside("fetcher", "rest"))
    continued, prepared = (part.inside("fetcher", name) for name in ("continued", "prepared"))
    h.ensure(~(is_first & continued & prepared) | exempt | ((rest.extent & ~mask) == 0))
    plan_valid = part.inside("planner", "places", "has_item")
    h.ensure(~(plan_valid | busy | continued) | (level != 0))
    h.ensure(~busy | (part.inside("fetcher", "last_completion") == ~continued))

    # The tracker counts the requests in the queue and the last beats behind it.
    planned, departed = part.inside("planned"), part.inside("departed")
    h.ensure(planned == h.register(accepted, "accepted_q"))
    arrived = data.View(WordFetch(g), part.inside("packetizer", "arrived"))
    waiting, oldest, following = (
        part.inside("packetizer", "beats", "places", name)
        for name in ("level", "oldest_place", "next_place")
    )
    stages = (fetched, arrived)
    for stage in stages:
        h.ensure(~(stage.valid & stage.closes & stage.first) | stage.direct)
        h.ensure(~(stage.valid & stage.closes) | stage.last)
    beats = []
    for place in range(1 << len(oldest)):
        row = part.row(h, Const(place, len(oldest)), "packetizer", "beats", "context")
        is_stored = (place - oldest)[: len(oldest)] < waiting
        beats.append(is_stored & data.View(payload_context(g, BeatFields), row).fields.closes)
    behind_queue = sum([*beats, *(stage.valid & stage.closes for stage in stages)], start=Const(0))
    h.ensure((following - oldest - waiting)[: len(oldest)] == 0)
    h.ensure(part.inside("packetizer", "beats", "places", "has_item") == (waiting != 0))
    h.ensure(waiting + arrived.valid + fetched.valid <= 15 - part.inside("packetizer", "has_space"))
    inside, former_items = part.inside("tracker", "inside"), part.inside("tracker", "former_items")
    counted = inside + planned - departed
    h.ensure(counted == level + behind_queue)
    h.ensure(~(queued & former & ~fell) | (former_items - departed > behind_queue + behind))
    for place in range(depth):
        other = data.View(CompletionPlan(g), part.row(h, Const(place, len(at)), "planner", "plans"))
        is_queued = (place - consume)[: len(at)] < level
        h.ensure(~is_queued | (other.sole == (other.single & other.whole)))
    h.ensure(~rest.single | rest.whole)


def completion_waits_until_settled(h: Harness) -> None:
    """Settings change within two cycles of the write."""
    config = ConfigSpace(geometry(128, 2))
    part = h.add("config", config)
    h.assume(~config.i.valid | config.i.p.sop)
    incoming = RequestHeader(config.i.p.hdr)
    h.assume(incoming.word0.type == TlpType.CONFIG_0)
    written = part.inside("execute")
    age = h.count("age", 3, while_=~written)
    valid_q = h.register(config.o.valid, "valid_q")
    rises = config.o.valid & ~valid_q
    settled_q = h.register(config.settled, "settled_q")
    # Sampled four cycles after the write, when `settled_q` reflects it.
    h.ensure(~rises | (settled_q & (age >= 4)))
    reset_q = h.register(config.control.reset, "reset_q")
    for name in (
        "max_payload_size",
        "max_read_request_size",
        "bus_master_enable",
        "memory_space_enable",
        "msix_enable",
        "msix_mask",
    ):
        value = getattr(config.control, name)
        value_q = h.register(value, f"{name}_q", shape=value.shape())
        started = h.register(1, f"{name}_started")
        h.ensure(~started | (value == value_q) | (age <= 1) | reset_q)
    h.cover(rises & (age == 7))
    h.cover(rises & (age == 4))


SOURCE = "PCI Express Base 4.0 sections 2.2.2, 7.5.1.1.3, 7.5.3.4"

PROOFS = (
    Proof(
        property="former-items-are-tracked",
        statement="for up to five items that enter and leave in order, and settings that fall at "
        "any time: a former item is reported until it leaves, and no longer",
        source=SOURCE,
        module="hdl.departures",
        harness=former_items_are_tracked,
        mutant=Mutant(
            module="hdl.departures",
            before="Mux(self.fell, inside_next, ",
            after="Mux(self.fell, inside - self.departed, ",
        ),
    ),
    Proof(
        property="reads-are-split-again",
        statement="for any bursts, with a Max_Read_Request_Size that changes at any time: a read "
        "is reported as former and waits only for ready, or stays within an aligned block of the "
        "size of the previous cycle; the pieces of a burst are adjacent up to its end; 128 bits",
        source=SOURCE,
        module="hdl.dma.read_issue",
        harness=reads_are_split_again,
        mutant=Mutant(
            module="hdl.dma.read_split",
            before="with m.If(fell & piece_valid & ~piece.abort):",
            after="with m.If(0):",
        ),
    ),
    Proof(
        property="lowered-payload-size-closes-writes",
        statement="for any words of bursts with any strobes, and a Max_Payload_Size that changes "
        "at any time: a write stays within an aligned block of the size of the previous cycle, or "
        "began before the size fell; a write that did ends at once, without further data; 64 bits",
        source=SOURCE,
        module="hdl.dma.write_pieces",
        harness=lowered_payload_size_closes_writes,
        depth=3,
        mutant=Mutant(
            module="hdl.dma.write_pieces",
            before="with m.If(self.fell):",
            after="with m.If(0):",
        ),
        cover_depth=24,
    ),
    Proof(
        property="completions-are-planned",
        statement="for any requests, with a Max_Payload_Size and a Memory Space Enable that "
        "change at any time: a completion is no longer than the size of the previous cycle, or "
        "its request is reported as former; the tracker counts the requests that are queued or "
        "whose last beat has not left; 128 bits",
        source=SOURCE,
        module="hdl.completer",
        harness=completions_are_planned,
        mutant=Mutant(
            module="hdl.completer",
            before="(payload_mask & ~coded_mask(code)).any()",
            after="(payload_mask & ~coded_mask(code)).all()",
        ),
    ),
    Proof(
        property="completion-waits-until-settled",
        statement="for any configuration requests: settings change within two cycles of a write, "
        "and its completion becomes valid when no former item is reported four or more cycles "
        "after the write",
        source=SOURCE,
        module="hdl.config_space",
        harness=completion_waits_until_settled,
        depth=4,
        mutant=Mutant(
            module="hdl.config_space",
            before="~settling.any() & self.settled",
            after="~settling.any()",
        ),
    ),
)
