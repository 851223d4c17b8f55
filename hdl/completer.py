# SPDX-License-Identifier: BSD-2-Clause
"""Completer: read requests in, completions out, split where PCI Express wants them split.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; the read-completion
boundary of an endpoint is 128 bytes, section 2.3.1.1. Every split here falls on a multiple of the
maximum payload size, hence of both boundaries.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .departures import DepartureTracker
from .geometry import Geometry
from .payload import PayloadAligner
from .requests import BLOCK_BITS, ReadRequest, Target
from .tlp import (
    CompletionHeader,
    CompletionStatus,
    TlpFormat,
    TlpType,
    coded_dwords,
    raw_signature,
)

__all__ = ["Completer", "first_byte"]

REQUEST_DEPTH = 16
"""Requests that wait here while completions are held up, letting posted writes go by, but for one;
as many as a lookup-table RAM has room for."""

BEAT_DEPTH = 16
"""Beats that wait to leave, likewise."""

MOST_REQUESTS = REQUEST_DEPTH + BEAT_DEPTH + 2
"""Requests inside: those that wait, those of which a beat does, and one on either side whose pulse
is a cycle late."""

READ_LATENCY = 2
"""Cycles from ``read_enable`` to ``read_data``."""


def first_byte(first_be: Value) -> Value:
    """Address bits 1:0 of the first enabled byte; 0 where none is (table 2-39)."""
    return Mux(first_be[0] | ~first_be.any(), 0, Mux(first_be[1], 1, Mux(first_be[2], 2, 3)))


def _bytes_after(last_be: Value) -> Value:
    return Mux(last_be[3], 0, Mux(last_be[2], 1, Mux(last_be[1], 2, 3)))


def _has_some_next(queue: fifo.SyncFIFO) -> Value:
    """Whether ``queue`` has something in the next cycle, to be told from a register then."""
    return queue.w_en | (queue.level > 1) | ((queue.level == 1) & ~queue.r_en)


class CompletionPlan(data.StructLayout):
    """A request with all that can be told of its first completion before it is begun.

    ``extent``: that completion's dwords beyond its first; ``single``: they lie in one word;
    ``pair``: if not, they lie in two, or in more that make two beats; ``whole``: it is the only
    completion; ``sole``: that, and ``single``. ``skipped``: bytes of the first dword
    before the first one asked for; ``after``: bytes of the last dword after the last one; ``tail``:
    what is added to four times ``length_m1`` to give the byte count (table 2-38). A dword with no byte
    enabled counts as if byte 0 were: a zero-length read is one byte.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "request": ReadRequest(geometry),
                "extent": 10,
                "single": 1,
                "whole": 1,
                "sole": 1,
                "pair": 1,
                "skipped": 2,
                "after": 2,
                "tail": signed(4),
            }
        )


class CompletionFields(data.Struct):
    """Fields of :class:`~hdl.tlp.CompletionHeader` that differ from one to the next."""

    lower_address: 7
    tag: 8
    requester_id: 16
    byte_count: 12
    status: CompletionStatus
    completer_id: 16
    length: 10
    attr: 2
    ido: 1
    tc: 3
    locked: 1


class WordFetch(data.StructLayout):
    """What is to be done with a word that was asked for: of a completion's ``first``, ``last``;
    ``closes`` its request; ``offset``, ``direct`` and ``strb`` as in
    :func:`~hdl.payload.aligner_word`."""

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "valid": 1,
                "first": 1,
                "last": 1,
                "closes": 1,
                "offset": geometry.lane_bits,
                "direct": 1,
                "strb": geometry.lanes,
                "header": CompletionFields,
            }
        )


class CompletionBeat(data.StructLayout):
    """A beat of a completion, and of its header what differs from one to the next; ``closes``:
    the last one of its request."""

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "data": geometry.data_width,
                "strb": geometry.lanes,
                "sop": 1,
                "eop": 1,
                "closes": 1,
                "header": CompletionFields,
            }
        )


class Completer(wiring.Component):
    """Answers each read request with one or more completions.

    Words are asked for over ``read_enable``, ``read_target`` and ``read_address``, in a cycle in
    which ``read_ready`` is up, and taken from ``read_data`` :data:`READ_LATENCY` cycles after.
    Nothing holds them up on the way: a word is asked for only when there is room for the beat that
    it makes.

    Attributes
    ----------
    i : In(stream of ReadRequest)
        Requests, in order.
    o : Out(raw_signature(data_width))
        Completions, in the order of the requests.
    read_enable, read_target, read_address : Out
        Word wanted. ``read_target`` and ``read_address`` hold until it is given.
    read_wanted : Out(1)
        One is wanted: ``read_enable`` but for ``read_ready``.
    read_ready : In(1)
        It can be read in this cycle.
    read_data : In(data_width)
        The word.
    completer_id : In(16)
        Bus, device and function number.
    max_payload_size : In(3)
        Encoding of the Device Control register: 128 bytes shifted left by it; above 5 counts as 5.
    memory_space_enable : In(1)
        Requests are matched elsewhere; here its fall makes those inside former ones.
    former : Out(1)
        A completion of a request has not left that came before ``max_payload_size`` or
        ``memory_space_enable`` fell; valid from the cycle after that on. Requests that come later
        get completions of the new size.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(ReadRequest(geometry))),
                "o": Out(raw_signature(geometry.data_width)),
                "read_wanted": Out(1),
                "read_enable": Out(1),
                "read_target": Out(Target),
                "read_address": Out(geometry.word_address_bits),
                "read_ready": In(1),
                "read_data": In(geometry.data_width),
                "completer_id": In(16),
                "max_payload_size": In(3),
                "memory_space_enable": In(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Dwords of the largest payload, less one: a power of two, so that it masks what lies
        # within.
        largest = coded_dwords(self.max_payload_size)
        mask = Signal(10)
        block = Signal(len(BLOCK_BITS))
        m.d.sync += [mask.eq((largest - 1)[:10]), block.eq(largest[BLOCK_BITS.start :])]
        queue = self._plan(m, mask, block)
        stage = self._step(m, queue, mask)
        self._send(m, stage)
        self._follow(m, mask, (largest - 1)[:10])
        return m

    def _follow(self, m, mask, next_mask):
        """Track the requests that were planned before a setting fell."""
        m.submodules.tracker = tracker = DepartureTracker(MOST_REQUESTS)
        was_enabled = Signal()
        setting_fell = Signal()
        # Requests of the cycle in which the mask changes are planned by the former one: register
        # their pulse to count them with it.
        m.d.sync += [
            was_enabled.eq(self.memory_space_enable),
            setting_fell.eq((mask & ~next_mask).any() | (was_enabled & ~self.memory_space_enable)),
            tracker.planned.eq(self.i.valid & self.i.ready),
            tracker.departed.eq(self.o.valid & self.o.ready & self._leaving.closes),
        ]
        m.d.comb += [tracker.fell.eq(setting_fell), self.former.eq(setting_fell | tracker.former)]

    def _plan(self, m, mask, block):
        """Queue each request with its plan."""
        g = self._geometry
        layout = CompletionPlan(g)
        m.submodules.queue = queue = fifo.SyncFIFO(width=layout.size, depth=REQUEST_DEPTH)
        plan = Signal(layout)
        request = self.i.p
        success = request.status == CompletionStatus.SUCCESS
        offset = request.address[: g.lane_bits]
        final_be = Mux(request.length_m1 == 0, request.first_be, request.last_be)
        # Dwords from the first one to the end of its block, less one.
        room = Signal(10)
        splits = Signal()
        single = Signal()
        whole = Signal()
        skipped = Signal(2)
        after = Signal(2)
        m.d.comb += [
            skipped.eq(first_byte(request.first_be)),
            after.eq(_bytes_after(final_be)),
            room.eq(~request.address[:10] & mask),
            splits.eq((request.length_m1 & ~mask).any() | (request.crosses & block).any()),
            plan.request.eq(request),
            plan.extent.eq(Mux(splits, room, request.length_m1)),
            single.eq(
                ~success
                | Mux(
                    splits,
                    room[g.lane_bits :] == 0,
                    (request.length_m1[g.lane_bits :] == 0)
                    & (offset + request.length_m1[: g.lane_bits] < g.lanes),
                )
            ),
            whole.eq(~success | ~splits),
            plan.single.eq(single),
            plan.pair.eq(
                Mux(
                    splits,
                    room[g.lane_bits :] == (offset == 0),
                    request.length_m1[g.lane_bits :] == (offset == 0),
                )
            ),
            plan.whole.eq(whole),
            plan.sole.eq(single & whole),
            plan.skipped.eq(skipped),
            plan.after.eq(after),
            plan.tail.eq(4 - skipped - after),
            queue.w_data.eq(plan),
            queue.w_en.eq(self.i.valid & self.i.ready),
        ]
        # One may come in this cycle that is not in the level yet.
        m.d.sync += self.i.ready.eq(queue.level <= REQUEST_DEPTH - 2)
        return queue

    def _step(self, m, queue, mask):
        """Ask for a word a cycle. Returns what is to be done with the one that arrives."""
        g = self._geometry
        lane_bits = g.lane_bits
        plan = data.View(CompletionPlan(g), queue.r_data)
        request = plan.request
        success = request.status == CompletionStatus.SUCCESS

        # What is left of the request once a completion is under way: it begins with a block. It is
        # ready for use the cycle after that completion began.
        continued = Signal()
        prepared = Signal()
        rest_word = Signal(g.word_address_bits)
        rest_more = Signal(10)
        rest_extent = Signal(10)
        rest_whole = Signal()
        rest_single = Signal()
        rest_pair = Signal()
        within = (rest_more & ~mask) == 0
        m.d.sync += [
            prepared.eq(continued),
            rest_extent.eq(Mux(within, rest_more, mask)),
            rest_whole.eq(within),
            rest_single.eq(within & (rest_more[lane_bits:] == 0)),
            rest_pair.eq(Mux(within, rest_more, mask)[lane_bits:] == 1),
        ]

        word = Signal.like(rest_word)
        more = Signal.like(rest_more)
        extent = Signal(10)
        offset = Signal(lane_bits)
        skipped = Signal(2)
        tail = Signal(signed(4))
        single = Signal()
        pair = Signal()
        whole = Signal()
        with m.If(continued):
            m.d.comb += [
                word.eq(rest_word),
                more.eq(rest_more),
                extent.eq(rest_extent),
                tail.eq(4 - plan.after),
                whole.eq(rest_whole),
                single.eq(rest_single),
                pair.eq(rest_pair),
            ]
        with m.Else():
            m.d.comb += [
                word.eq(request.address[lane_bits:]),
                more.eq(request.length_m1),
                extent.eq(plan.extent),
                offset.eq(request.address[:lane_bits]),
                skipped.eq(plan.skipped),
                tail.eq(plan.tail),
                whole.eq(plan.whole),
                single.eq(plan.single),
                pair.eq(plan.pair),
            ]
        direct = single | (offset == 0)
        # Of the last beat.
        strobes = Cat(1, *(extent[:lane_bits] >= lane for lane in range(1, g.lanes)))

        # A step asks for one word. One makes no beat where dwords have to move.
        has_room = Signal()
        some = Signal()
        busy = Signal()
        # Steps to come, but for one more where the dwords of the last make a beat of their own.
        left = Signal(10 - lane_bits)
        one_more = Signal()
        last_step = Signal()
        next_word = Signal.like(word)
        last_completion = Signal()
        step = Signal()
        final = Mux(busy, last_step, single)
        # What is left of a request and lies in one word is all of it.
        closes = Mux(busy, last_step & last_completion, Mux(continued, rest_single, plan.sole))
        beats = extent[lane_bits:]
        m.d.comb += [
            self.read_wanted.eq((busy | (some & (prepared | ~continued))) & has_room),
            step.eq(self.read_wanted & self.read_ready),
            self.read_enable.eq(step),
            self.read_target.eq(request.target),
            self.read_address.eq(Mux(busy, next_word, word)),
            queue.r_en.eq(step & closes),
        ]
        # Whether the queue has some, known from the start of the cycle.
        m.d.sync += some.eq(_has_some_next(queue))

        stage = Signal(WordFetch(g))
        m.d.sync += stage.valid.eq(step)
        with m.If(step):
            m.d.sync += [
                next_word.eq(self.read_address + 1),
                busy.eq(~final),
                stage.first.eq(~busy),
                stage.last.eq(final),
                stage.closes.eq(closes),
                left.eq(Mux(busy, left - 1, beats)),
                last_step.eq(Mux(busy, left == Cat(one_more, ~one_more), pair)),
            ]
            with m.If(~busy):
                header = stage.header
                m.d.sync += [
                    one_more.eq(~direct),
                    last_completion.eq(whole),
                    prepared.eq(0),
                    continued.eq(~whole),
                    # By what was planned: the maximum payload size may have changed since.
                    rest_word.eq((Cat(offset, word) + extent + 1) >> lane_bits),
                    rest_more.eq(more + ~extent),
                    stage.offset.eq(Mux(success, offset, 0)),
                    stage.direct.eq(direct | ~success),
                    stage.strb.eq(Mux(success, strobes, 0)),
                    header.lower_address.eq(Cat(skipped, Mux(continued, 0, request.address[:5]))),
                    header.tag.eq(request.tag),
                    header.requester_id.eq(request.requester_id),
                    header.byte_count.eq((more << 2) + tail),
                    header.status.eq(request.status),
                    header.completer_id.eq(self.completer_id),
                    header.length.eq(Mux(success, extent + 1, 0)),
                    header.attr.eq(request.attr),
                    header.ido.eq(request.ido),
                    header.tc.eq(request.tc),
                    header.locked.eq(request.locked),
                ]

        m.submodules.beats = beats = fifo.SyncFIFO(width=CompletionBeat(g).size, depth=BEAT_DEPTH)
        self._beats = beats
        # Not seen in the level yet: a step for each cycle of the read, for the cycle in which the
        # beat is written, and for this register.
        m.d.sync += has_room.eq(beats.level <= BEAT_DEPTH - (READ_LATENCY + 2))
        return stage

    def _send(self, m, stage):
        """Make beats of the words that arrive, and offer them."""
        g = self._geometry
        arrived = Signal(stage.shape())
        m.d.sync += arrived.eq(stage)
        m.submodules.aligner = aligner = PayloadAligner(g, buffered=False)
        beats = self._beats
        # Whether there is one, known from the start of the cycle.
        offered = Signal()
        word, beat = aligner.i.p, aligner.o.p
        waiting = Signal(CompletionBeat(g))
        m.d.comb += [
            aligner.i.valid.eq(arrived.valid),
            aligner.o.ready.eq(1),
            word.data.eq(self.read_data),
            word.first.eq(arrived.first),
            word.last.eq(arrived.last),
            word.offset.eq(arrived.offset),
            word.direct.eq(arrived.direct),
            word.strb.eq(arrived.strb),
            waiting.data.eq(beat.data),
            waiting.strb.eq(beat.strb),
            waiting.sop.eq(beat.sop),
            waiting.eop.eq(beat.eop),
            waiting.closes.eq(arrived.closes),
            waiting.header.eq(arrived.header),
            beats.w_data.eq(waiting),
            beats.w_en.eq(aligner.o.valid),
        ]
        m.d.sync += offered.eq(_has_some_next(beats))
        self._leaving = leaving = data.View(CompletionBeat(g), beats.r_data)
        header = leaving.header
        full = Signal(CompletionHeader)
        with_data = header.status == CompletionStatus.SUCCESS
        completion = Const(TlpType.COMPLETION.value, 5)
        m.d.comb += [
            full.lower_address.eq(header.lower_address),
            full.tag.eq(header.tag),
            full.requester_id.eq(header.requester_id),
            full.byte_count.eq(header.byte_count),
            full.status.eq(header.status),
            full.completer_id.eq(header.completer_id),
            full.word0.length.eq(header.length),
            full.word0.attr.eq(header.attr),
            full.word0.ido.eq(header.ido),
            full.word0.tc.eq(header.tc),
            full.word0.type.eq(Cat(header.locked, completion[1:])),
            full.word0.fmt.eq(Mux(with_data, TlpFormat.DATA_3DW.value, TlpFormat.HEADER_3DW.value)),
            self.o.valid.eq(offered),
            beats.r_en.eq(self.o.ready),
            self.o.p.data.eq(leaving.data),
            self.o.p.strb.eq(leaving.strb),
            self.o.p.sop.eq(leaving.sop),
            self.o.p.eop.eq(leaving.eop),
            self.o.p.hdr.eq(full),
        ]
