# SPDX-License-Identifier: BSD-2-Clause
"""Splits AXI read bursts into memory reads.

A read stays within an aligned block, hence within 4 KiB (PCI Express Base 4.0 sections 2.2.5,
2.2.7, 7.5.3.4). The block has :data:`~hdl.dma.limits.REQUEST_BYTES`, or what
Max_Read_Request_Size allows if that is less.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..departures import former_beat
from ..geometry import Geometry
from ..tlp import header_signature
from .axi import ADDRESS_WIDTH, ID_WIDTH, PAGE_BITS, Address, BurstCheck, address_channel
from .limits import REQUEST_BYTES, TAGS, block_mask
from .span import dwords_beyond_first, span_header

__all__ = ["TAG_BITS", "ExpectedData", "ReadContext", "ReadIssuer"]

TAG_BITS = (TAGS - 1).bit_length()


class ReadContext(data.Struct):
    """How the data of one memory read is returned to AXI.

    Attributes
    ----------
    id : 8 bits
        AXI ID of the burst.
    size : 3 bits
        Size of a beat.
    more : 9 bits
        Beats less one.
    last : 1 bit
        The last beat is the last of its burst.
    offset : 9 bits
        Offset of the first byte in its aligned block of :data:`~hdl.dma.limits.REQUEST_BYTES`.
    """

    id: ID_WIDTH
    size: 3
    more: range(REQUEST_BYTES)
    last: 1
    offset: range(REQUEST_BYTES)


class ExpectedData(data.Struct):
    """Data that an outstanding memory read still waits for.

    Attributes
    ----------
    tail : 2 bits
        Position of the last byte in its dword.
    dwords : 8 bits
        Dwords that are missing.
    offset : 9 bits
        Offset of the next byte, as in :class:`ReadContext`.
    """

    tail: 2
    dwords: range(REQUEST_BYTES // 4 + 1)
    offset: range(REQUEST_BYTES)


class ReadPiece(data.Struct):
    """Part of a burst that becomes one memory read.

    A burst that is not served is a single piece, whose beats count as single bytes from offset 0.

    Attributes
    ----------
    id : 8 bits
        AXI ID of the burst.
    size : 3 bits
        Size of a beat.
    last : 1 bit
        The piece is the last of its burst.
    void : 1 bit
        The piece fails and is not sent.
    final : 9 bits
        Offset of the last byte in its aligned block.
    address : 64 bits
        Address of the first byte.
    """

    id: ID_WIDTH
    size: 3
    last: 1
    void: 1
    final: range(REQUEST_BYTES)
    address: ADDRESS_WIDTH


class ReadIssuer(wiring.Component):
    """Splits each burst into pieces and sends them as memory reads, one every other cycle.

    There are three register stages: the address; the rest of the burst; the piece split off. When
    ``max_read_request_size`` falls, the piece is returned to its burst and split again. Only a read
    that is already valid on ``o`` keeps its size.

    Attributes
    ----------
    ar : In(address_channel())
        AR channel. The next address is accepted while a burst is being split.
    o : Out(header_signature())
        Memory reads. Once valid, a read is never withdrawn.
    reset : In(1)
        The function is being reset: everything accepted before that has not departed fails.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    requester_id : In(16)
        Requester ID of the function.
    max_read_request_size : In(3)
        Encoding of Device Control.
    free : In(1)
        ``tag`` may be allocated.
    tag : In(TAG_BITS)
        The next tag.
    allocate : Out(1)
        One-cycle pulse: ``tag`` is allocated to ``chunk``.
    chunk : Out(ReadContext)
        How to return the data, with ``allocate``.
    awaited : Out(ExpectedData)
        Data to expect, with ``allocate``.
    last_byte : Out(range(REQUEST_BYTES))
        Offset of the last byte of the piece, with ``allocate``.
    failed : Out(1)
        With ``allocate``: the piece fails and no read is sent.
    sent : Out(1)
        One-cycle pulse: a read departed in the cycle before, and its completions count.
    sent_tag : Out(TAG_BITS)
        Tag of that read.
    former : Out(1)
        ``o`` holds a read that was split before ``max_read_request_size`` fell, or that became
        valid before ``reset`` or before bus mastering went off. Valid from the next cycle on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "ar": In(address_channel()),
                "o": Out(header_signature()),
                "reset": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "max_read_request_size": In(3),
                "free": In(1),
                "tag": In(TAG_BITS),
                "allocate": Out(1),
                "chunk": Out(ReadContext),
                "awaited": Out(ExpectedData),
                "last_byte": Out(range(REQUEST_BYTES)),
                "failed": Out(1),
                "sent": Out(1),
                "sent_tag": Out(TAG_BITS),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        block_bits = (REQUEST_BYTES - 1).bit_length()

        address = Signal(Address)
        waiting = Signal()
        stale = Signal()
        active = Signal()
        served = Signal()
        void = Signal()
        page = Signal(ADDRESS_WIDTH - PAGE_BITS)
        start = Signal(PAGE_BITS)
        final = Signal(PAGE_BITS)
        length = Signal.like(address.len)
        identifier = Signal(ID_WIDTH)
        size = Signal(3)
        m.submodules.check = check = BurstCheck(g.data_width)
        m.d.comb += [check.burst.eq(address), self.ar.ready.eq(~waiting)]
        with m.If(self.reset):
            m.d.sync += [stale.eq(1), void.eq(1)]
        with m.If(self.ar.ready):
            m.d.sync += [waiting.eq(self.ar.valid), address.eq(self.ar.p), stale.eq(self.reset)]
        # The burst stays until its last piece has left, as the piece may be split again.
        cut_valid = Signal()
        with m.If(waiting & ~active & (~cut_valid | self.allocate)):
            m.d.sync += [
                waiting.eq(0),
                active.eq(1),
                served.eq(check.served),
                void.eq(stale | self.reset),
                Cat(start, page).eq(address.addr),
                final.eq(check.final),
                length.eq(address.len),
                identifier.eq(address.id),
                size.eq(address.size),
            ]

        cut = Signal(ReadPiece)
        mask = Signal(block_bits)
        next_mask = Signal(block_bits)
        fell = Signal()
        block_end = Signal(PAGE_BITS)
        last = Signal()
        m.d.comb += [
            next_mask.eq(block_mask(self.max_read_request_size)),
            block_end.eq(start | mask),
            last.eq(~served | (block_end == (final | mask))),
        ]
        m.d.sync += [mask.eq(next_mask), fell.eq((mask & ~next_mask).any())]
        with m.If(self.reset):
            m.d.sync += cut.void.eq(1)
        with m.If(active & ~cut_valid):
            m.d.sync += [
                cut_valid.eq(1),
                cut.id.eq(identifier),
                cut.size.eq(Mux(served, size, 0)),
                cut.last.eq(last),
                cut.void.eq(~served | void | self.reset),
                cut.final.eq(Mux(served, Mux(last, final, block_end)[:block_bits], length)),
                cut.address.eq(Cat(start, page)),
                start.eq(block_end + 1),
                active.eq(~last),
            ]
            with m.If(~served):
                m.d.sync += cut.address[:block_bits].eq(0)
        # The size of a piece that fails does not matter, as it is not sent.
        with m.If(fell & cut_valid & ~cut.void):
            m.d.sync += [cut_valid.eq(0), start.eq(cut.address[:PAGE_BITS]), active.eq(1)]

        offset = cut.address[:block_bits]
        more = dwords_beyond_first(offset, cut.final)
        tail = cut.final[:2]
        # Registered: a read that becomes valid in the first cycle of a reset counts as one that was
        # valid before it.
        dead = Signal(init=1)
        m.d.sync += dead.eq(self.reset | ~self.bus_master_enable)
        fails = cut.void | dead
        m.d.comb += [
            self.chunk.id.eq(cut.id),
            self.chunk.size.eq(cut.size),
            self.chunk.more.eq((cut.final >> cut.size) - (offset >> cut.size)),
            self.chunk.last.eq(cut.last),
            self.chunk.offset.eq(offset),
            self.awaited.offset.eq(offset),
            self.awaited.dwords.eq(more + 1),
            self.awaited.tail.eq(tail),
            self.last_byte.eq(cut.final),
            self.failed.eq(fails | self.reset),
            self.allocate.eq(cut_valid & self.free & (fails | ~self.o.valid) & ~fell),
        ]

        tag = Signal(TAG_BITS)
        recalled = Signal()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.reset):
            m.d.sync += recalled.eq(1)
        with m.If(self.allocate):
            m.d.sync += cut_valid.eq(0)
            with m.If(~fails):
                m.d.sync += [
                    self.o.valid.eq(1),
                    recalled.eq(self.reset),
                    tag.eq(self.tag),
                    self.o.p.hdr.eq(
                        span_header(
                            address=cut.address,
                            more=more,
                            tail=tail,
                            requester_id=self.requester_id,
                            tag=self.tag,
                            write=False,
                            force_64_bit_addresses=g.block.force_64_bit_addresses,
                        )
                    ),
                ]
        m.d.comb += [
            self.o.p.sop.eq(1),
            self.o.p.eop.eq(1),
            self.former.eq(former_beat(m, self.o, fell | dead)),
        ]
        m.d.sync += [
            self.sent.eq(self.o.valid & self.o.ready & ~recalled & ~self.reset),
            self.sent_tag.eq(tag),
        ]
        return m
