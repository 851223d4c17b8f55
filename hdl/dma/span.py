# SPDX-License-Identifier: BSD-2-Clause
"""Length, byte enables and header of a memory request, from its first and last byte."""

from amaranth.hdl import Const, Mux, Value, ValueLike

from ..tlp import memory_header
from .limits import REQUEST_BYTES

__all__ = ["dwords_beyond_first", "span_header"]

DWORD_BITS = (REQUEST_BYTES // 4 - 1).bit_length()


def dwords_beyond_first(address: Value, final: Value) -> Value:
    """Length in dwords, less one, of the request from the byte at ``address`` to that at ``final``.

    Higher address bits are ignored: a request stays within an aligned block of
    :data:`~hdl.dma.limits.REQUEST_BYTES`.
    """
    bits = slice(2, 2 + DWORD_BITS)
    return (final[bits] - address[bits])[:DWORD_BITS]


def span_header(
    *,
    address: Value,
    more: Value,
    tail: Value,
    requester_id: Value,
    write: bool,
    tag: ValueLike = 0,
    force_64_bit_addresses: bool = False,
) -> Value:
    """Header of the memory request from the byte at ``address``, 64 bits, to byte ``tail`` of the
    dword ``more`` dwords beyond the first.

    Byte enables: PCI Express Base 4.0 section 2.2.5.
    """
    first_be = (Const(0xF, 4) << address[:2])[:4]
    last_be = Const(0xF, 4) >> ~tail
    single = more == 0
    return memory_header(
        address=address[2:],
        length=more + 1,
        first_be=Mux(single, first_be & last_be, first_be),
        last_be=Mux(single, 0, last_be),
        requester_id=requester_id,
        write=write,
        tag=tag,
        long=Const(1) if force_64_bit_addresses else None,
    )
