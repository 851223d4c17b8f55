# SPDX-License-Identifier: BSD-2-Clause
"""From words of memory to the payload of a TLP: drops what precedes the first dword.

Words are aligned to their address, a payload to its first dword (generic TLP interface of
verilog-pcie).
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .lanes import rotate_right_lanes
from .tlp import raw_signature

__all__ = ["PayloadAligner", "aligner_word", "is_direct", "last_strobes", "words_taken"]


def is_direct(offset: Value, dwords: Value, lanes: int) -> Value:
    """Whether no dword of a payload moves to an earlier beat than its word."""
    return (offset == 0) | (offset + dwords <= lanes)


def last_strobes(dwords: Value, lanes: int) -> Value:
    """``strb`` of the last beat of a payload of ``dwords`` dwords, one at least."""
    rest = dwords[: lanes.bit_length() - 1]
    return Cat(*((rest == 0) | (rest > lane) for lane in range(lanes - 1)), rest == 0)


def words_taken(offset: Value, dwords: Value, lanes: int) -> Value:
    """Words that the aligner takes for ``dwords`` dwords from lane ``offset`` of the first word.

    That is a word for each beat and, where dwords have to move, one more to begin with. The last
    one may then lie past the payload: what it holds does not matter.
    """
    beats = (dwords + (lanes - 1)) >> (lanes.bit_length() - 1)
    single = offset + dwords <= lanes
    return Mux(single, 1, beats + (offset != 0))


def aligner_word(geometry: Geometry) -> data.StructLayout:
    """Payload of the aligner's input: a word and what TLP it is for.

    ``data``; ``first`` and ``last`` word of the TLP; ``offset``, the lane of the TLP's first dword
    in its first word; ``direct``, see :func:`is_direct`; ``strb`` of the TLP's last beat, nothing
    where it has no payload; ``hdr``; ``mark``, any flag. All but ``data``, ``last`` and ``mark``
    are the same for each word of a TLP.
    """
    return data.StructLayout(
        {
            "data": geometry.data_width,
            "first": 1,
            "last": 1,
            "offset": geometry.lane_bits,
            "direct": 1,
            "strb": geometry.lanes,
            "hdr": 128,
            "mark": 1,
        }
    )


class PayloadAligner(wiring.Component):
    """Turns the words that a payload lies in into the beats of a TLP.

    It takes a word a cycle, as many as :func:`words_taken` says. Where dwords have to move, the
    first one makes no beat.

    Parameters
    ----------
    geometry : Geometry
    buffered : bool
        There is a register stage at the output. Without one a beat is on offer while the word is
        that completes it, and its header is to be had from there.

    Attributes
    ----------
    i : In(stream of aligner_word)
        Words, each TLP's in order. A TLP without payload is one word.
    o : Out(raw_signature(data_width))
        TLPs.
    marked : Out(1)
        ``mark`` of the word that completed the beat on ``o``.
    """

    def __init__(self, geometry: Geometry, *, buffered: bool = True):
        self._geometry = geometry
        self._buffered = buffered
        super().__init__(
            {
                "i": In(stream.Signature(aligner_word(geometry))),
                "o": Out(raw_signature(geometry.data_width)),
                "marked": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes = g.lanes
        word = self.i.p

        rotated = Signal(g.data_width)
        previous = Signal(g.data_width)
        produce = Signal()
        can_load = Signal()
        sent_some = Signal()
        m.d.comb += [
            rotated.eq(rotate_right_lanes(word.data, word.offset, 32, lanes)),
            produce.eq(self.i.valid & (word.direct | ~word.first)),
            self.i.ready.eq(~produce | can_load),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += previous.eq(rotated)
        with m.If(produce & can_load):
            m.d.sync += sent_some.eq(~word.last)

        made = Signal(self.o.p.shape())
        m.d.comb += [
            made.hdr.eq(word.hdr),
            made.strb.eq(word.strb | (~word.last).replicate(lanes)),
            made.sop.eq(~sent_some),
            made.eop.eq(word.last),
        ]
        for lane in range(lanes):
            bits = slice(32 * lane, 32 * lane + 32)
            from_previous = ~word.direct & (word.offset + lane < lanes)
            m.d.comb += made.data[bits].eq(Mux(from_previous, previous[bits], rotated[bits]))

        if not self._buffered:
            m.d.comb += [
                self.o.valid.eq(produce),
                self.o.p.eq(made),
                self.marked.eq(word.mark),
                can_load.eq(self.o.ready),
            ]
            return m
        m.d.comb += can_load.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(produce & can_load):
            m.d.sync += [self.o.valid.eq(1), self.o.p.eq(made), self.marked.eq(word.mark)]
        return m
