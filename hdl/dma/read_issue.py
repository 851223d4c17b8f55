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
from .span import span_header, span_length_m1

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
    beats_m1 : 9 bits
        Beats less one.
    last : 1 bit
        The last beat is the last of its burst.
    offset : 9 bits
        Offset of the first byte in its aligned block of :data:`~hdl.dma.limits.REQUEST_BYTES`.
    """

    id: ID_WIDTH
    size: 3
    beats_m1: range(REQUEST_BYTES)
    last: 1
    offset: range(REQUEST_BYTES)


class ExpectedData(data.Struct):
    """Data that an outstanding memory read still waits for.

    Attributes
    ----------
    last_byte : 2 bits
        Position of the last byte in its dword.
    dwords : 8 bits
        Dwords that are missing.
    offset : 9 bits
        Offset of the next byte, as in :class:`ReadContext`.
    """

    last_byte: 2
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
    abort : 1 bit
        The piece fails and is not sent.
    last_offset : 9 bits
        Offset of the last byte in its aligned block.
    address : 64 bits
        Address of the first byte.
    """

    id: ID_WIDTH
    size: 3
    last: 1
    abort: 1
    last_offset: range(REQUEST_BYTES)
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
    tag_free : In(1)
        ``tag`` may be allocated.
    tag : In(TAG_BITS)
        The next tag.
    allocate : Out(1)
        One-cycle pulse: ``tag`` is allocated to ``context``.
    context : Out(ReadContext)
        How to return the data, with ``allocate``.
    expected : Out(ExpectedData)
        Data to expect, with ``allocate``.
    last_offset : Out(range(REQUEST_BYTES))
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
                "tag_free": In(1),
                "tag": In(TAG_BITS),
                "allocate": Out(1),
                "context": Out(ReadContext),
                "expected": Out(ExpectedData),
                "last_offset": Out(range(REQUEST_BYTES)),
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

        request = Signal(Address)
        request_valid = Signal()
        request_aborts = Signal()
        burst_valid = Signal()
        served = Signal()
        burst_aborts = Signal()
        page = Signal(ADDRESS_WIDTH - PAGE_BITS)
        start = Signal(PAGE_BITS)
        last_addr = Signal(PAGE_BITS)
        beats_m1 = Signal.like(request.len)
        axi_id = Signal(ID_WIDTH)
        size = Signal(3)
        m.submodules.check = check = BurstCheck(g.data_width)
        m.d.comb += [check.burst.eq(request), self.ar.ready.eq(~request_valid)]
        with m.If(self.reset):
            m.d.sync += [request_aborts.eq(1), burst_aborts.eq(1)]
        with m.If(self.ar.ready):
            m.d.sync += [
                request_valid.eq(self.ar.valid),
                request.eq(self.ar.p),
                request_aborts.eq(self.reset),
            ]
        # The burst stays until its last piece has left, as the piece may be split again.
        piece_valid = Signal()
        with m.If(request_valid & ~burst_valid & (~piece_valid | self.allocate)):
            m.d.sync += [
                request_valid.eq(0),
                burst_valid.eq(1),
                served.eq(check.served),
                burst_aborts.eq(request_aborts | self.reset),
                Cat(start, page).eq(request.addr),
                last_addr.eq(check.last_addr),
                beats_m1.eq(request.len),
                axi_id.eq(request.id),
                size.eq(request.size),
            ]

        piece = Signal(ReadPiece)
        mask = Signal(block_bits)
        next_mask = Signal(block_bits)
        fell = Signal()
        block_end = Signal(PAGE_BITS)
        is_last = Signal()
        m.d.comb += [
            next_mask.eq(block_mask(self.max_read_request_size)),
            block_end.eq(start | mask),
            is_last.eq(~served | (block_end == (last_addr | mask))),
        ]
        m.d.sync += [mask.eq(next_mask), fell.eq((mask & ~next_mask).any())]
        with m.If(self.reset):
            m.d.sync += piece.abort.eq(1)
        with m.If(burst_valid & ~piece_valid):
            m.d.sync += [
                piece_valid.eq(1),
                piece.id.eq(axi_id),
                piece.size.eq(Mux(served, size, 0)),
                piece.last.eq(is_last),
                piece.abort.eq(~served | burst_aborts | self.reset),
                piece.last_offset.eq(
                    Mux(served, Mux(is_last, last_addr, block_end)[:block_bits], beats_m1)
                ),
                piece.address.eq(Cat(start, page)),
                start.eq(block_end + 1),
                burst_valid.eq(~is_last),
            ]
            with m.If(~served):
                m.d.sync += piece.address[:block_bits].eq(0)
        # The size of a piece that fails does not matter, as it is not sent.
        with m.If(fell & piece_valid & ~piece.abort):
            m.d.sync += [piece_valid.eq(0), start.eq(piece.address[:PAGE_BITS]), burst_valid.eq(1)]

        offset = piece.address[:block_bits]
        length_m1 = span_length_m1(offset, piece.last_offset)
        last_byte = piece.last_offset[:2]
        # Registered: a read that becomes valid in the first cycle of a reset counts as one that was
        # valid before it.
        stopped_q = Signal(init=1)
        m.d.sync += stopped_q.eq(self.reset | ~self.bus_master_enable)
        aborts = piece.abort | stopped_q
        m.d.comb += [
            self.context.id.eq(piece.id),
            self.context.size.eq(piece.size),
            self.context.beats_m1.eq((piece.last_offset >> piece.size) - (offset >> piece.size)),
            self.context.last.eq(piece.last),
            self.context.offset.eq(offset),
            self.expected.offset.eq(offset),
            self.expected.dwords.eq(length_m1 + 1),
            self.expected.last_byte.eq(last_byte),
            self.last_offset.eq(piece.last_offset),
            self.failed.eq(aborts | self.reset),
            self.allocate.eq(piece_valid & self.tag_free & (aborts | ~self.o.valid) & ~fell),
        ]

        issued_tag = Signal(TAG_BITS)
        issued_aborts = Signal()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.reset):
            m.d.sync += issued_aborts.eq(1)
        with m.If(self.allocate):
            m.d.sync += piece_valid.eq(0)
            with m.If(~aborts):
                m.d.sync += [
                    self.o.valid.eq(1),
                    issued_aborts.eq(self.reset),
                    issued_tag.eq(self.tag),
                    self.o.p.hdr.eq(
                        span_header(
                            address=piece.address,
                            length_m1=length_m1,
                            last_byte=last_byte,
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
            self.former.eq(former_beat(m, self.o, fell | stopped_q)),
        ]
        m.d.sync += [
            self.sent.eq(self.o.valid & self.o.ready & ~issued_aborts & ~self.reset),
            self.sent_tag.eq(issued_tag),
        ]
        return m
