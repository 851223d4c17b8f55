# SPDX-License-Identifier: BSD-2-Clause
"""Collects the beats of AXI write bursts into words: beats that share a word are merged.

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
    """Word that a burst writes.

    ``data`` and its byte strobes ``strb``, the word address ``word``, and ``last`` of its burst.
    """
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
    """Accepts one write burst after another and emits the words that it writes.

    A burst that the window does not serve is accepted whole and emits words without strobes.

    Attributes
    ----------
    aw : In(address_channel())
        AW channel. The next address is accepted while a burst is in progress.
    w : In(write_data_channel(data_width))
        W channel.
    has_space : In(1)
        One more burst may begin.
    reset : In(1)
        The function is being reset: a burst whose address was accepted, but that has not begun, is
        not served.
    o : Out(stream of written_word)
        Words. Bytes without a strobe are undefined.
    begun : Out(1)
        One-cycle pulse: a burst begins.
    id : Out(ID_WIDTH)
        Its AXI ID.
    failing : Out(1)
        The burst that began last is not served, or a beat of it had a wrong ``last``.
    complete : Out(1)
        One-cycle pulse: the last beat of a burst was accepted in the cycle before.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "aw": In(address_channel()),
                "w": In(write_data_channel(geometry.data_width)),
                "has_space": In(1),
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

        request = Signal(Address)
        request_valid = Signal()
        request_aborted = Signal()
        burst_valid = Signal()
        served = Signal()
        word = Signal(ADDRESS_WIDTH - word_bits)
        lowest = Signal(word_bits)
        size = Signal(3)
        beats_m1 = Signal(8)
        is_last = Signal()

        m.submodules.check = check = BurstCheck(g.data_width)
        m.d.comb += [
            check.burst.eq(request),
            self.aw.ready.eq(~request_valid),
            self.begun.eq(request_valid & ~burst_valid & self.has_space),
            self.id.eq(request.id),
        ]
        with m.If(self.reset):
            m.d.sync += request_aborted.eq(1)
        with m.If(self.aw.ready):
            m.d.sync += [
                request_valid.eq(self.aw.valid),
                request.eq(self.aw.p),
                request_aborted.eq(self.reset),
            ]

        # Words are assembled in the output register itself; `valid` rises when the word is
        # complete.
        word_empty = Signal(init=1)
        accept = Signal()
        highest = Signal(word_bits)
        word_done = Signal()
        wrong_last = Signal()
        m.d.comb += [
            self.w.ready.eq(burst_valid & (~self.o.valid | self.o.ready)),
            accept.eq(self.w.valid & self.w.ready),
            highest.eq(last_byte(lowest, size)),
            word_done.eq(is_last | highest.all()),
            self.failing.eq((burst_valid & ~served) | wrong_last),
        ]
        m.d.sync += [
            self.complete.eq(accept & is_last),
            wrong_last.eq(accept & (beat.last != is_last)),
        ]

        # Strobes outside the lanes of the beat are ignored.
        lanes = Const((1 << g.word_bytes) - 1)
        strobes = Signal(g.word_bytes)
        m.d.comb += strobes.eq(
            beat.strb & (lanes << lowest) & (lanes >> ~highest) & served.replicate(g.word_bytes)
        )
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        # Whether a burst begins is late: until it does, its address is loaded again and again.
        with m.If(self.begun):
            m.d.sync += [request_valid.eq(0), burst_valid.eq(1)]
        with m.If(~burst_valid):
            m.d.sync += [
                served.eq(check.served & ~request_aborted),
                Cat(lowest, word).eq(request.addr),
                size.eq(request.size),
                beats_m1.eq(request.len),
                is_last.eq(request.len == 0),
            ]
        with m.Elif(accept):
            m.d.sync += [
                lowest.eq(highest + 1),
                beats_m1.eq(beats_m1 - 1),
                is_last.eq(beats_m1 == 1),
                burst_valid.eq(~is_last),
                word_empty.eq(word_done),
                self.o.valid.eq(word_done),
                out.strb.eq(Mux(word_empty, 0, out.strb) | strobes),
                out.word.eq(word),
                out.last.eq(is_last),
            ]
            # A burst stays within its page: increment only the address bits within the page.
            in_page = word[: PAGE_BITS - word_bits]
            with m.If(word_done):
                m.d.sync += in_page.eq(in_page + 1)
            for byte in range(g.word_bytes):
                bits = slice(8 * byte, 8 * byte + 8)
                with m.If(strobes[byte]):
                    m.d.sync += out.data[bits].eq(beat.data[bits])
        return m
