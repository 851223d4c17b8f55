# SPDX-License-Identifier: BSD-2-Clause
"""AXI read bursts to memory reads.

A read stays within :data:`~hdl.dma.limits.REQUEST_BYTES` and what Max_Read_Request_Size allows, and
ends at a multiple of the smaller of the two, hence at 4 KiB too (PCI Express Base 4.0 sections
2.2.5, 2.2.7, 7.5.3.4).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from ..tlp import header_signature, memory_header
from .axi import ADDRESS_WIDTH, ID_WIDTH, PAGE_BITS, BurstCheck, address_channel, within_beat
from .limits import REQUEST_BYTES, TAGS, limited_dwords

__all__ = ["TAG_BITS", "Chunk", "ReadIssuer"]

TAG_BITS = (TAGS - 1).bit_length()


class Chunk(data.Struct):
    """What one memory read is to bring, and how it goes to AXI.

    ``offset``: the first byte's place in its aligned block of
    :data:`~hdl.dma.limits.REQUEST_BYTES`; ``bytes`` of the read, 0 for one that is not sent;
    ``id``, ``size``, ``beats`` of the AXI transfer; ``last``: its last beat is the burst's.
    """

    id: ID_WIDTH
    size: 3
    beats: 9
    last: 1
    offset: range(REQUEST_BYTES)
    bytes: range(REQUEST_BYTES + 1)


class ReadIssuer(wiring.Component):
    """Cuts each burst into reads and sends them, one a cycle.

    Attributes
    ----------
    ar : In(address_channel())
    o : Out(header_signature())
        Memory reads. One is given up no more once it is valid.
    reset : In(1)
        The function is being reset: what is left of the burst fails.
    bus_master_enable : In(1), requester_id : In(16), max_read_request_size : In(3)
        From configuration space.
    free : In(1), tag : In(TAG_BITS)
        A tag is free, and which one.
    allocate : Out(1), chunk : Out(Chunk), failed : Out(1)
        ``tag`` is used for ``chunk`` from now on; ``failed``: nothing is sent for it.
    sent : Out(1), sent_tag : Out(TAG_BITS)
        A read leaves in this cycle.
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
                "chunk": Out(Chunk),
                "failed": Out(1),
                "sent": Out(1),
                "sent_tag": Out(TAG_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        address = self.ar.p
        m.submodules.check = check = BurstCheck(g.data_width)

        active = Signal()
        served = Signal()
        void = Signal()
        page = Signal(ADDRESS_WIDTH - PAGE_BITS)
        start = Signal(PAGE_BITS)
        end = Signal(PAGE_BITS + 1)
        identifier = Signal(ID_WIDTH)
        size = Signal(3)
        beats = Signal(9)
        m.d.comb += [check.burst.eq(address), self.ar.ready.eq(~active)]
        with m.If(self.ar.valid & self.ar.ready):
            m.d.sync += [
                active.eq(1),
                served.eq(check.served),
                void.eq(0),
                page.eq(address.addr[PAGE_BITS:]),
                start.eq(address.addr[:PAGE_BITS]),
                end.eq(check.end),
                identifier.eq(address.id),
                size.eq(address.size),
                beats.eq(address.len + 1),
            ]

        limit = Signal(PAGE_BITS)
        boundary = Signal(PAGE_BITS + 1)
        stop = Signal(PAGE_BITS + 1)
        count = Signal(range(REQUEST_BYTES + 1))
        last = Signal()
        m.d.comb += [
            limit.eq(limited_dwords(self.max_read_request_size) << 2),
            boundary.eq((start | (limit - 1)[:PAGE_BITS]) + 1),
            stop.eq(Mux(end < boundary, end, boundary)),
            count.eq(stop - start),
            last.eq(~served | (stop == end)),
        ]
        # An unaligned first beat ends where an aligned one would.
        first_aligned = start & ~within_beat(size, PAGE_BITS)
        chunk = self.chunk
        fails = ~served | void | self.reset | ~self.bus_master_enable
        can_load = ~self.o.valid | self.o.ready
        m.d.comb += [
            chunk.id.eq(identifier),
            chunk.size.eq(size),
            chunk.beats.eq(Mux(served, (stop - first_aligned)[: PAGE_BITS + 1] >> size, beats)),
            chunk.last.eq(last),
            chunk.offset.eq(start),
            chunk.bytes.eq(count),
            self.failed.eq(fails),
            self.allocate.eq(active & self.free & (fails | can_load)),
        ]

        lead = start[:2]
        # Bytes of the last dword that are asked for; 0 stands for all of them.
        tail = stop[:2]
        dwords = (lead + count + 3) >> 2
        first_be = (Const(0xF, 4) << lead)[:4]
        last_be = Mux(tail == 0, 0xF, ~(Const(0xF, 4) << tail)[:4])[:4]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.allocate):
            m.d.sync += [
                start.eq(stop),
                active.eq(~last),
                void.eq(void | self.reset),
            ]
            with m.If(~fails):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.sent_tag.eq(self.tag),
                    self.o.p.hdr.eq(
                        memory_header(
                            address=Cat(start, page)[2:],
                            length=dwords,
                            first_be=Mux(dwords == 1, first_be & last_be, first_be),
                            last_be=Mux(dwords == 1, 0, last_be),
                            requester_id=self.requester_id,
                            tag=self.tag,
                            write=False,
                        )
                    ),
                ]
        with m.Elif(active & self.reset):
            m.d.sync += void.eq(1)
        m.d.comb += [
            self.o.p.sop.eq(1),
            self.o.p.eop.eq(1),
            self.sent.eq(self.o.valid & self.o.ready),
        ]
        return m
