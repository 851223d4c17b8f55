# SPDX-License-Identifier: BSD-2-Clause
"""Conversion between streams with the header in front of the payload and streams with it beside.

Hard blocks differ in the content and length of their headers; where a header ends and the payload
begins is computed here for all of them.
"""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..tlp import check_data_width, payload_lanes

__all__ = ["MAX_HEADER", "HeaderJoiner", "HeaderSplitter", "beside_layout", "inline_layout"]

MAX_HEADER = 4
"""Dwords of the longest header."""
HEADER_LENGTHS = (3, 4)


def inline_layout(data_width: int) -> data.StructLayout:
    """Beat of a stream whose packets begin with their header.

    ``data`` has its first dword in lane 0; ``lanes`` is the number of lanes in use, 0 for all of
    them; ``last`` marks the end of a packet.
    """
    check_data_width(data_width)
    return data.StructLayout({"data": data_width, "lanes": range(data_width // 32), "last": 1})


def beside_layout(data_width: int) -> data.StructLayout:
    """Beat of a stream with the header beside the data.

    ``header`` has its first dword in the least significant bits and is valid on the ``first`` beat;
    ``data`` has the first dword of the payload in lane 0; ``strb`` has a bit for each dword;
    ``last`` marks the end of a packet. A packet without payload is one beat.
    """
    check_data_width(data_width)
    return data.StructLayout(
        {
            "header": 32 * MAX_HEADER,
            "data": data_width,
            "strb": data_width // 32,
            "first": 1,
            "last": 1,
        }
    )


class _Shape:
    """End of a header of ``dwords``: after ``beats`` whole beats and ``over`` lanes."""

    def __init__(self, dwords: int, lanes: int):
        self.dwords = dwords
        self.beats, self.over = divmod(dwords, lanes)

    def inside(self, place: Value) -> Value:
        """Whether beat number ``place`` holds nothing but header."""
        return place < self.beats if self.beats else Const(0)


def _shapes(header_dwords: tuple[int, ...], lanes: int) -> list[_Shape]:
    if not header_dwords or set(header_dwords) - set(HEADER_LENGTHS):
        raise ValueError(f"header_dwords is {header_dwords}: must be (3,), (4,) or (3, 4)")
    return [_Shape(dwords, lanes) for dwords in header_dwords]


def lane_count(beat: Any) -> Value:
    """Number of lanes in use of a beat of :func:`inline_layout`."""
    lanes = len(beat.data) // 32
    return Mux(beat.lanes == 0, lanes, beat.lanes)


class HeaderSplitter(wiring.Component):
    """Takes the headers out of a stream and moves the payloads to lane 0.

    The throughput is one beat per cycle. A packet takes one cycle more if the last lanes of its
    payload do not fit the beat before them.

    Parameters
    ----------
    data_width : int
        Bits of a beat.
    header_dwords : tuple of int
        Possible lengths of a header: 3, 4 or both.

    Attributes
    ----------
    i : In(stream of inline_layout)
        Packets, no shorter than their header.
    is_long : In(1)
        With headers of both lengths, valid with the first beat: the packet has the longer one.
    broken : In(1)
        The data of the valid beat is corrupt. It is emitted without strobes, so the packet is
        shorter than its header says.
    o : Out(stream of beside_layout)
        Packets.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    def __init__(self, data_width: int, header_dwords: tuple[int, ...]):
        self._lanes = data_width // 32
        self._shapes = _shapes(header_dwords, self._lanes)
        super().__init__(
            {
                "i": In(stream.Signature(inline_layout(data_width))),
                "is_long": In(1),
                "broken": In(1),
                "o": Out(stream.Signature(beside_layout(data_width))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        beat, out = self.i.p, self.o.p

        # State of the packet since its first beat.
        place = Signal(range(MAX_HEADER))
        was_long = Signal()
        header = Signal(32 * MAX_HEADER)
        begun = Signal()
        # Lanes of the beat before that have not been emitted; with `flush` they end their packet.
        rest = Signal(32 * lanes)
        left_over = Signal(range(lanes + 1))
        flush = Signal()
        was_broken = Signal()

        long = Signal()
        m.d.comb += long.eq(Mux(place == 0, self.is_long, was_long) if len(self._shapes) > 1 else 0)
        count = Signal(range(lanes + 1))
        m.d.comb += count.eq(lane_count(beat))

        whole = Signal.like(header)
        known = Signal.like(header)
        m.d.comb += known.eq(Mux(begun, header, whole))
        # Header including this beat.
        m.d.comb += whole.eq(header)
        for number in range(-(-MAX_HEADER // lanes)):
            with m.If(place == number):
                at = 32 * lanes * number
                width = min(32 * lanes, 32 * MAX_HEADER - at)
                m.d.comb += whole[at : at + width].eq(beat.data[:width])

        emits = Signal()
        takes = Signal()
        m.d.comb += [
            self.o.valid.eq(flush | (self.i.valid & emits)),
            takes.eq(~flush & self.i.valid & (self.o.ready | ~emits)),
            self.i.ready.eq(~flush & (self.o.ready | ~emits)),
            out.first.eq(~begun),
            out.header.eq(known),
        ]

        overflows = Signal()
        leaves = Signal(range(lanes + 1))
        with m.If(flush):
            m.d.comb += [out.data.eq(rest), leaves.eq(left_over), out.last.eq(1)]
        for index, shape in enumerate(self._shapes):
            with m.If(~flush & (long == index)):
                self._shift(m, shape, place, count, rest, out, emits, leaves, overflows)
        dropped = Mux(flush, was_broken, self.broken)
        m.d.comb += out.strb.eq(Mux(dropped, 0, payload_lanes(leaves, lanes)))

        with m.If(takes):
            m.d.sync += [
                header.eq(whole),
                was_long.eq(long),
                was_broken.eq(self.broken),
                flush.eq(overflows),
            ]
            for index, shape in enumerate(self._shapes):
                with m.If(long == index):
                    m.d.sync += [
                        rest.eq(beat.data >> 32 * shape.over),
                        left_over.eq(count - shape.over),
                    ]
            with m.If(place != MAX_HEADER - 1):
                m.d.sync += place.eq(place + 1)
            with m.If(emits):
                m.d.sync += begun.eq(1)
            with m.If(beat.last):
                m.d.sync += place.eq(0)
                with m.If(~overflows):
                    m.d.sync += begun.eq(0)
        with m.If(flush & self.o.ready):
            m.d.sync += [flush.eq(0), begun.eq(0)]
        return m

    def _shift(self, m, shape, place, count, rest, out, emits, leaves, overflows):
        """Output for a beat of a packet whose header has this shape."""
        beat = self.i.p
        lanes, over = self._lanes, shape.over
        if not over:
            in_header = shape.inside(place)
            ends_header = place == shape.beats - 1
            m.d.comb += [
                out.data.eq(beat.data),
                leaves.eq(Mux(in_header, 0, count)),
                out.last.eq(beat.last),
                emits.eq(~in_header | (ends_header & beat.last)),
            ]
            return
        free = lanes - over
        with m.If(shape.inside(place)):
            m.d.comb += emits.eq(0)
        with m.Elif(place == shape.beats):
            # End of the header, first lanes of the payload.
            m.d.comb += [
                out.data.eq(beat.data >> 32 * over),
                leaves.eq(count - over),
                out.last.eq(1),
                emits.eq(beat.last),
            ]
        with m.Else():
            m.d.comb += [
                out.data.eq(Cat(rest[: 32 * free], beat.data[: 32 * over])),
                leaves.eq(Mux(count > over, lanes, free + count)),
                overflows.eq(beat.last & (count > over)),
                out.last.eq(beat.last & ~overflows),
                emits.eq(1),
            ]


class HeaderJoiner(wiring.Component):
    """Puts headers in front of payloads: the inverse of :class:`HeaderSplitter`.

    Parameters
    ----------
    data_width : int
        Bits of a beat.
    header_dwords : tuple of int
        Possible lengths of a header: 3, 4 or both.

    Attributes
    ----------
    i : In(stream of beside_layout)
        Packets.
    is_long : In(1)
        With headers of both lengths, valid with the first beat: the packet has the longer one.
    o : Out(stream of inline_layout)
        Packets.
    first : Out(1)
        The beat on ``o`` is the first of its packet.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    def __init__(self, data_width: int, header_dwords: tuple[int, ...]):
        self._lanes = data_width // 32
        self._shapes = _shapes(header_dwords, self._lanes)
        super().__init__(
            {
                "i": In(stream.Signature(beside_layout(data_width))),
                "is_long": In(1),
                "o": Out(stream.Signature(inline_layout(data_width))),
                "first": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        beat, out = self.i.p, self.o.p

        place = Signal(range(MAX_HEADER))
        was_long = Signal()
        rest = Signal(32 * lanes)
        left_over = Signal(range(lanes + 1))
        flush = Signal()
        inside = Signal()

        long = Signal()
        m.d.comb += long.eq(Mux(inside, was_long, self.is_long) if len(self._shapes) > 1 else 0)
        count = Signal(range(lanes + 1))
        m.d.comb += count.eq(sum(beat.strb[lane] for lane in range(lanes)))

        consumes = Signal()
        overflows = Signal()
        leaves = Signal(range(lanes + 1))
        moved = Signal()
        m.d.comb += [
            self.o.valid.eq(flush | self.i.valid),
            self.i.ready.eq(~flush & self.o.ready & consumes),
            moved.eq(self.o.valid & self.o.ready),
            self.first.eq(~inside & ~flush),
            out.lanes.eq(leaves[: len(out.lanes)]),
        ]
        with m.If(flush):
            m.d.comb += [out.data.eq(rest), leaves.eq(left_over), out.last.eq(1)]
        for index, shape in enumerate(self._shapes):
            with m.If(~flush & (long == index)):
                self._shift(
                    m, shape, place, count, rest, left_over, moved, consumes, leaves, overflows
                )

        with m.If(moved):
            with m.If(flush):
                m.d.sync += [flush.eq(0), inside.eq(0), place.eq(0)]
            with m.Else():
                m.d.sync += [flush.eq(overflows), inside.eq(1), was_long.eq(long)]
                with m.If(place != MAX_HEADER - 1):
                    m.d.sync += place.eq(place + 1)
                with m.If(out.last):
                    m.d.sync += [inside.eq(0), place.eq(0)]
        return m

    def _shift(self, m, shape, place, count, rest, left_over, moved, consumes, leaves, overflows):
        """Output for a packet whose header has this shape."""
        beat, out = self.i.p, self.o.p
        lanes, over = self._lanes, shape.over
        header = Array(
            beat.header.word_select(number, 32 * lanes)
            if 32 * lanes <= len(beat.header)
            else beat.header
            for number in range(shape.beats or 1)
        )
        free = lanes - over
        with m.If(shape.inside(place)):
            ends = (place == shape.beats - 1) & (count == 0) if not over else Const(0)
            m.d.comb += [
                out.data.eq(header[place]),
                leaves.eq(lanes),
                out.last.eq(ends),
                consumes.eq(ends),
            ]
        if not over:
            with m.Else():
                m.d.comb += [
                    out.data.eq(beat.data),
                    leaves.eq(count),
                    out.last.eq(beat.last),
                    consumes.eq(1),
                ]
            return
        before = Signal(32 * over, name=f"before_{shape.dwords}")
        tail = beat.header[32 * lanes * shape.beats : 32 * shape.dwords]
        with m.Elif(place == shape.beats):
            m.d.comb += before.eq(tail)
        with m.Else():
            m.d.comb += before.eq(rest[: 32 * over])
        with m.If(~shape.inside(place)):
            m.d.comb += [
                out.data.eq(Cat(before, beat.data[: 32 * free])),
                overflows.eq(beat.last & (count > free)),
                leaves.eq(Mux(count > free, lanes, over + count)),
                out.last.eq(beat.last & ~overflows),
                consumes.eq(1),
            ]
            with m.If(moved):
                m.d.sync += [rest.eq(beat.data >> 32 * free), left_over.eq(count - free)]
