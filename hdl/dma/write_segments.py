# SPDX-License-Identifier: BSD-2-Clause
"""From words under any strobes to the payloads of memory writes.

A memory write has byte enables for its first and its last dword only (PCI Express Base 4.0 section
2.2.5), so each unbroken run of bytes becomes a write of its own. It is cut where it reaches the
maximum payload size, at a multiple of that, hence at 4 KiB too (sections 2.2.2, 2.2.7).
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from .axi import ADDRESS_WIDTH
from .limits import REQUEST_BYTES, limited_dwords
from .write_words import written_word

__all__ = ["Piece", "PieceFinder", "Segment", "Segmenter"]

MAX_DWORDS = REQUEST_BYTES // 4


class Piece(data.StructLayout):
    """An unbroken run of bytes in a word, or nothing.

    ``data`` and ``word`` as in :func:`~hdl.dma.write_words.written_word`; ``empty``: there are no
    bytes; ``first`` and ``last`` lane; ``first_be``, ``last_be``: which bytes of these lanes;
    ``bottom``, ``top``: the run begins with the word, ends with it; ``ends``: last of its burst.
    """

    def __init__(self, geometry: Geometry):
        word = dict(written_word(geometry))
        super().__init__(
            {
                "data": geometry.data_width,
                "word": word["word"].shape,
                "empty": 1,
                "first": geometry.lane_bits,
                "last": geometry.lane_bits,
                "first_be": 4,
                "last_be": 4,
                "bottom": 1,
                "top": 1,
                "ends": 1,
            }
        )


class Segment(data.Struct):
    """One memory write: its dword address, length and byte enables.

    ``ends``: last of its burst. A burst whose last word has no bytes ends with a segment of no
    dwords.
    """

    ends: 1
    last_be: 4
    first_be: 4
    dwords: range(MAX_DWORDS + 1)
    address: ADDRESS_WIDTH - 2


class PieceFinder(wiring.Component):
    """Finds the runs of bytes in each word, a piece a cycle, lowest first; one register stage.

    Attributes
    ----------
    i : In(stream of written_word)
    o : Out(stream of Piece)
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(written_word(geometry))),
                "o": Out(stream.Signature(Piece(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        word, out = self.i.p, self.o.p

        resumed = Signal()
        left = Signal(g.word_bytes)
        strobes = Signal(g.word_bytes)
        lowest = Signal(g.word_bytes)
        carried = Signal(g.word_bytes)
        run = Signal(g.word_bytes)
        rest = Signal(g.word_bytes)
        m.d.comb += [
            strobes.eq(Mux(resumed, left, word.strb)),
            lowest.eq(strobes & -strobes),
            # The carry clears the lowest run and stops in the hole above it.
            carried.eq(strobes + lowest),
            run.eq(strobes & ~carried),
            rest.eq(strobes & carried),
        ]

        enables = [run[4 * lane : 4 * lane + 4] for lane in range(g.lanes)]
        first = Signal(g.lane_bits)
        last = Signal(g.lane_bits)
        for lane in range(g.lanes):
            with m.If(enables[lane].any()):
                m.d.comb += last.eq(lane)
        for lane in reversed(range(g.lanes)):
            with m.If(enables[lane].any()):
                m.d.comb += first.eq(lane)

        can_load = ~self.o.valid | self.o.ready
        m.d.comb += self.i.ready.eq(can_load & ~rest.any())
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & can_load):
            m.d.sync += [
                resumed.eq(rest.any()),
                left.eq(rest),
                self.o.valid.eq(1),
                out.data.eq(word.data),
                out.word.eq(word.word),
                out.empty.eq(~run.any()),
                out.first.eq(first),
                out.last.eq(last),
                out.first_be.eq(run.word_select(first, 4)),
                out.last_be.eq(run.word_select(last, 4)),
                out.bottom.eq(run[0]),
                out.top.eq(run[-1]),
                out.ends.eq(word.last & ~rest.any()),
            ]
        return m


class Segmenter(wiring.Component):
    """Joins pieces that follow each other into segments.

    Words go out as they come, a segment when it is complete: who takes segments finds the words of
    each in order, one for each piece.

    Attributes
    ----------
    i : In(stream of Piece)
    words : Out(stream of data_width)
    segments : Out(stream of Segment)
    max_payload_size : In(3)
        Encoding of the Device Control register.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(Piece(geometry))),
                "words": Out(stream.Signature(geometry.data_width)),
                "segments": Out(stream.Signature(Segment)),
                "max_payload_size": In(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        piece, segment = self.i.p, self.segments.p

        # A segment under way reached the top of the word before.
        under_way = Signal()
        address = Signal(ADDRESS_WIDTH - 2)
        dwords = Signal(range(MAX_DWORDS + 1))
        first_be = Signal(4)

        limit_words = limited_dwords(self.max_payload_size) >> g.lane_bits
        at_limit = ((piece.word[: MAX_DWORDS.bit_length()] + 1) & (limit_words - 1)) == 0
        broken = under_way & (piece.empty | ~piece.bottom)
        takes = ~broken & ~piece.empty
        closes = takes & (~piece.top | at_limit | piece.ends)
        ends_empty = piece.empty & piece.ends

        now_dwords = Signal.like(dwords)
        free = self.words.ready & self.segments.ready
        with m.If(takes):
            m.d.comb += now_dwords.eq(
                Mux(under_way, dwords, 0) + piece.last - piece.first + 1,
            )
        with m.Elif(under_way):
            m.d.comb += now_dwords.eq(dwords)
        m.d.comb += [
            self.words.valid.eq(self.i.valid & takes & self.segments.ready),
            self.words.p.eq(piece.data),
            self.segments.valid.eq(
                self.i.valid & (broken | closes | ends_empty) & self.words.ready
            ),
            segment.address.eq(Mux(under_way, address, Cat(piece.first, piece.word))),
            segment.dwords.eq(now_dwords),
            segment.first_be.eq(Mux(under_way, first_be, piece.first_be)),
            segment.last_be.eq(
                Mux(now_dwords == 1, 0, Mux(takes, piece.last_be, 0xF)),
            ),
            segment.ends.eq(piece.ends & ~(broken & ~piece.empty)),
            self.i.ready.eq(free & ~(broken & ~piece.empty)),
        ]
        with m.If(self.i.valid & free):
            m.d.sync += under_way.eq(takes & ~closes)
            with m.If(takes):
                m.d.sync += [
                    address.eq(segment.address),
                    dwords.eq(now_dwords),
                    first_be.eq(segment.first_be),
                ]
        return m
