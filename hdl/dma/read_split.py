# SPDX-License-Identifier: BSD-2-Clause
"""Splits AXI read bursts into pieces, each of which is one memory read.

A piece stays within an aligned block, hence within 4 KiB (PCI Express Base 4.0 sections 2.2.5,
2.2.7, 7.5.3.4). The block has :data:`~hdl.dma.limits.REQUEST_BYTES`, or what
Max_Read_Request_Size allows if that is less.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .axi import ADDRESS_WIDTH, ID_WIDTH, PAGE_BITS, Address, BurstCheck, address_channel
from .limits import REQUEST_BYTES, block_mask

__all__ = ["ReadPiece", "ReadSplitter"]


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


class ReadSplitter(wiring.Component):
    """Splits one burst after another, a piece every other cycle.

    There are three register stages: the address; the rest of the burst; the piece split off. When
    ``max_read_request_size`` falls, the piece is returned to its burst and split again.

    Attributes
    ----------
    ar : In(address_channel())
        AR channel. The next address is accepted while a burst is being split.
    reset : In(1)
        The function is being reset: the pieces of every burst accepted before fail.
    max_read_request_size : In(3)
        Encoding of Device Control.
    piece : Out(ReadPiece)
        The next piece.
    piece_valid : Out(1)
        There is a piece.
    fell : Out(1)
        One-cycle pulse: ``max_read_request_size`` fell in the cycle before. The piece must not be
        accepted in this cycle, as it may be too long.
    accept : In(1)
        One-cycle pulse: the piece is accepted.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "ar": In(address_channel()),
                "reset": In(1),
                "max_read_request_size": In(3),
                "piece": Out(ReadPiece),
                "piece_valid": Out(1),
                "fell": Out(1),
                "accept": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        block_bits = (REQUEST_BYTES - 1).bit_length()
        piece, piece_valid, fell = self.piece, self.piece_valid, self.fell

        request = Signal(Address)
        request_valid = Signal()
        request_aborted = Signal()
        burst_valid = Signal()
        served = Signal()
        burst_aborted = Signal()
        page = Signal(ADDRESS_WIDTH - PAGE_BITS)
        start = Signal(PAGE_BITS)
        last_addr = Signal(PAGE_BITS)
        beats_m1 = Signal.like(request.len)
        axi_id = Signal(ID_WIDTH)
        size = Signal(3)
        m.submodules.check = check = BurstCheck(self._geometry.data_width)
        m.d.comb += [check.burst.eq(request), self.ar.ready.eq(~request_valid)]
        with m.If(self.reset):
            m.d.sync += [request_aborted.eq(1), burst_aborted.eq(1)]
        with m.If(self.ar.ready):
            m.d.sync += [
                request_valid.eq(self.ar.valid),
                request.eq(self.ar.p),
                request_aborted.eq(self.reset),
            ]
        # The burst stays until its last piece has left, as the piece may be split again.
        with m.If(request_valid & ~burst_valid & (~piece_valid | self.accept)):
            m.d.sync += [
                request_valid.eq(0),
                burst_valid.eq(1),
                served.eq(check.served),
                burst_aborted.eq(request_aborted | self.reset),
                Cat(start, page).eq(request.addr),
                last_addr.eq(check.last_addr),
                beats_m1.eq(request.len),
                axi_id.eq(request.id),
                size.eq(request.size),
            ]

        mask = Signal(block_bits)
        next_mask = Signal(block_bits)
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
                piece.abort.eq(~served | burst_aborted | self.reset),
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
        with m.If(self.accept):
            m.d.sync += piece_valid.eq(0)
        return m
