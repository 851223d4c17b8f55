# SPDX-License-Identifier: BSD-2-Clause
"""Payload aligner: from words of memory to the payload of a TLP.

Words are aligned to their address, a payload to its first dword (generic TLP interface of
verilog-pcie).
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .lanes import rotate_right_lanes

__all__ = ["PayloadAligner", "aligner_beat", "aligner_word"]


def aligner_word(geometry: Geometry) -> data.StructLayout:
    """A word that holds dwords of a payload.

    ``data``; ``first`` and ``last`` word of the TLP; ``offset``, lane of the first dword of the
    payload in its first word; ``direct``, no dword moves to an earlier beat than its word; ``strb``
    of the last beat of the TLP, zero if it has no payload. ``offset``, ``direct`` and ``strb`` are
    the same for each word of a TLP.
    """
    return data.StructLayout(
        {
            "data": geometry.data_width,
            "first": 1,
            "last": 1,
            "offset": geometry.lane_bits,
            "direct": 1,
            "strb": geometry.lanes,
        }
    )


def aligner_beat(geometry: Geometry) -> data.StructLayout:
    """A beat of a payload: ``data``, ``strb``, a bit for each dword, ``sop`` and ``eop``."""
    return data.StructLayout(
        {"data": geometry.data_width, "strb": geometry.lanes, "sop": 1, "eop": 1}
    )


class PayloadAligner(wiring.Component):
    """Moves the dwords of a payload down to lane 0 of its first beat.

    Accepts one word per cycle: for each beat one word and, where dwords move, one word more at the
    beginning, which makes no beat. The last word may then lie past the payload, and its content is
    not used. The output is combinational: a beat is valid while the word that completes it is.

    Attributes
    ----------
    i : In(stream of aligner_word)
        Words of each TLP, in order. A TLP without payload is one word.
    o : Out(stream of aligner_beat)
        Beats.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(aligner_word(geometry))),
                "o": Out(stream.Signature(aligner_beat(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes = g.lanes
        word, beat = self.i.p, self.o.p

        # Select before rotating: synthesis merges this selection with that of the data's source.
        selected = Signal(g.data_width)
        previous = Signal(g.data_width)
        started = Signal()
        m.d.comb += [
            beat.data.eq(rotate_right_lanes(selected, word.offset, 32, lanes)),
            self.o.valid.eq(self.i.valid & (word.direct | ~word.first)),
            self.i.ready.eq(~self.o.valid | self.o.ready),
            beat.strb.eq(word.strb | (~word.last).replicate(lanes)),
            beat.sop.eq(~started),
            beat.eop.eq(word.last),
        ]
        for lane in range(lanes):
            # If dwords move, lane 0 of a word belongs to the beat that the word completes.
            moves = (word.offset <= lane) if lane < lanes - 1 else Const(1)
            from_previous = ~word.direct & moves if lane else Const(0)
            m.d.comb += selected.word_select(lane, 32).eq(
                Mux(from_previous, previous.word_select(lane, 32), word.data.word_select(lane, 32))
            )
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += previous.eq(word.data)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += started.eq(~word.last)
        return m
