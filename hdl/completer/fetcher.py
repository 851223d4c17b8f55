# SPDX-License-Identifier: BSD-2-Clause
"""Word fetcher: reads the words of each completion, one per cycle, and computes its header.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; splits, section 2.3.1.1.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..interfaces import BarRead
from ..tlp import CompletionStatus
from .planner import CompletionPlan

__all__ = ["READ_LATENCY", "CompletionFields", "WordFetch", "WordFetcher"]

READ_LATENCY = 2
"""Cycles from ``words.enable`` to ``words.data``."""


class CompletionFields(data.Struct):
    """The fields of :class:`~hdl.tlp.CompletionHeader` that vary."""

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
    """A word that is being read: ``first`` and ``last`` of its completion; ``closes``, last of its
    request; ``offset``, ``direct`` and ``strb`` as in :func:`~hdl.payload.aligner_word`; and the
    ``header`` of its completion."""

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


class RestPlan(data.StructLayout):
    """The next completion of a request that has further ones: ``length_m1``, dwords of the request
    from there on, less one; ``extent``, ``single``, ``pair`` and ``whole`` as in
    :class:`~hdl.completer.planner.CompletionPlan`."""

    def __init__(self) -> None:
        super().__init__({"length_m1": 10, "extent": 10, "single": 1, "pair": 1, "whole": 1})


class NextCompletion(data.StructLayout):
    """The completion that starts next: the fields of :class:`RestPlan`; ``offset``, lane of its
    first dword; ``skipped`` and ``tail`` as in :class:`~hdl.completer.planner.CompletionPlan`."""

    def __init__(self, geometry: Geometry):
        rest = {name: field.shape for name, field in RestPlan()}
        super().__init__({**rest, "offset": geometry.lane_bits, "skipped": 2, "tail": signed(4)})


class WordFetcher(wiring.Component):
    """Reads one word per cycle while the packetizer has space.

    Attributes
    ----------
    i : In(stream of CompletionPlan)
        Requests. One is accepted with the last word of its last completion.
    words : Out(BarRead)
        Reads; ``data`` goes to the packetizer.
    mask : In(10)
        Dwords of the largest payload, less one.
    completer_id : In(16)
        Bus, device and function number.
    has_space : In(1)
        A word may be read in this cycle.
    fetched : Out(WordFetch)
        The word read in the cycle before.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(CompletionPlan(geometry))),
                "words": Out(BarRead(geometry)),
                "mask": In(10),
                "completer_id": In(16),
                "has_space": In(1),
                "fetched": Out(WordFetch(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lane_bits = g.lane_bits
        request = self.i.p.request
        success = request.status == CompletionStatus.SUCCESS

        # `continued`: the request has further completions; `prepared`: the next one is planned, one
        # cycle after the one before it started.
        continued = Signal()
        prepared = Signal()
        rest = self._plan_rest(m, continued, prepared)
        current = self._current(m, continued, rest)
        direct = current.single | (current.offset == 0)

        # Each step reads one word. The first step makes no beat if dwords move between lanes, and
        # the dwords of the last one may then make a beat of their own: `one_more`.
        step = Signal()
        busy = Signal()
        beats_left = Signal(10 - lane_bits)
        one_more = Signal()
        last_step = Signal()
        # The first word of the next completion of a request.
        rest_word = Signal(g.word_address_bits)
        # The word of the next step, unless that begins a request.
        next_word = Signal.like(rest_word)
        last_completion = Signal()
        is_last = Mux(busy, last_step, current.single)
        # A rest that lies in one word is the whole rest.
        closes = Mux(busy, last_step & last_completion, Mux(continued, rest.single, self.i.p.sole))
        m.d.comb += [
            self.words.requested.eq(
                (busy | (self.i.valid & (prepared | ~continued))) & self.has_space
            ),
            step.eq(self.words.requested & self.words.ready),
            self.words.enable.eq(step),
            self.words.target.eq(request.target),
            self.words.address.eq(Mux(busy | continued, next_word, request.address[lane_bits:])),
            self.i.ready.eq(step & closes),
        ]

        fetched, header = self.fetched, self.fetched.header
        m.d.sync += fetched.valid.eq(step)
        # A further completion begins in the last word of the one before, if that lay past its
        # payload.
        with m.If(Mux(busy, step & last_step, ~step)):
            m.d.sync += next_word.eq(rest_word)
        with m.Elif(step):
            m.d.sync += next_word.eq(self.words.address + 1)
        with m.If(step):
            m.d.sync += [
                busy.eq(~is_last),
                fetched.first.eq(~busy),
                fetched.last.eq(is_last),
                fetched.closes.eq(closes),
                beats_left.eq(Mux(busy, beats_left - 1, current.extent[lane_bits:])),
                last_step.eq(Mux(busy, beats_left == Cat(one_more, ~one_more), current.pair)),
            ]
            with m.If(~busy):
                strobes = Cat(
                    1, *(current.extent[:lane_bits] >= lane for lane in range(1, g.lanes))
                )
                m.d.sync += [
                    one_more.eq(~direct),
                    last_completion.eq(current.whole),
                    prepared.eq(0),
                    continued.eq(~current.whole),
                    # From the plan: the maximum payload size may have changed since.
                    rest_word.eq(
                        (Cat(current.offset, self.words.address) + current.extent + 1) >> lane_bits
                    ),
                    # One less than the difference: the lowest bit borrows.
                    rest.length_m1.eq((Cat(0, current.length_m1) - Cat(1, current.extent)) >> 1),
                    fetched.offset.eq(current.offset),
                    fetched.direct.eq(direct),
                    fetched.strb.eq(strobes),
                    header.lower_address.eq(
                        Cat(current.skipped, Mux(continued, 0, request.address[:5]))
                    ),
                    header.byte_count.eq((current.length_m1 << 2) + current.tail),
                    header.completer_id.eq(self.completer_id),
                    header.length.eq(current.extent + 1),
                    header.status.eq(request.status),
                    header.requester_id.eq(request.requester_id),
                    header.tag.eq(request.tag),
                    header.attr.eq(request.attr),
                    header.ido.eq(request.ido),
                    header.tc.eq(request.tc),
                    header.locked.eq(request.locked),
                ]
        # Synthesis maps this to the synchronous reset of the register. Without a step, which is
        # late, the header does not matter.
        with m.If(~busy & ~success):
            m.d.sync += [header.length.eq(0), fetched.strb.eq(0)]
        return m

    def _plan_rest(self, m, continued, prepared):
        """Plan the next completion of a request."""
        lane_bits = self._geometry.lane_bits
        rest = Signal(RestPlan())
        fits = (rest.length_m1 & ~self.mask) == 0
        m.d.sync += [
            prepared.eq(continued),
            rest.extent.eq(Mux(fits, rest.length_m1, self.mask)),
            rest.whole.eq(fits),
            rest.single.eq(fits & (rest.length_m1[lane_bits:] == 0)),
            rest.pair.eq(Mux(fits, rest.length_m1, self.mask)[lane_bits:] == 1),
        ]
        return rest

    def _current(self, m, continued, rest):
        """The completion that starts with the next step that is not ``busy``."""
        plan, lane_bits = self.i.p, self._geometry.lane_bits
        current = Signal(NextCompletion(self._geometry))
        with m.If(continued):
            # It starts at a block boundary: `offset` and `skipped` are 0.
            m.d.comb += [getattr(current, name).eq(getattr(rest, name)) for name, _ in rest.shape()]
            m.d.comb += current.tail.eq(4 - plan.after)
        with m.Else():
            m.d.comb += [
                current.offset.eq(plan.request.address[:lane_bits]),
                current.length_m1.eq(plan.request.length_m1),
                *(
                    getattr(current, name).eq(getattr(plan, name))
                    for name in ("extent", "skipped", "tail", "single", "pair", "whole")
                ),
            ]
        return current
