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
"""Bits of a dword address that number blocks of each size that Max_Payload_Size allows."""

PAGE_BIT = (4096 // 4).bit_length() - 1
"""Bit of a dword address that numbers blocks of 4 KiB, which no request may cross."""


class Target(enum.Enum, shape=2):
    """The BAR of a request, by its content."""

    REGISTERS = 0
    FIFOS = 1
    MSIX = 2
    NONE = 3


def crosses(address: Value, length_m1: Value) -> Value:
    """Block boundaries that a request crosses, a bit for each size of :data:`BLOCK_BITS`.

    ``address`` and ``length_m1`` are 10 bits each, in dwords. A bit is the carry of their sum into
    that bit: it is valid if ``length_m1`` is less than the size.
    """
    total = address[:10] + length_m1[:10]
    return (total ^ Cat(address[:10], Const(0, 1)) ^ Cat(length_m1[:10], Const(0, 1)))[
        BLOCK_BITS.start :
    ]


class ReadRequest(data.StructLayout):
    """A non-posted request, in the form of a memory read.

    ``length_m1``: dwords beyond the first, 0 to 1,023; ``crosses``: :func:`crosses` of ``address``
    and ``length_m1``. A request whose ``status`` is not success gets one completion without data,
    with the byte count and lower address that ``length_m1``, ``first_be`` and ``last_be`` give.
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
    """A word write: ``data`` in the bytes of ``mask`` to word address ``address`` of ``target``.

    ``to_driver_queue``, ``to_device_queue``: the word is RAM of the bank of these queues.
    ``may_be_index``: it lies where index words may, as
    :meth:`~hdl.geometry.Geometry.may_be_index` says. ``lane_0``: bytes of lane 0 are written.
    """
    return data.StructLayout(
        {
            "target": Target,
            "to_driver_queue": 1,
            "to_device_queue": 1,
            "may_be_index": 1,
            "lane_0": 1,
            "address": geometry.word_address_bits,
            "data": geometry.data_width,
            "mask": geometry.word_bytes,
        }
    )
