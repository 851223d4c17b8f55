# SPDX-License-Identifier: BSD-2-Clause
"""Requests inside the function: word writes, and non-posted requests that need a completion."""

from amaranth.hdl import Cat, Const, Value
from amaranth.lib import data, enum

from models.config_space import LARGEST_SIZE_CODE, coded_size

from .geometry import Geometry
from .tlp import CompletionStatus

__all__ = ["BLOCK_BITS", "PAGE_BIT", "ReadRequest", "Target", "crosses", "write_layout"]

BLOCK_BITS = range(
    (coded_size(0) // 4).bit_length() - 1, (coded_size(LARGEST_SIZE_CODE) // 4).bit_length()
)
"""Bits of a dword address that number blocks of each size that Max_Payload_Size can have."""

PAGE_BIT = (4096 // 4).bit_length() - 1
"""The one that numbers blocks of 4 KiB, which no request crosses."""


class Target(enum.Enum, shape=2):
    """The BAR that a request goes to, by what is behind it."""

    REGISTERS = 0
    FIFOS = 1
    MSIX = 2
    NONE = 3


def crosses(address: Value, more: Value) -> Value:
    """Of ``address + more``, 10 bits each and in dwords, the carries into :data:`BLOCK_BITS`.

    They tell whether what begins at ``address`` ends in another block of that size, if ``length_m1`` is
    less than it.
    """
    total = address[:10] + more[:10]
    return (total ^ Cat(address[:10], Const(0, 1)) ^ Cat(more[:10], Const(0, 1)))[
        BLOCK_BITS.start :
    ]


class ReadRequest(data.StructLayout):
    """A non-posted request that needs a completion, normalised to the form of a memory read.

    ``length_m1`` counts the dwords beyond the first, 0 to 1,023; ``crosses`` is :func:`crosses` of the
    address and of it. A request that is answered with an
    error has ``status`` other than success and gets a completion without data; ``length_m1``,
    ``first_be`` and ``last_be`` then give that completion's byte count and lower address.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "target": Target,
                "address": geometry.dword_address_bits,
                "length_m1": 10,
                "crosses": len(BLOCK_BITS),
                "first_be": 4,
                "last_be": 4,
                "requester_id": 16,
                "tag": 8,
                "tc": 3,
                "attr": 2,
                "ido": 1,
                "locked": 1,
                "status": CompletionStatus,
            }
        )


def write_layout(geometry: Geometry) -> data.StructLayout:
    """Payload of the stream of word writes: ``data`` under the byte ``mask`` to the word at
    ``address`` (a word address) of ``target``. ``to_device_queue``: it is one of the words of the
    FIFO BAR among which the device queues lie; ``to_indices``: among which the index words do, as
    :meth:`Geometry.may_be_index` tells, and something of lane 0 is written."""
    return data.StructLayout(
        {
            "target": Target,
            "to_device_queue": 1,
            "to_indices": 1,
            "address": geometry.word_address_bits,
            "data": geometry.data_width,
            "mask": geometry.word_bytes,
        }
    )
