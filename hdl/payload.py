# SPDX-License-Identifier: BSD-2-Clause
"""Payload queue: from words of memory to the payload of a TLP.

Words are aligned to their address, a payload to its first dword (generic TLP interface of
verilog-pcie).
"""

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import RingPlaces
from .geometry import Geometry
from .lanes import rotate_right_lanes

__all__ = ["PayloadQueue", "payload_beat", "payload_context", "payload_word"]

MAX_DEPTH = 16
"""Rows of the smallest distributed RAM."""


def payload_word(geometry: Geometry, fields: ShapeLike) -> data.StructLayout:
    """A word that holds dwords of a payload.

    ``data``; ``first`` and ``last`` word of the TLP; ``offset``, lane of the first dword of the
    payload in its first word; ``direct``, no dword moves to an earlier beat than its word; ``strb``
    of the last beat of the TLP; ``fields`` of the beat that the word completes. ``offset``,
    ``direct`` and ``strb`` are the same for each word of a TLP. Without a payload, ``direct`` is
    set, ``strb`` zero and ``offset`` any lane.
    """
    return data.StructLayout(
        {
            "data": geometry.data_width,
            "first": 1,
            "last": 1,
            "offset": geometry.lane_bits,
            "direct": 1,
            "strb": geometry.lanes,
            "fields": fields,
        }
    )


def payload_context(geometry: Geometry, fields: ShapeLike) -> data.StructLayout:
    """What a beat has beside its data: ``strb``, a bit for each dword; ``sop`` and ``eop``; and
    ``fields``."""
    return data.StructLayout({"strb": geometry.lanes, "sop": 1, "eop": 1, "fields": fields})


def payload_beat(geometry: Geometry, fields: ShapeLike) -> data.StructLayout:
    """A beat of a payload: ``data``, and its ``context``, see :func:`payload_context`."""
    return data.StructLayout(
        {"data": geometry.data_width, "context": payload_context(geometry, fields)}
    )


class PayloadQueue(wiring.Component):
    """Moves the dwords of a payload down to lane 0 of its first beat, and queues the beats.

    Accepts one word per cycle: for each beat one word and, where dwords move, one word more at the
    beginning, which completes no beat. The last word may then lie past the payload, and its content
    is not used. The latency is one cycle. The output is not registered.

    Parameters
    ----------
    geometry : Geometry
        Width of the data.
    fields : ShapeLike
        What a beat has beside its payload.
    depth : int
        Beats in the memory, a power of two from 4 to :data:`MAX_DEPTH`. One is for the beat that is
        being filled.

    Attributes
    ----------
    i : In(stream of payload_word)
        Words of each TLP, in order; ``data`` may be late in the cycle. A TLP without payload is one
        word.
    o : Out(stream of payload_beat)
        Beats; ``valid`` is registered.
    level : Out(range(depth))
        Complete beats inside.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or out of range.
    """

    def __init__(self, geometry: Geometry, fields: ShapeLike, *, depth: int):
        if not 4 <= depth <= MAX_DEPTH or depth & (depth - 1):
            raise ValueError(f"depth is {depth}: must be a power of two from 4 to {MAX_DEPTH}")
        self._geometry = geometry
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(payload_word(geometry, fields))),
                "o": Out(stream.Signature(payload_beat(geometry, fields))),
                "level": Out(range(depth)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word, beat = self.i.p, self.o.p
        m.submodules.places = places = RingPlaces(self._depth)
        push = Signal()
        started = Signal()
        write, read = self._add_memory(m, "context", beat.shape()["context"].shape)
        m.d.comb += [
            self.i.ready.eq(places.level != self._depth - 1),
            push.eq(self.i.valid & self.i.ready),
            places.push.eq(push & (word.direct | ~word.first)),
            places.pop.eq(self.o.valid & self.o.ready),
            write.en.eq(places.push),
            write.addr.eq(places.next_place),
            write.data.strb.eq(word.strb | (~word.last).replicate(len(word.strb))),
            write.data.sop.eq(~started),
            write.data.eop.eq(word.last),
            write.data.fields.eq(word.fields),
            read.addr.eq(places.oldest_place),
            beat.context.eq(read.data),
            self.o.valid.eq(places.has_item),
            self.level.eq(places.level),
        ]
        with m.If(places.push):
            m.d.sync += started.eq(~word.last)
        self._add_lanes(m, push, places)
        return m

    def _add_lanes(self, m, push, places):
        """Write each dword to the beat to which it belongs."""
        g, word = self._geometry, self.i.p
        rotated = Signal(g.data_width)
        m.d.comb += rotated.eq(rotate_right_lanes(word.data, word.offset, 32, g.lanes))
        # What completed the only beat is not in the RAM yet.
        only = Signal()
        m.d.sync += only.eq(places.push & places.empties)
        for lane in range(g.lanes):
            # Where dwords move, those from lane `offset` on begin the beat of the next word.
            begins = (word.offset < g.lanes - lane) if lane else Const(1)
            ahead = ~word.direct & ~word.first & begins if lane < g.lanes - 1 else Const(0)
            write, read = self._add_memory(m, f"lane{lane}", 32)
            dword = rotated.word_select(lane, 32)
            place = (places.next_place + ahead)[: len(places.next_place)]
            here = self.o.p.data.word_select(lane, 32)
            m.d.comb += read.addr.eq(places.oldest_place)
            # Two lanes are selected early enough to enter the RAM. More enter a register, and the
            # RAM from there, which takes a lookup table for each bit.
            if g.lanes == 2:
                m.d.comb += [
                    write.en.eq(push),
                    write.addr.eq(place),
                    write.data.eq(dword),
                    here.eq(read.data),
                ]
                continue
            newest = Signal(32, name=f"newest{lane}", reset_less=True)
            newest_place = Signal.like(places.next_place, name=f"newest_place{lane}")
            was_ahead = Signal(name=f"was_ahead{lane}")
            m.d.comb += [
                # Until the next push, the same dword is written again and again.
                write.en.eq(1),
                write.addr.eq(newest_place),
                write.data.eq(newest),
                here.eq(Mux(only & ~was_ahead, newest, read.data)),
            ]
            m.d.sync += was_ahead.eq(ahead)
            with m.If(push):
                m.d.sync += [newest.eq(dword), newest_place.eq(place)]

    def _add_memory(self, m, name, shape):
        """Add the RAM of a part of the beats; returns its ports."""
        m.submodules[name] = part = memory.Memory(
            shape=shape,
            depth=self._depth,
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        return part.write_port(), part.read_port(domain="comb")
