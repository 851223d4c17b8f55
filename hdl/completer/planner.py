# SPDX-License-Identifier: BSD-2-Clause
"""Completion planner: the request queue, with the size of each request's first completion.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; splits, section 2.3.1.1.
"""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

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


def _has_next(queue: fifo.SyncFIFO) -> Value:
    """``queue`` is not empty in the next cycle; registered, it drives ``valid``."""
    return queue.w_en | (queue.level > 1) | ((queue.level == 1) & ~queue.r_en)


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
        m.submodules.queue = queue = fifo.SyncFIFO(width=layout.size, depth=REQUEST_DEPTH)
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
            queue.w_data.eq(plan),
            queue.w_en.eq(self.i.valid & self.i.ready),
            queue.r_en.eq(self.o.valid & self.o.ready),
            self.o.p.eq(queue.r_data),
            self.o.p.request.address.eq(self._first_address(m, queue)),
        ]
        m.d.sync += [
            # Leave space for the request of this cycle, which `level` does not count yet.
            self.i.ready.eq(queue.level <= REQUEST_DEPTH - 2),
            self.o.valid.eq(_has_next(queue)),
        ]
        return m

    def _first_address(self, m, queue):
        """The address of the request at the output of the queue.

        It has a register of its own, because the output of the queue is late and the way to the
        block RAMs is long.
        """
        address = self.i.p.address
        m.submodules.addresses = addresses = memory.Memory(
            shape=len(address), depth=REQUEST_DEPTH, init=[], attrs={"ram_style": "distributed"}
        )
        write, second = addresses.write_port(), addresses.read_port(domain="comb")
        first = Signal.like(address)
        place = Signal(range(REQUEST_DEPTH))
        second_place = Signal(range(REQUEST_DEPTH), init=1)
        m.d.comb += [
            write.en.eq(queue.w_en),
            write.addr.eq(place),
            write.data.eq(address),
            second.addr.eq(second_place),
        ]
        with m.If(queue.w_en):
            m.d.sync += place.eq(place + 1)
        with m.If(queue.r_en):
            m.d.sync += second_place.eq(second_place + 1)
        with m.If(queue.r_en | (queue.level == 0)):
            m.d.sync += first.eq(Mux(queue.level > 1, second.data, address))
        return first
