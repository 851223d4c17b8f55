# SPDX-License-Identifier: BSD-2-Clause
"""Limits reads to what the receive buffer of the hard block can hold of their completions.

An endpoint advertises infinite completion credits (PCI Express Base 4.0 section 2.6.1), so it must
not request more than its receive buffer holds. That buffer belongs to the hard block, which drops
a completion that does not fit.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .limits import COMPLETION_BYTES, MAX_COMPLETIONS, REQUEST_BYTES, TAGS

__all__ = ["CompletionRoom"]


class CompletionRoom(wiring.Component):
    """Counts the completions that may answer the outstanding reads.

    Parameters
    ----------
    headers : int
        Capacity of the buffer in completions of :data:`~hdl.dma.limits.COMPLETION_BYTES`; at least
        as many as a single read may need.
    tags : int
        Maximum number of outstanding reads, a power of two.

    Attributes
    ----------
    allocate : In(1)
        One-cycle pulse: a read with ``tag`` begins. Only with ``has_space``.
    tag : In(range(tags))
        Its tag.
    first_offset, last_offset : In(range(REQUEST_BYTES))
        Offset of its first and last byte in their aligned block.
    take : In(1)
        One-cycle pulse: the read with ``taken_tag`` is fully answered or timed out.
    taken_tag : In(range(tags))
        Its tag.
    has_space : Out(1)
        The buffer has space for the completions of one more read of any length.
    """

    def __init__(self, headers: int, *, tags: int = TAGS):
        self._headers = headers
        self._tags = tags
        offset = range(REQUEST_BYTES)
        super().__init__(
            {
                "allocate": In(1),
                "tag": In(range(tags)),
                "first_offset": In(offset),
                "last_offset": In(offset),
                "take": In(1),
                "taken_tag": In(range(tags)),
                "has_space": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        block_bits = (COMPLETION_BYTES - 1).bit_length()
        outstanding = Signal(range(self._headers + 1))
        # Completions of the read, less one.
        count_m1 = Signal(range(MAX_COMPLETIONS))
        m.submodules.table = table = memory.Memory(
            shape=count_m1.shape(), depth=self._tags, init=[]
        )
        store, look_up = table.write_port(), table.read_port(domain="comb")
        m.d.comb += [
            count_m1.eq((self.last_offset >> block_bits) - (self.first_offset >> block_bits)),
            store.addr.eq(self.tag),
            store.data.eq(count_m1),
            store.en.eq(self.allocate),
            look_up.addr.eq(self.taken_tag),
            self.has_space.eq(outstanding <= self._headers - MAX_COMPLETIONS),
        ]
        m.d.sync += outstanding.eq(
            outstanding + Mux(self.allocate, count_m1 + 1, 0) - Mux(self.take, look_up.data + 1, 0)
        )
        return m
