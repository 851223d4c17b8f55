# SPDX-License-Identifier: BSD-2-Clause
"""Completion planner: the request queue, with the size of each request's first completion.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; splits, section 2.3.1.1.
"""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..fifo import RingPlaces
from ..geometry import Geometry
from ..requests import BLOCK_BITS, ReadRequest
from ..tlp import CompletionStatus

__all__ = ["REQUEST_DEPTH", "CompletionPlan", "CompletionPlanner", "first_byte"]

REQUEST_DEPTH = 16
"""Depth of the request queue: requests that wait while completions stall, so that posted writes
behind them can pass. One lookup-table RAM holds as many."""


def first_byte(first_be: Value) -> Value:
    """Address bits 1:0 of the first enabled byte; 0 if no byte is enabled (table 2-39)."""
    return Mux(first_be[0] | ~first_be.any(), 0, Mux(first_be[1], 1, Mux(first_be[2], 2, 3)))


def bytes_after(last_be: Value) -> Value:
    """Bytes of the last dword after the last enabled one (table 2-38)."""
    return Mux(last_be[3], 0, Mux(last_be[2], 1, Mux(last_be[1], 2, 3)))


class CompletionPlan(data.StructLayout):
    """A request and its first completion.

    ``extent``: dwords of the completion beyond the first; ``single``: the completion lies in one
    word; ``pair``: otherwise, it lies in two words, or makes two beats; ``whole``: it is the only
    completion; ``sole``: ``single`` and ``whole``. ``skipped``: bytes of the first dword before the
    first enabled one; ``after``: bytes of the last dword after the last enabled one; ``tail``: the
    byte count less four times ``length_m1`` (table 2-38). A dword without enabled bytes counts as
    if byte 0 were enabled, so a zero-length read has one byte.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "request": ReadRequest(geometry),
                "extent": 10,
                "single": 1,
                "whole": 1,
                "sole": 1,
                "pair": 1,
                "skipped": 2,
                "after": 2,
                "tail": signed(4),
            }
        )


class CompletionPlanner(wiring.Component):
    """Plans one request per cycle and queues :data:`REQUEST_DEPTH` of them.

    Attributes
    ----------
    i : In(stream of ReadRequest)
        Requests.
    o : Out(stream of CompletionPlan)
        The same requests with their plans.
    mask : In(10)
        Dwords of the largest payload, less one.
    block : In(len(BLOCK_BITS))
        Dwords of the largest payload, one-hot, from the smallest block size up.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(ReadRequest(geometry))),
                "o": Out(stream.Signature(CompletionPlan(geometry))),
                "mask": In(10),
                "block": In(len(BLOCK_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        layout = CompletionPlan(g)
        m.submodules.places = places = RingPlaces(REQUEST_DEPTH)
        write, read = self._add_memory(m, "plans", layout)
        plan = Signal(layout)
        request = self.i.p
        success = request.status == CompletionStatus.SUCCESS
        offset = request.address[: g.lane_bits]
        last_be = Mux(request.length_m1 == 0, request.first_be, request.last_be)
        # Dwords from the first one to the end of its block, less one.
        to_boundary = Signal(10)
        splits = Signal()
        single = Signal()
        whole = Signal()
        skipped = Signal(2)
        after = Signal(2)
        m.d.comb += [
            skipped.eq(first_byte(request.first_be)),
            after.eq(bytes_after(last_be)),
            to_boundary.eq(~request.address[:10] & self.mask),
            splits.eq(
                (request.length_m1 & ~self.mask).any() | (request.crosses & self.block).any()
            ),
            plan.request.eq(request),
            plan.extent.eq(Mux(splits, to_boundary, request.length_m1)),
            single.eq(
                ~success
                | Mux(
                    splits,
                    to_boundary[g.lane_bits :] == 0,
                    (request.length_m1[g.lane_bits :] == 0)
                    & (offset + request.length_m1[: g.lane_bits] < g.lanes),
                )
            ),
            whole.eq(~success | ~splits),
            plan.single.eq(single),
            plan.pair.eq(
                Mux(
                    splits,
                    to_boundary[g.lane_bits :] == (offset == 0),
                    request.length_m1[g.lane_bits :] == (offset == 0),
                )
            ),
            plan.whole.eq(whole),
            plan.sole.eq(single & whole),
            plan.skipped.eq(skipped),
            plan.after.eq(after),
            plan.tail.eq(4 - skipped - after),
            places.push.eq(self.i.valid & self.i.ready),
            places.pop.eq(self.o.valid & self.o.ready),
            write.en.eq(places.push),
            write.addr.eq(places.next_place),
            write.data.eq(plan),
            read.addr.eq(places.oldest_place),
            self.o.valid.eq(places.has_item),
            self.o.p.eq(read.data),
            self.o.p.request.address.eq(self._first_address(m, places)),
        ]
        # Leave space for the request of this cycle, which `level` does not count yet.
        m.d.sync += self.i.ready.eq(places.level <= REQUEST_DEPTH - 2)
        return m

    def _first_address(self, m, places):
        """The address of the request at the output of the queue.

        It has a register of its own, because the output of the queue is late and the way to the
        block RAMs is long.
        """
        address = self.i.p.address
        write, second = self._add_memory(m, "addresses", len(address))
        first = Signal.like(address)
        second_place = Signal(range(REQUEST_DEPTH), init=1)
        m.d.comb += [
            write.en.eq(places.push),
            write.addr.eq(places.next_place),
            write.data.eq(address),
            second.addr.eq(second_place),
        ]
        with m.If(places.pop):
            m.d.sync += second_place.eq(second_place + 1)
        with m.If(places.pop | (places.level == 0)):
            m.d.sync += first.eq(Mux(places.level > 1, second.data, address))
        return first

    def _add_memory(self, m, name, shape):
        """Add a RAM of the queue; returns its ports."""
        m.submodules[name] = part = memory.Memory(
            shape=shape, depth=REQUEST_DEPTH, init=[], attrs={"ram_style": "distributed"}
        )
        return part.write_port(), part.read_port(domain="comb")
