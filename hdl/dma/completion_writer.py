# SPDX-License-Identifier: BSD-2-Clause
"""Writes the payload of completions to the read buffer, each dword to its lane."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..lanes import rotate_left_lanes
from .limits import REQUEST_BYTES
from .read_interfaces import TAG_BITS, BufferWrite

__all__ = ["CompletionWriter", "payload_beat"]

DWORD_OFFSETS = range(REQUEST_BYTES // 4)


def payload_beat(geometry: Geometry) -> data.StructLayout:
    """Beat of payload.

    ``store``: write it; ``first``: it is the first of its completion, at dword ``offset`` of the
    buffer of its tag; ``data`` and its dwords ``strb``.
    """
    return data.StructLayout(
        {
            "store": 1,
            "first": 1,
            "offset": DWORD_OFFSETS,
            "data": geometry.data_width,
            "strb": geometry.lanes,
        }
    )


class CompletionWriter(wiring.Component):
    """Rotates each beat to the lanes of the buffer; one register stage.

    Attributes
    ----------
    i : In(stream of payload_beat), always ready
        Beats.
    tag : In(TAG_BITS)
        Tag of the beat that was on ``i`` in the cycle before.
    buffer : Out(BufferWrite(geometry))
        Write port of the buffer.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(payload_beat(geometry), always_ready=True)),
                "tag": In(TAG_BITS),
                "buffer": Out(BufferWrite(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, lane_bits = self._geometry.lanes, self._geometry.lane_bits
        beat = self.i.p
        store_q = Signal()
        data_q = Signal.like(beat.data)
        strb_q = Signal(lanes)
        offset = Signal(DWORD_OFFSETS)
        m.d.sync += [store_q.eq(beat.store), data_q.eq(beat.data), strb_q.eq(beat.strb)]
        with m.If(self.i.valid):
            m.d.sync += offset.eq(Mux(beat.first, beat.offset, offset + lanes))
        first_lane, word = offset[:lane_bits], offset[lane_bits:]
        m.d.comb += self.buffer.data.eq(rotate_left_lanes(data_q, first_lane, 32, lanes))
        with m.If(store_q):
            m.d.comb += self.buffer.enable.eq(rotate_left_lanes(strb_q, first_lane, 1, lanes))
        for lane in range(lanes):
            # Dwords that pass the top lane go to the next word.
            wraps = first_lane > lane if lane < lanes - 1 else Const(0)
            m.d.comb += self.buffer.address[lane].eq(Cat((word + wraps)[: len(word)], self.tag))
        return m
