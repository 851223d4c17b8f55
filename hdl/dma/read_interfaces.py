# SPDX-License-Identifier: BSD-2-Clause
"""Data structures and signatures that the parts of the read half exchange."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..errors import COMPLETION_ERRORS
from ..geometry import Geometry
from .axi import ID_WIDTH
from .limits import REQUEST_BYTES, TAGS

__all__ = [
    "RECEIVED_ERRORS",
    "TAG_BITS",
    "BufferRead",
    "BufferWrite",
    "Expectation",
    "ExpectedData",
    "ReadContext",
    "ReadOutcome",
]

TAG_BITS = (TAGS - 1).bit_length()

RECEIVED_ERRORS = tuple(cause for cause in COMPLETION_ERRORS if cause.name != "completion_timeout")
"""Errors of completions that arrive."""


class ReadContext(data.Struct):
    """How the data of one memory read is returned to AXI.

    Attributes
    ----------
    id : 8 bits
        AXI ID of the burst.
    size : 3 bits
        Size of a beat.
    beats_m1 : 9 bits
        Beats less one.
    last : 1 bit
        The last beat is the last of its burst.
    offset : 9 bits
        Offset of the first byte in its aligned block of :data:`~hdl.dma.limits.REQUEST_BYTES`.
    """

    id: ID_WIDTH
    size: 3
    beats_m1: range(REQUEST_BYTES)
    last: 1
    offset: range(REQUEST_BYTES)


class ExpectedData(data.Struct):
    """Data that an outstanding memory read still expects.

    Attributes
    ----------
    last_byte : 2 bits
        Position of the last byte in its dword.
    dwords : 8 bits
        Dwords that are missing.
    offset : 9 bits
        Offset of the next byte, as in :class:`ReadContext`.
    """

    last_byte: 2
    dwords: range(REQUEST_BYTES // 4 + 1)
    offset: range(REQUEST_BYTES)


class Expectation(wiring.Signature):
    """Data that a new read expects.

    Attributes
    ----------
    begin : Out(1)
        One-cycle pulse: the read with ``tag`` expects ``data`` from the next cycle on.
    tag : Out(TAG_BITS)
        Tag of the read.
    data : Out(ExpectedData)
        Its data.
    busy : In(1)
        ``begin`` is ignored in this cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {"begin": Out(1), "tag": Out(TAG_BITS), "data": Out(ExpectedData), "busy": In(1)}
        )


class ReadOutcome(wiring.Signature):
    """Result of a read, reported at the end of a completion.

    Attributes
    ----------
    tag : Out(TAG_BITS)
        Tag of the read.
    ended : Out(1)
        One-cycle pulse: the read is complete.
    failed : Out(1)
        One-cycle pulse: the read failed.
    """

    def __init__(self) -> None:
        super().__init__({"tag": Out(TAG_BITS), "ended": Out(1), "failed": Out(1)})


def _address_bits(geometry: Geometry) -> int:
    """Bits of the address of a word in the read buffer."""
    return TAG_BITS + (REQUEST_BYTES // geometry.word_bytes - 1).bit_length()


class BufferWrite(wiring.Signature):
    """Write to the read buffer: one dword per lane, each at its own word address.

    Attributes
    ----------
    enable : Out(lanes)
        A bit for each lane.
    address : Out(TAG_BITS + word bits).array(lanes)
        Word address: the word within the tag, below the tag.
    data : Out(data_width)
        Data.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "enable": Out(geometry.lanes),
                "address": Out(_address_bits(geometry)).array(geometry.lanes),
                "data": Out(geometry.data_width),
            }
        )


class BufferRead(wiring.Signature):
    """Read of a word of the read buffer.

    Attributes
    ----------
    enable : Out(1)
        The word is read in this cycle.
    address : Out(TAG_BITS + word bits)
        Word address: the word within the tag, below the tag.
    data : In(data_width)
        The word, from the next cycle until the next read.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "enable": Out(1),
                "address": Out(_address_bits(geometry)),
                "data": In(geometry.data_width),
            }
        )
