# SPDX-License-Identifier: BSD-2-Clause
"""From AXI write bursts to words of memory: beats of a burst that share a word become one.

Source: AMBA AXI4 (ARM IHI 0022E) sections A3.4.1 (bursts), A3.4.3 (strobes).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .axi import (
    ADDRESS_WIDTH,
    ID_WIDTH,
    PAGE_BITS,
    Address,
    BurstCheck,
    address_channel,
    last_byte,
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
        Channels of :class:`~hdl.dma.axi.AxiSignature`. An address is taken while the burst before
        is still under way.
    room : In(1)
        One more burst may begin.
    reset : In(1)
        The function is being reset: an address that has been taken counts as not served.
    o : Out(stream of written_word)
        Bytes without a strobe are whatever they were.
    begun : Out(1), id : Out(ID_WIDTH)
        A burst begins in this cycle, and its id.
    failing : Out(1)
        The burst that began last is not served, or had a beat whose ``last`` is wrong.
    complete : Out(1)
        In the cycle before the last beat of a burst was taken.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "aw": In(address_channel()),
                "w": In(write_data_channel(geometry.data_width)),
                "room": In(1),
                "reset": In(1),
                "o": Out(stream.Signature(written_word(geometry))),
                "begun": Out(1),
                "id": Out(ID_WIDTH),
                "failing": Out(1),
                "complete": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        word_bits = g.word_bytes.bit_length() - 1
        beat, out = self.w.p, self.o.p

        address = Signal(Address)
        waiting = Signal()
        stale = Signal()
        active = Signal()
        served = Signal()
        word = Signal(ADDRESS_WIDTH - word_bits)
        lowest = Signal(word_bits)
        size = Signal(3)
        beats_left = Signal(8)
        final = Signal()

        m.submodules.check = check = BurstCheck(g.data_width)
        m.d.comb += [
            check.burst.eq(address),
            self.aw.ready.eq(~waiting),
            self.begun.eq(waiting & ~active & self.room),
            self.id.eq(address.id),
        ]
        with m.If(self.reset):
            m.d.sync += stale.eq(1)
        with m.If(self.aw.ready):
            m.d.sync += [waiting.eq(self.aw.valid), address.eq(self.aw.p), stale.eq(self.reset)]
        with m.If(self.begun):
            m.d.sync += [
                waiting.eq(0),
                active.eq(1),
                served.eq(check.served & ~stale),
                Cat(lowest, word).eq(address.addr),
                size.eq(address.size),
                beats_left.eq(address.len),
                final.eq(address.len == 0),
            ]

        # A word is put together where it is on offer when it is complete.
        fresh = Signal(init=1)
        taken = Signal()
        highest = Signal(word_bits)
        word_done = Signal()
        wrong_last = Signal()
        m.d.comb += [
            self.w.ready.eq(active & (~self.o.valid | self.o.ready)),
            taken.eq(self.w.valid & self.w.ready),
            highest.eq(last_byte(lowest, size)),
            word_done.eq(final | highest.all()),
            self.failing.eq((active & ~served) | wrong_last),
        ]
        m.d.sync += [
            self.complete.eq(taken & final),
            wrong_last.eq(taken & (beat.last != final)),
        ]

        # Strobes count only on the lanes that the beat has.
        lanes = Const((1 << g.word_bytes) - 1)
        strobes = Signal(g.word_bytes)
        m.d.comb += strobes.eq(
            beat.strb & (lanes << lowest) & (lanes >> ~highest) & served.replicate(g.word_bytes)
        )
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                lowest.eq(highest + 1),
                beats_left.eq(beats_left - 1),
                final.eq(beats_left == 1),
                active.eq(~final),
                fresh.eq(word_done),
                self.o.valid.eq(word_done),
                out.strb.eq(Mux(fresh, 0, out.strb) | strobes),
                out.word.eq(word),
                out.last.eq(final),
            ]
            # A burst stays within its page.
            in_page = word[: PAGE_BITS - word_bits]
            with m.If(word_done):
                m.d.sync += in_page.eq(in_page + 1)
            for byte in range(g.word_bytes):
                bits = slice(8 * byte, 8 * byte + 8)
                with m.If(strobes[byte]):
                    m.d.sync += out.data[bits].eq(beat.data[bits])
        return m
