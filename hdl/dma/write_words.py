# SPDX-License-Identifier: BSD-2-Clause
"""From AXI write bursts to words of memory: beats of a burst that share a word become one.

Source: AMBA AXI4 (ARM IHI 0022E) sections A3.4.1 (bursts), A3.4.3 (strobes).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from .axi import (
    ADDRESS_WIDTH,
    ID_WIDTH,
    PAGE_BITS,
    BurstCheck,
    address_channel,
    last_byte,
    next_beat,
    write_data_channel,
)

__all__ = ["WriteCollector", "written_word"]


def written_word(geometry: Geometry) -> data.StructLayout:
    """A word that a burst writes: ``data`` under the byte strobes ``strb`` at word address
    ``word``; ``last`` of its burst."""
    word_bits = geometry.word_bytes.bit_length() - 1
    return data.StructLayout(
        {
            "data": geometry.data_width,
            "strb": geometry.word_bytes,
            "word": ADDRESS_WIDTH - word_bits,
            "last": 1,
        }
    )


class WriteCollector(wiring.Component):
    """Takes write bursts one after another and passes on the words that they write.

    A burst that the window does not serve is taken whole and makes words without strobes.

    Attributes
    ----------
    aw, w : In
        Channels of :class:`~hdl.dma.axi.AxiSignature`.
    room : In(1)
        One more burst may begin.
    o : Out(stream of written_word)
    begun : Out(1), id : Out(ID_WIDTH), refused : Out(1)
        A burst begins in this cycle; its id, and whether it is not served.
    complete : Out(1)
        In this cycle the last beat of a burst is taken.
    malformed : Out(1)
        In this cycle a beat of the burst under way is taken whose ``last`` is wrong.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "aw": In(address_channel()),
                "w": In(write_data_channel(geometry.data_width)),
                "room": In(1),
                "o": Out(stream.Signature(written_word(geometry))),
                "begun": Out(1),
                "id": Out(ID_WIDTH),
                "refused": Out(1),
                "complete": Out(1),
                "malformed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        word_bits = g.word_bytes.bit_length() - 1
        address, beat, out = self.aw.p, self.w.p, self.o.p
        m.submodules.check = check = BurstCheck(g.data_width)

        active = Signal()
        served = Signal()
        page = Signal(ADDRESS_WIDTH - PAGE_BITS)
        in_page = Signal(PAGE_BITS)
        size = Signal(3)
        beats_left = Signal(8)

        m.d.comb += [
            check.burst.eq(address),
            self.aw.ready.eq(~active & self.room),
            self.begun.eq(self.aw.valid & self.aw.ready),
            self.id.eq(address.id),
            self.refused.eq(~check.served),
        ]
        with m.If(self.begun):
            m.d.sync += [
                active.eq(1),
                served.eq(check.served),
                page.eq(address.addr[PAGE_BITS:]),
                in_page.eq(address.addr[:PAGE_BITS]),
                size.eq(address.size),
                beats_left.eq(address.len),
            ]

        can_load = ~self.o.valid | self.o.ready
        taken = Signal()
        last = beats_left == 0
        after = Signal(PAGE_BITS)
        word_done = Signal()
        m.d.comb += [
            self.w.ready.eq(active & can_load),
            taken.eq(self.w.valid & self.w.ready),
            after.eq(next_beat(in_page, size)),
            word_done.eq(last | (after[word_bits:] != in_page[word_bits:])),
            self.complete.eq(taken & last),
            self.malformed.eq(taken & (beat.last != last)),
        ]

        # Strobes count only on the lanes that the beat has.
        lowest, highest = in_page[:word_bits], last_byte(in_page[:word_bits], size)
        from_lowest = (Const(-1, g.word_bytes) << lowest)[: g.word_bytes]
        to_highest = ((Const(2, 2) << highest) - 1)[: g.word_bytes]
        strobes = Signal(g.word_bytes)
        m.d.comb += strobes.eq(Mux(served, beat.strb & from_lowest & to_highest, 0))

        held_data = Signal(g.data_width)
        held_strb = Signal(g.word_bytes)
        merged = Signal(g.data_width)
        m.d.comb += merged.eq(_merge(held_data, beat.data, strobes))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                in_page.eq(after),
                beats_left.eq(beats_left - 1),
                active.eq(~last),
                held_data.eq(merged),
                held_strb.eq(Mux(word_done, 0, held_strb | strobes)),
            ]
            with m.If(word_done):
                m.d.sync += [
                    self.o.valid.eq(1),
                    out.data.eq(merged),
                    out.strb.eq(held_strb | strobes),
                    out.word.eq(Cat(in_page, page)[word_bits:]),
                    out.last.eq(last),
                ]
        return m


def _merge(before: Value, new: Value, strobes: Value) -> Value:
    """``before`` with the bytes of ``new`` that ``strobes`` select."""
    return Cat(
        Mux(strobes[byte], new[8 * byte : 8 * byte + 8], before[8 * byte : 8 * byte + 8])
        for byte in range(len(strobes))
    )
