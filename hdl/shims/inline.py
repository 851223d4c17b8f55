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

    def inside(self, beat_number: Value) -> Value:
        """Whether beat number ``beat_number`` holds nothing but header."""
        return beat_number < self.beats if self.beats else Const(0)


def _shapes(header_dwords: tuple[int, ...], lanes: int) -> list[_Shape]:
    if not header_dwords or set(header_dwords) - set(HEADER_LENGTHS):
        raise ValueError(f"header_dwords is {header_dwords}: must be (3,), (4,) or (3, 4)")
    return [_Shape(dwords, lanes) for dwords in header_dwords]


def lane_count(beat: Any) -> Value:
    """Number of lanes in use of a beat of :func:`inline_layout`."""
    lanes = len(beat.data) // 32
    return Mux(beat.lanes == 0, lanes, beat.lanes)


class _ShiftSignals:
    """Signals that splitter and joiner share.

    Attributes
    ----------
    beat_number
        Number of the beat in its packet, up to ``MAX_HEADER - 1``.
    count
        Lanes in use of the beat on ``i``.
    rest, rest_lanes
        Lanes of the beat before that have not been emitted, and their number.
    flush
        These end their packet.
    out_lanes
        Lanes in use of the beat on ``o``.
    overflows
        The last lanes of the packet do not fit the beat on ``o``.
    """

    def __init__(self, lanes: int):
        self.beat_number = Signal(range(MAX_HEADER))
        self.count = Signal(range(lanes + 1))
        self.rest = Signal(32 * lanes)
        self.rest_lanes = Signal(range(lanes + 1))
        self.flush = Signal()
        self.out_lanes = Signal(range(lanes + 1))
        self.overflows = Signal()


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
        s = _ShiftSignals(lanes)

        # State of the packet since its first beat.
        was_long = Signal()
        header = Signal(32 * MAX_HEADER)
        begun = Signal()
        was_broken = Signal()

        long = Signal()
        m.d.comb += long.eq(
            Mux(s.beat_number == 0, self.is_long, was_long) if len(self._shapes) > 1 else 0
        )
        m.d.comb += s.count.eq(lane_count(beat))

        next_header = Signal.like(header)
        current_header = Signal.like(header)
        m.d.comb += current_header.eq(Mux(begun, header, next_header))
        # Header including this beat.
        m.d.comb += next_header.eq(header)
        for number in range(-(-MAX_HEADER // lanes)):
            with m.If(s.beat_number == number):
                at = 32 * lanes * number
                width = min(32 * lanes, 32 * MAX_HEADER - at)
                m.d.comb += next_header[at : at + width].eq(beat.data[:width])

        emit = Signal()
        accept = Signal()
        m.d.comb += [
            self.o.valid.eq(s.flush | (self.i.valid & emit)),
            accept.eq(~s.flush & self.i.valid & (self.o.ready | ~emit)),
            self.i.ready.eq(~s.flush & (self.o.ready | ~emit)),
            out.first.eq(~begun),
            out.header.eq(current_header),
        ]

        with m.If(s.flush):
            m.d.comb += [out.data.eq(s.rest), s.out_lanes.eq(s.rest_lanes), out.last.eq(1)]
        for index, shape in enumerate(self._shapes):
            with m.If(~s.flush & (long == index)):
                self._shift(m, shape, s, emit)
        drop_data = Mux(s.flush, was_broken, self.broken)
        m.d.comb += out.strb.eq(Mux(drop_data, 0, payload_lanes(s.out_lanes, lanes)))

        with m.If(accept):
            m.d.sync += [
                header.eq(next_header),
                was_long.eq(long),
                was_broken.eq(self.broken),
                s.flush.eq(s.overflows),
            ]
            for index, shape in enumerate(self._shapes):
                with m.If(long == index):
                    m.d.sync += [
                        s.rest.eq(beat.data >> 32 * shape.over),
                        s.rest_lanes.eq(s.count - shape.over),
                    ]
            with m.If(s.beat_number != MAX_HEADER - 1):
                m.d.sync += s.beat_number.eq(s.beat_number + 1)
            with m.If(emit):
                m.d.sync += begun.eq(1)
            with m.If(beat.last):
                m.d.sync += s.beat_number.eq(0)
                with m.If(~s.overflows):
                    m.d.sync += begun.eq(0)
        with m.If(s.flush & self.o.ready):
            m.d.sync += [s.flush.eq(0), begun.eq(0)]
        return m

    def _shift(self, m, shape, s, emit):
        """Output for a beat of a packet whose header has this shape."""
        beat, out = self.i.p, self.o.p
        lanes, over = self._lanes, shape.over
        if not over:
            in_header = shape.inside(s.beat_number)
            ends_header = s.beat_number == shape.beats - 1
            m.d.comb += [
                out.data.eq(beat.data),
                s.out_lanes.eq(Mux(in_header, 0, s.count)),
                out.last.eq(beat.last),
                emit.eq(~in_header | (ends_header & beat.last)),
            ]
            return
        free_lanes = lanes - over
        with m.If(shape.inside(s.beat_number)):
            m.d.comb += emit.eq(0)
        with m.Elif(s.beat_number == shape.beats):
            # End of the header, first lanes of the payload.
            m.d.comb += [
                out.data.eq(beat.data >> 32 * over),
                s.out_lanes.eq(s.count - over),
                out.last.eq(1),
                emit.eq(beat.last),
            ]
        with m.Else():
            m.d.comb += [
                out.data.eq(Cat(s.rest[: 32 * free_lanes], beat.data[: 32 * over])),
                s.out_lanes.eq(Mux(s.count > over, lanes, free_lanes + s.count)),
                s.overflows.eq(beat.last & (s.count > over)),
                out.last.eq(beat.last & ~s.overflows),
                emit.eq(1),
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
        s = _ShiftSignals(lanes)

        was_long = Signal()
        inside = Signal()

        long = Signal()
        if len(self._shapes) > 1:
            m.d.comb += long.eq(Mux(inside, was_long, self.is_long))
        m.d.comb += s.count.eq(sum(beat.strb[lane] for lane in range(lanes)))

        consume = Signal()
        transfer = Signal()
        m.d.comb += [
            self.o.valid.eq(s.flush | self.i.valid),
            self.i.ready.eq(~s.flush & self.o.ready & consume),
            transfer.eq(self.o.valid & self.o.ready),
            self.first.eq(~inside & ~s.flush),
            out.lanes.eq(s.out_lanes[: len(out.lanes)]),
        ]
        with m.If(s.flush):
            m.d.comb += [out.data.eq(s.rest), s.out_lanes.eq(s.rest_lanes), out.last.eq(1)]
        for index, shape in enumerate(self._shapes):
            with m.If(~s.flush & (long == index)):
                self._shift(m, shape, s, transfer, consume)

        with m.If(transfer):
            with m.If(s.flush):
                m.d.sync += [s.flush.eq(0), inside.eq(0), s.beat_number.eq(0)]
            with m.Else():
                m.d.sync += [s.flush.eq(s.overflows), inside.eq(1), was_long.eq(long)]
                with m.If(s.beat_number != MAX_HEADER - 1):
                    m.d.sync += s.beat_number.eq(s.beat_number + 1)
                with m.If(out.last):
                    m.d.sync += [inside.eq(0), s.beat_number.eq(0)]
        return m

    def _shift(self, m, shape, s, transfer, consume):
        """Output for a packet whose header has this shape."""
        beat, out = self.i.p, self.o.p
        lanes, over = self._lanes, shape.over
        header = Array(
            beat.header.word_select(number, 32 * lanes)
            if 32 * lanes <= len(beat.header)
            else beat.header
            for number in range(shape.beats or 1)
        )
        free_lanes = lanes - over
        with m.If(shape.inside(s.beat_number)):
            ends = (s.beat_number == shape.beats - 1) & (s.count == 0) if not over else Const(0)
            m.d.comb += [
                out.data.eq(header[s.beat_number]),
                s.out_lanes.eq(lanes),
                out.last.eq(ends),
                consume.eq(ends),
            ]
        if not over:
            with m.Else():
                m.d.comb += [
                    out.data.eq(beat.data),
                    s.out_lanes.eq(s.count),
                    out.last.eq(beat.last),
                    consume.eq(1),
                ]
            return
        front = Signal(32 * over, name=f"front_{shape.dwords}")
        header_end = beat.header[32 * lanes * shape.beats : 32 * shape.dwords]
        with m.Elif(s.beat_number == shape.beats):
            m.d.comb += front.eq(header_end)
        with m.Else():
            m.d.comb += front.eq(s.rest[: 32 * over])
        with m.If(~shape.inside(s.beat_number)):
            m.d.comb += [
                out.data.eq(Cat(front, beat.data[: 32 * free_lanes])),
                s.overflows.eq(beat.last & (s.count > free_lanes)),
                s.out_lanes.eq(Mux(s.count > free_lanes, lanes, over + s.count)),
                out.last.eq(beat.last & ~s.overflows),
                consume.eq(1),
            ]
            with m.If(transfer):
                m.d.sync += [
                    s.rest.eq(beat.data >> 32 * free_lanes),
                    s.rest_lanes.eq(s.count - free_lanes),
                ]
