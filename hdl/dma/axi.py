# SPDX-License-Identifier: BSD-2-Clause
"""AXI4 as the DMA window speaks it: channels, and what a burst covers.

Source: AMBA AXI4 (ARM IHI 0022E) chapter A3. Not there, as they would change nothing: lock, cache,
prot, qos, region and user signals.
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from models.layout import PAGE

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
    "last_byte",
    "next_beat",
    "read_data_channel",
    "within_beat",
    "write_data_channel",
    "write_response_channel",
]

ADDRESS_WIDTH = 64
ID_WIDTH = 8
PAGE_BITS = (PAGE - 1).bit_length()
"""A burst stays within 4 KiB (A3.4.1), so that only these address bits ever count."""


class BurstType(enum.Enum, shape=2):
    """AxBURST (table A3-3)."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(enum.Enum, shape=2):
    """xRESP (table A3-4), as far as the window answers with it."""

    OKAY = 0
    SLVERR = 2


class Address(data.Struct):
    """Payload of the AW and the AR channel.

    ``len`` counts the beats less one; a beat is ``2**size`` bytes.
    """

    id: ID_WIDTH
    addr: ADDRESS_WIDTH
    len: 8
    size: 3
    burst: BurstType


def address_channel() -> stream.Signature:
    """The AW or the AR channel."""
    return stream.Signature(Address)


def write_data_channel(data_width: int) -> stream.Signature:
    """The W channel."""
    return stream.Signature(
        data.StructLayout({"data": data_width, "strb": data_width // 8, "last": 1})
    )


def write_response_channel() -> stream.Signature:
    """The B channel."""
    return stream.Signature(data.StructLayout({"id": ID_WIDTH, "resp": Response}))


def read_data_channel(data_width: int) -> stream.Signature:
    """The R channel."""
    return stream.Signature(
        data.StructLayout({"id": ID_WIDTH, "data": data_width, "resp": Response, "last": 1})
    )


class AxiSignature(wiring.Signature):
    """An AXI4 interface, as its manager sees it: a stream for each channel.

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


def within_beat(size: Value, width: int) -> Value:
    """Mask, ``width`` bits, of the address bits that number the bytes of a beat."""
    largest = (1 << len(size)) - 1
    return Cat(*(size > bit for bit in range(largest)), Const(0, width))[:width]


def next_beat(address: Value, size: Value) -> Value:
    """Address of the beat after the one at ``address``, which may be unaligned (A3.4.1)."""
    return (last_byte(address, size) + 1)[: len(address)]


def last_byte(address: Value, size: Value) -> Value:
    """Address of the last byte of the beat at ``address``."""
    return address | within_beat(size, len(address))


class BurstCheck(wiring.Component):
    """Whether a burst is one that the window serves, and where it ends; combinational.

    Parameters
    ----------
    data_width : int
        64, 128, 256 or 512 bits.

    Attributes
    ----------
    burst : In(Address)
        What AW or AR say.
    served : Out(1)
        INCR, or a single beat of any type; beats no wider than the bus; within 4 KiB.
    final : Out(PAGE_BITS)
        The last byte of a burst that is served, from the start of the 4 KiB page.
    """

    def __init__(self, data_width: int):
        self._largest_size = (check_data_width(data_width) // 8).bit_length() - 1
        super().__init__({"burst": In(Address), "served": Out(1), "final": Out(PAGE_BITS)})

    def elaborate(self, platform):
        m = Module()
        burst = self.burst
        in_page = burst.addr[:PAGE_BITS]
        # Larger ones are not served, whatever comes of them here.
        size = burst.size[: self._largest_size.bit_length()]
        final = Signal(PAGE_BITS + 1 + len(burst.len))
        m.d.comb += [
            final.eq(last_byte(in_page, size) + (burst.len << size)),
            self.final.eq(final),
            self.served.eq(
                ((burst.burst == BurstType.INCR) | (burst.len == 0))
                & (burst.size <= self._largest_size)
                & (final[PAGE_BITS:] == 0)
            ),
        ]
        return m
