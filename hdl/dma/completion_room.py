# SPDX-License-Identifier: BSD-2-Clause
"""Reads for whose completions the hard block has room.

An endpoint promises to take every completion (PCI Express Base 4.0 section 2.6.1: its credits are
infinite), so it may not ask for more than its receive buffer holds. That buffer is the hard
block's, and what it has no room for it drops.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .limits import COMPLETION_BYTES, MOST_COMPLETIONS, REQUEST_BYTES, TAGS

__all__ = ["CompletionRoom"]


class CompletionRoom(wiring.Component):
    """Counts the completions that reads under way may be answered with.

    Parameters
    ----------
    headers : int
        Completions that the buffer has room for, each of
        :data:`~hdl.dma.limits.COMPLETION_BYTES`; at least as many as one read may need.
    tags : int
        Reads at once, a power of two.

    Attributes
    ----------
    allocate : In(1), tag : In(log2(tags)), first, last : In
        A read begins, which is under ``tag`` until it is taken: places of its first and last byte
        in their block of :data:`~hdl.dma.limits.REQUEST_BYTES`. Only with ``room``.
    take : In(1), taken_tag : In(log2(tags))
        All completions of ``taken_tag`` have come, or nobody waits for them any more.
    room : Out(1)
        There is room for the completions of another read, however long.
    """

    def __init__(self, headers: int, *, tags: int = TAGS):
        self._headers = headers
        self._tags = tags
        place = range(REQUEST_BYTES)
        super().__init__(
            {
                "allocate": In(1),
                "tag": In(range(tags)),
                "first": In(place),
                "last": In(place),
                "take": In(1),
                "taken_tag": In(range(tags)),
                "room": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        place_bits = (COMPLETION_BYTES - 1).bit_length()
        under_way = Signal(range(self._headers + 1))
        # Less one: a read needs one at least.
        more = Signal(range(MOST_COMPLETIONS))
        m.submodules.table = table = memory.Memory(shape=more.shape(), depth=self._tags, init=[])
        store, look_up = table.write_port(), table.read_port(domain="comb")
        m.d.comb += [
            more.eq((self.last >> place_bits) - (self.first >> place_bits)),
            store.addr.eq(self.tag),
            store.data.eq(more),
            store.en.eq(self.allocate),
            look_up.addr.eq(self.taken_tag),
            self.room.eq(under_way <= self._headers - MOST_COMPLETIONS),
        ]
        m.d.sync += under_way.eq(
            under_way + Mux(self.allocate, more + 1, 0) - Mux(self.take, look_up.data + 1, 0)
        )
        return m
