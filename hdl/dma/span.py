# SPDX-License-Identifier: BSD-2-Clause
"""Length, byte enables and header of a memory request, from its first and last byte."""

from amaranth.hdl import Const, Mux, Value, ValueLike

from ..tlp import memory_header
from .limits import REQUEST_BYTES

__all__ = ["span_header", "span_length_m1"]

DWORD_BITS = (REQUEST_BYTES // 4 - 1).bit_length()


def span_length_m1(address: Value, last_addr: Value) -> Value:
    """Length in dwords, less one, of the request for the bytes ``address`` to ``last_addr``.

    Higher address bits are ignored: a request stays within an aligned block of
    :data:`~hdl.dma.limits.REQUEST_BYTES`.
    """
    bits = slice(2, 2 + DWORD_BITS)
    return (last_addr[bits] - address[bits])[:DWORD_BITS]


def span_header(
    *,
    address: Value,
    length_m1: Value,
    last_byte: Value,
    requester_id: Value,
    write: bool,
    tag: ValueLike = 0,
    force_64_bit_addresses: bool = False,
) -> Value:
    """Header of the memory request from the byte at ``address`` to ``last_byte`` of the last dword.

    ``address`` has 64 bits; ``length_m1`` is the length in dwords less one.

    Byte enables: PCI Express Base 4.0 section 2.2.5.
    """
    first_be = (Const(0xF, 4) << address[:2])[:4]
    last_be = Const(0xF, 4) >> ~last_byte
    single_dword = length_m1 == 0
    return memory_header(
        address=address[2:],
        length=length_m1 + 1,
        first_be=Mux(single_dword, first_be & last_be, first_be),
        last_be=Mux(single_dword, 0, last_be),
        requester_id=requester_id,
        write=write,
        tag=tag,
        long=Const(1) if force_64_bit_addresses else None,
    )
