# SPDX-License-Identifier: BSD-2-Clause
"""Requests of the host: a non-posted request is completed once, a posted request never."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal, Value, unsigned
from amaranth.lib import data

from hdl.completer import Completer, CompletionPlan, WordFetch
from hdl.completer.fetcher import RestPlan
from hdl.geometry import Geometry
from hdl.ingress import RequestBeat, RequestIngress
from hdl.requests import BLOCK_BITS, ReadRequest, Target
from hdl.tlp import CompletionStatus, RequestHeader, TlpType

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from .payload import is_direct, last_strobes, num_words

__all__ = ["PROOFS"]

NON_POSTED = (
    "00-0000-",  # MRd, MRdLk
    "0-000010",  # IORd, IOWr
    "0-00010-",  # CfgRd, CfgWr
    "01-0110-",  # FetchAdd, Swap
    "01-01110",  # CAS
)
POSTED = (
    "01-00000",  # MWr
    "0-110---",  # Msg, MsgD
    "0-00101-",  # Cpl, CplD, CplLk, CplDLk
    "100-----",  # prefixes
)
"""Fmt and Type of every TLP (PCI Express Base 4.0 table 2-3); malformed TLPs do not arrive."""


def _crossed(first: Value, more: Value) -> Value:
    """Block boundaries that the dwords ``first`` to ``first + more`` cross, a bit for each block
    size; valid if they are fewer than the block has."""
    return Cat((first[:bit] + more[:bit])[bit] for bit in BLOCK_BITS)


def requests_are_decoded(h: Harness) -> None:
    """Beats without ``sop`` may have any content."""
    g = geometry(128, 2)
    ingress = RequestIngress(g)
    part = h.add("ingress", ingress)
    beat = ingress.i.p
    kind = Cat(beat.hdr[120:125], beat.hdr[125:128])
    non_posted = kind.matches(*NON_POSTED)
    h.assume(~beat.sop | non_posted | kind.matches(*POSTED))
    begins = ingress.i.valid & ingress.i.ready & beat.sop & ~ingress.discard
    comes = begins & non_posted
    leaves = ingress.reads.valid & ingress.reads.ready
    owed = h.latch("owed", rises=comes, falls=leaves)
    h.ensure(~ingress.reads.valid | owed)
    h.ensure(~(comes & owed) | leaves)
    flows = ingress.reads.ready & ingress.writes.ready
    h.ensure(h.count("waited", 2, while_=owed & flows & ~ingress.reads.valid) < 3)

    header = RequestHeader(h.latched(beat.hdr, begins, "header"))
    bar = h.latched(beat.bar_id, begins, "bar")
    function = h.latched(beat.func_num, begins, "function")
    word0, request = header.word0, ingress.reads.p
    first = header.low_address[2:12]
    length = Cat(word0.length, word0.length == 0)
    reads = (word0.type == TlpType.MEMORY) & ~word0.has_payload
    targets = {
        g.shell.register_bar: Target.REGISTERS,
        g.shell.fifo_bar: Target.FIFOS,
        g.shell.msix_bar: Target.MSIX,
    }
    hit: Value = Const(0)
    for number, target in targets.items():
        here = bar == number
        hit = hit | here
        bits = (g.bar_sizes[number] // 4 - 1).bit_length()
        served = owed & reads & here & (function == 0) & (first + length <= 1024)
        h.ensure(~served | (request.target == target))
        h.ensure(~served | (request.address == header.low_address[2 : 2 + bits]))
    success = reads & hit & (function == 0) & (first + length <= 1024)
    for right in (
        (request.status == CompletionStatus.SUCCESS) == success,
        success | (request.status == CompletionStatus.UNSUPPORTED_REQUEST),
        request.tag == header.tag,
        request.requester_id == header.requester_id,
        request.tc == word0.tc,
        request.attr == word0.attr,
        request.ido == word0.ido,
        request.locked == (word0.type == TlpType.MEMORY_LOCKED),
        ~success | (request.length_m1 == (length - 1)[:10]),
        ~success | (request.crosses == _crossed(first, (length - 1)[:10])),
        ~success | (request.first_be == header.first_be),
        ~success | (request.last_be == header.last_be),
    ):
        h.ensure(~ingress.reads.valid | right)

    # For the induction: the content of the decoder's register.
    valid = part.inside("decoder", "o__valid")
    arrival = data.View(RequestBeat(g), part.inside("decoder", "o__payload"))
    h.ensure(owed == (valid & arrival.needs_completion))
    served = owed & success
    for right in (
        arrival.tag == header.tag,
        arrival.requester_id == header.requester_id,
        arrival.tc == word0.tc,
        arrival.attr == word0.attr,
        arrival.ido == word0.ido,
        arrival.locked == (word0.type == TlpType.MEMORY_LOCKED),
        arrival.memory == (word0.type == TlpType.MEMORY),
        arrival.other_function == (function != 0),
        (arrival.target != Target.NONE) == hit,
        ~(arrival.memory & ~reads),
        ~reads | (arrival.address[:10] == first),
        ~reads | (arrival.length_m1 == (length - 1)[:10]),
        ~reads | (arrival.crosses == _crossed(first, (length - 1)[:10])),
    ):
        h.ensure(~owed | right)
    for number, target in targets.items():
        h.ensure(~owed | (bar != number) | (arrival.target == target))
    h.ensure(~served | (arrival.address == header.low_address[2:][: len(arrival.address)]))
    h.ensure(~served | (arrival.first_be == header.first_be))
    h.ensure(~served | (arrival.last_be == header.last_be))
    h.cover(leaves & success)
    h.cover(leaves & ~success & comes)


class ExpectedCompletions:
    """The completions of one request, chosen by the solver, as PCI Express requires them.

    Attributes
    ----------
    request
        The request.
    good
        The request is a read that succeeds.
    left, place
        Dwords beyond the completions that have started, and the dword address of the first one.
    length
        Dwords of the next completion: up to a multiple of the largest payload.
    words
        Words of memory that it lies in.
    """

    def __init__(self, h: Harness, g: Geometry, request: data.View, most: Value):
        self.request = request
        self.good = request.status == CompletionStatus.SUCCESS
        self.left = h.signal(11, "left")
        self.place = h.signal(g.dword_address_bits, "place")
        to_boundary = most - (self.place & (most - 1))
        self.length = Mux(self.left < to_boundary, self.left, to_boundary)[:11]
        self.offset = self.place[: g.lane_bits]
        self.words = Mux(self.good, num_words(self.offset, self.length, g.lanes), 1)
        self.whole = ~self.good | (self.length == self.left)
        self.first = self.left == request.length_m1 + 1
        end_be = Mux(request.length_m1 == 0, request.first_be, request.last_be)
        self.skipped = Mux(self.first, _first_bit(request.first_be), 0)
        self.after = Mux(end_be.any(), 3 - _last_bit(end_be), 3)

    def header(self, completer_id: Value) -> dict[str, Value]:
        """Fields of the next completion (sections 2.2.9 and 2.3.1.1)."""
        lower = Cat(self.skipped[:2], self.place[:5])
        return {
            "lower_address": Mux(self.first, lower, Cat(Const(0, 2), self.place[:5])),
            "byte_count": ((self.left << 2) - self.skipped - self.after)[:12],
            "length": Mux(self.good, self.length[:10], 0),
            "completer_id": completer_id,
            **{
                name: Value.cast(getattr(self.request, name))
                for name in ("tag", "requester_id", "status", "tc", "attr", "ido", "locked")
            },
        }


def completions_are_complete(h: Harness) -> None:
    """Follow one request from the queue to the last word that is read for it. Each completion is
    checked as it starts."""
    g = geometry(128, 2)
    completer = Completer(g)
    driven = ("control_max_payload_size", "control_completer_id")
    part = h.add("completer", completer, driven=driven)
    code, completer_id = h.constant(3, "code"), h.constant(16, "completer_id")
    h.assume(code <= 5)
    most = Signal(11)
    h.m.d.comb += [
        completer.control.max_payload_size.eq(code),
        completer.control.completer_id.eq(completer_id),
        most.eq(Const(32) << code),
    ]
    asked = completer.i.p
    failed = asked.status != CompletionStatus.SUCCESS
    h.assume(failed | (asked.address[:10] + asked.length_m1 < 1024))
    h.assume(failed | (asked.crosses == _crossed(asked.address[:10], asked.length_m1)))
    begun = h.register(1, "begun")
    h.ensure(~begun | (part.inside("payload_mask") == most - 1))

    taken = completer.i.valid & completer.i.ready
    chooses = Signal()
    seen = h.latch("seen", rises=chooses, falls=0)
    h.m.d.comb += chooses.eq(taken & h.free(1, "chosen") & ~seen)
    request = data.View(ReadRequest(g), h.latched(completer.i.p, chooses, "request"))
    produce, consume, level = (
        part.inside("planner", "places", name) for name in ("next_place", "oldest_place", "level")
    )
    at = h.latched(produce, chooses, "at")
    queued = h.signal(1, "queued")
    mine = queued & (consume == at)
    answer = ExpectedCompletions(h, g, request, most)

    # A step reads a word. The first step of a completion follows from the number of those before.
    step, address = completer.words.enable, completer.words.address
    steps_left = h.signal(10, "steps_left")
    word = h.signal(g.word_address_bits, "word")
    starts = mine & step & (steps_left == 0)
    last = mine & step & (Mux(starts, answer.words, steps_left) == 1)
    done = last & Mux(starts, answer.whole, answer.left == 0)
    h.ensure(~(mine & step) | (completer.words.target == request.target))
    first_word = answer.place[g.lane_bits :]
    h.ensure(~(mine & step & answer.good) | (address == Mux(starts, first_word, word)))
    with h.m.If(mine & step):
        h.m.d.sync += [
            steps_left.eq(Mux(starts, answer.words, steps_left) - 1),
            word.eq(address + 1),
        ]
    with h.m.If(starts):
        h.m.d.sync += [
            answer.left.eq(Mux(answer.good, answer.left - answer.length, 0)),
            answer.place.eq(answer.place + answer.length),
        ]
    with h.m.If(chooses):
        h.m.d.sync += [
            queued.eq(1),
            steps_left.eq(0),
            answer.left.eq(completer.i.p.length_m1 + 1),
            answer.place.eq(completer.i.p.address),
        ]
    with h.m.Elif(done):
        h.m.d.sync += queued.eq(0)
    # The request leaves the queue with the last word of its last completion.
    h.ensure(~h.register(done, "was_done") | (consume == (at + 1)[: len(at)]))

    # The word that a step reads, and the header of the completion.
    stage = data.View(WordFetch(g), part.inside("fetcher", "fetched"))
    stepped = h.register(mine & step, "stepped")
    started = h.register(starts, "started")
    strobes = Mux(answer.good, last_strobes(answer.length, g.lanes), 0)
    direct = ~answer.good | is_direct(answer.offset, answer.length, g.lanes)
    for name, right in (
        ("first", starts),
        ("last", last),
        ("closes", done),
        ("offset", answer.offset),
        ("direct", direct),
        ("strb", strobes),
    ):
        when = stepped if name in ("first", "last", "closes") else started
        if name == "offset":
            when &= h.register(answer.good, "was_good")
        said = Value.cast(getattr(stage, name))
        h.ensure(~when | (said == h.register(right, f"expected_{name}", shape=said.shape())))
    for name, right in answer.header(completer_id).items():
        said = Value.cast(getattr(stage.header, name))
        expected = h.register(right, f"expected_{name}", shape=unsigned(len(said)))
        h.ensure(~started | (said == expected))
    h.ensure(stage.valid == h.register(step, "any_step"))

    # There is space for each word that is in flight.
    arrived = data.View(WordFetch(g), part.inside("packetizer", "arrived"))
    stored = part.inside("packetizer", "beats", "places", "level")
    h.ensure(part.inside("packetizer", "beats", "places", "has_item") == (stored != 0))
    waiting = stored + arrived.valid + stage.valid
    h.ensure(waiting <= 15 - part.inside("packetizer", "has_space"))

    # For the induction: the queued request keeps its plan.
    row = part.row(h, at, "planner", "plans")
    plan = data.View(
        CompletionPlan(g), h.latched(part.inside("planner", "plan"), chooses, "planned")
    )
    depth = 1 << len(consume)
    behind = (at - consume)[: len(at)]
    h.ensure(~queued | ((behind < level) & (row == Value.cast(plan))))
    for place in range(depth):
        other = data.View(CompletionPlan(g), part.row(h, Const(place, len(at)), "planner", "plans"))
        waits = (place - consume)[: len(at)] < level
        h.ensure(~waits | (other.sole == (other.single & other.whole)))
        # The address has a memory and a register of its own.
        address = part.row(h, Const(place, len(at)), "planner", "addresses")
        h.ensure(~waits | (address == other.request.address))
        is_first = waits & (consume == place)
        h.ensure(~is_first | (part.inside("planner", "first") == other.request.address))
    h.ensure(part.inside("planner", "second_place") == (consume + 1)[: len(consume)])
    rest = data.View(RestPlan(), part.inside("fetcher", "rest"))
    h.ensure(~rest.single | rest.whole)
    h.ensure((level <= depth) & ((produce - consume - level)[: len(produce)] == 0))
    h.ensure(~completer.i.ready | (level < depth))
    h.ensure(~queued | seen)
    some = part.inside("planner", "places", "has_item")
    busy, continued = (part.inside("fetcher", name) for name in ("busy", "continued"))
    h.ensure(~(some | busy | continued) | (level != 0))
    h.ensure(~busy | (part.inside("fetcher", "last_completion") == ~continued))
    fresh = queued & ~(mine & (busy | continued))
    for right in (
        answer.left == request.length_m1 + 1,
        answer.place == request.address,
        ~answer.good | (plan.extent == (answer.length - 1)[:10]),
        plan.single == (answer.words == 1),
        plan.single | (plan.pair == (answer.words == 2)),
        plan.whole == answer.whole,
        plan.skipped == answer.skipped,
        plan.tail == 4 - answer.skipped - answer.after,
    ):
        h.ensure(~fresh | right)
    h.ensure(~queued | (Value.cast(plan.request) == Value.cast(request)))
    h.ensure(~queued | (plan.after == answer.after))
    # The rest of the request while a completion is in flight.
    for right in (
        answer.good,
        (answer.place & (most - 1)) == 0,
        (answer.left != 0) & (answer.left <= request.length_m1),
        part.inside("fetcher", "rest_word") == first_word,
        rest.length_m1 == (answer.left - 1)[:10],
        ~part.inside("fetcher", "prepared") | (rest.extent == (answer.length - 1)[:10]),
        ~part.inside("fetcher", "prepared") | (rest.whole == answer.whole),
        ~part.inside("fetcher", "prepared") | (rest.single == (answer.words == 1)),
        ~part.inside("fetcher", "prepared") | rest.single | (rest.pair == (answer.words == 2)),
        busy
        | ~part.inside("fetcher", "prepared")
        | (part.inside("fetcher", "next_word") == first_word),
    ):
        h.ensure(~(mine & continued) | right)
    for right in (
        steps_left != 0,
        ~answer.good | (part.inside("fetcher", "next_word") == word),
        part.inside("fetcher", "beats_left") + part.inside("fetcher", "one_more") == steps_left,
        part.inside("fetcher", "last_step") == (steps_left == 1),
        part.inside("fetcher", "last_completion") == (answer.left == 0),
    ):
        h.ensure(~(mine & busy) | right)
    h.ensure(~(queued & ~(mine & busy)) | (steps_left == 0))
    h.cover(done & answer.good & (request.length_m1 == 40) & (request.address[:5] == 3))
    h.cover(done & ~answer.good)


def _first_bit(bits: Value) -> Value:
    return Mux(bits[0] | ~bits.any(), 0, Mux(bits[1], 1, Mux(bits[2], 2, 3)))


def _last_bit(bits: Value) -> Value:
    return Mux(bits[3], 3, Mux(bits[2], 2, bits[1]))


PROOFS = (
    Proof(
        property="requests-are-decoded",
        statement="each non-posted request leaves the ingress once, with its own fields, as "
        "Unsupported Request unless it is a memory read in a BAR of function 0 within 4 KiB; "
        "nothing else leaves; none waits for more than three cycles without back-pressure; any "
        "requests, two FIFOs, 128 bits",
        source="PCI Express Base 4.0 sections 2.2.9, 2.3.1",
        module="hdl.ingress",
        harness=requests_are_decoded,
        depth=3,
        mutant=Mutant(
            module="hdl.ingress.decoder",
            before="decoded.needs_completion.eq(i.sop & ~is_posted)",
            after="decoded.needs_completion.eq(i.sop & ~is_posted & ~is_atomic)",
        ),
    ),
    Proof(
        property="completions-are-complete",
        statement="each request is completed once, in order, by completions with its own fields "
        "and the right byte counts, lower addresses and boundaries, and all their words are read, "
        "in order; there is space for the beat of each word read; any requests of up to 4 KiB, any "
        "maximum payload size, two FIFOs, 128 bits",
        source="PCI Express Base 4.0 sections 2.2.9, 2.3.1.1",
        module="hdl.completer",
        harness=completions_are_complete,
        depth=3,
        mutant=Mutant(
            module="hdl.completer.fetcher",
            before="Cat(1, current.extent)",
            after="Cat(0, current.extent)",
            depth=40,
        ),
        cover_depth=40,
    ),
)
