# SPDX-License-Identifier: BSD-2-Clause
"""AXI4 channels of the DMA window, and the bytes that a burst covers.

Source: AMBA AXI4 (ARM IHI 0022E) chapter A3. The lock, cache, prot, qos, region and user signals
are left out: they would not change anything here.
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from ..tlp import check_data_width

__all__ = [
    "ADDRESS_WIDTH",
    "ID_WIDTH",
    "PAGE_BITS",
    "Address",
    "AxiSignature",
    "BurstCheck",
    "BurstType",
    "Response",
    "address_channel",
    "beat_mask",
    "last_byte",
    "next_beat",
    "read_data_channel",
    "write_data_channel",
    "write_response_channel",
]

ADDRESS_WIDTH = 64
ID_WIDTH = 8
PAGE_BITS = 12
"""Address bits within a page: a burst does not cross 4 KiB (A3.4.1)."""


class BurstType(enum.Enum, shape=2):
    """AxBURST (table A3-3)."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(enum.Enum, shape=2):
    """xRESP (table A3-4): the two responses that the window gives."""

    OKAY = 0
    SLVERR = 2


class Address(data.Struct):
    """Payload of the AW and AR channels.

    ``len`` is the number of beats less one, ``size`` the base 2 logarithm of the bytes of a beat.
    """

    id: ID_WIDTH
    addr: ADDRESS_WIDTH
    len: 8
    size: 3
    burst: BurstType


def address_channel() -> stream.Signature:
    """AW or AR channel."""
    return stream.Signature(Address)


def write_data_channel(data_width: int) -> stream.Signature:
    """W channel."""
    return stream.Signature(
        data.StructLayout({"data": data_width, "strb": data_width // 8, "last": 1})
    )


def write_response_channel() -> stream.Signature:
    """B channel."""
    return stream.Signature(data.StructLayout({"id": ID_WIDTH, "resp": Response}))


def read_data_channel(data_width: int) -> stream.Signature:
    """R channel."""
    return stream.Signature(
        data.StructLayout({"id": ID_WIDTH, "data": data_width, "resp": Response, "last": 1})
    )


class AxiSignature(wiring.Signature):
    """AXI4 interface, from the side of the manager: one stream per channel.

    Parameters
    ----------
    data_width : int
        64, 128, 256 or 512 bits.
    """

    def __init__(self, data_width: int):
        check_data_width(data_width)
        super().__init__(
            {
                "aw": Out(address_channel()),
                "w": Out(write_data_channel(data_width)),
                "b": In(write_response_channel()),
                "ar": Out(address_channel()),
                "r": In(read_data_channel(data_width)),
            }
        )


def beat_mask(size: Value, width: int) -> Value:
    """Mask, ``width`` bits wide, of the address bits within a beat of ``size``."""
    largest = (1 << len(size)) - 1
    return Cat(*(size > bit for bit in range(largest)), Const(0, width))[:width]


def next_beat(address: Value, size: Value) -> Value:
    """Address of the beat that follows the one at ``address``, which may be unaligned (A3.4.1)."""
    return (last_byte(address, size) + 1)[: len(address)]


def last_byte(address: Value, size: Value) -> Value:
    """Address of the last byte of the beat at ``address``."""
    return address | beat_mask(size, len(address))


class BurstCheck(wiring.Component):
    """Checks whether the window serves a burst, and finds its last byte. Combinational.

    Parameters
    ----------
    data_width : int
        64, 128, 256 or 512 bits.

    Attributes
    ----------
    burst : In(Address)
        Payload of AW or AR.
    served : Out(1)
        The burst is INCR, or a single beat of any type; its beats are no wider than the bus; it
        stays within 4 KiB.
    last_addr : Out(PAGE_BITS)
        Offset of the last byte in its 4 KiB page, with ``served``.
    """

    def __init__(self, data_width: int):
        self._largest_size = (check_data_width(data_width) // 8).bit_length() - 1
        super().__init__({"burst": In(Address), "served": Out(1), "last_addr": Out(PAGE_BITS)})

    def elaborate(self, platform):
        m = Module()
        burst = self.burst
        in_page = burst.addr[:PAGE_BITS]
        # `served` is low for larger sizes: leave out the bits that only they have.
        size = burst.size[: self._largest_size.bit_length()]
        longest = (1 << len(burst.len)) - 1 << self._largest_size
        last_addr = Signal(range((1 << PAGE_BITS) + longest))
        m.d.comb += [
            last_addr.eq(last_byte(in_page, size) + (burst.len << size)),
            self.last_addr.eq(last_addr),
            self.served.eq(
                ((burst.burst == BurstType.INCR) | (burst.len == 0))
                & (burst.size <= self._largest_size)
                & (last_addr[PAGE_BITS:] == 0)
            ),
        ]
        return m
