# SPDX-License-Identifier: BSD-2-Clause
"""Completer: non-posted requests in, completions out, split as PCI Express requires.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; the read completion
boundary of an endpoint is 128 bytes, section 2.3.1.1. Every split falls on a multiple of the
maximum payload size, and therefore of both boundaries.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..departures import DepartureTracker
from ..geometry import Geometry
from ..interfaces import BarRead, FunctionControl
from ..requests import BLOCK_BITS, ReadRequest
from ..tlp import coded_dwords, coded_mask, raw_signature
from .fetcher import WordFetch, WordFetcher
from .packetizer import BEAT_DEPTH, CompletionPacketizer
from .planner import REQUEST_DEPTH, CompletionPlan, CompletionPlanner, first_byte

__all__ = [
    "Completer",
    "CompletionPacketizer",
    "CompletionPlan",
    "CompletionPlanner",
    "WordFetch",
    "WordFetcher",
    "first_byte",
]

MAX_REQUESTS = REQUEST_DEPTH + BEAT_DEPTH + 2
"""Requests inside: those in the request queue, those with a beat in the beat queue, and one on
either side whose pulse is registered."""


class Completer(wiring.Component):
    """Answers each non-posted request with one or more completions.

    :class:`~hdl.completer.planner.CompletionPlanner` queues each request with the size of its first
    completion, :class:`~hdl.completer.fetcher.WordFetcher` reads one word per cycle, and
    :class:`~hdl.completer.packetizer.CompletionPacketizer` makes beats of the words. A word is read
    only when there is space for its beat, so no stage stalls after the read.

    Attributes
    ----------
    i : In(stream of ReadRequest)
        Requests.
    o : Out(raw_signature(data_width))
        Completions, in the order of the requests.
    words : Out(BarRead)
        Reads of the words.
    control : In(FunctionControl())
        ``completer_id``; ``max_payload_size``, values above 5 count as 5; and, only for ``former``,
        ``memory_space_enable``: requests are matched to BARs elsewhere.
    former : Out(1)
        A completion has not departed whose request came before one of the two fell; valid from the
        next cycle on. Later requests get completions of the new size.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(ReadRequest(geometry))),
                "o": Out(raw_signature(geometry.data_width)),
                "words": Out(BarRead(geometry)),
                "control": In(FunctionControl()),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.planner = planner = CompletionPlanner(g)
        m.submodules.fetcher = fetcher = WordFetcher(g)
        m.submodules.packetizer = packetizer = CompletionPacketizer(g)
        m.submodules.tracker = tracker = DepartureTracker(MAX_REQUESTS)

        code = self.control.max_payload_size
        # The largest payload is a power of two: `payload_mask` selects the dword within it.
        payload_mask = Signal(10)
        payload_block = Signal(len(BLOCK_BITS))
        m.d.sync += [
            payload_mask.eq(coded_mask(code)),
            payload_block.eq(coded_dwords(code)[BLOCK_BITS.start :]),
        ]

        wiring.connect(m, wiring.flipped(self.i), planner.i)
        wiring.connect(m, planner.o, fetcher.i)
        wiring.connect(m, fetcher.words, wiring.flipped(self.words))
        wiring.connect(m, packetizer.o, wiring.flipped(self.o))
        m.d.comb += [
            planner.mask.eq(payload_mask),
            planner.block.eq(payload_block),
            fetcher.mask.eq(payload_mask),
            fetcher.completer_id.eq(self.control.completer_id),
            fetcher.has_space.eq(packetizer.has_space),
            packetizer.fetched.eq(fetcher.fetched),
            packetizer.data.eq(self.words.data),
        ]

        # `planned` and `setting_fell` are registered: requests accepted in the cycle in which
        # `payload_mask` changes are planned to its former value.
        memory_space_enable_q = Signal()
        setting_fell = Signal()
        m.d.sync += [
            memory_space_enable_q.eq(self.control.memory_space_enable),
            setting_fell.eq(
                (payload_mask & ~coded_mask(code)).any()
                | (memory_space_enable_q & ~self.control.memory_space_enable)
            ),
            tracker.planned.eq(self.i.valid & self.i.ready),
            tracker.departed.eq(self.o.valid & self.o.ready & packetizer.closes),
        ]
        m.d.comb += [tracker.fell.eq(setting_fell), self.former.eq(setting_fell | tracker.former)]
        return m
