# SPDX-License-Identifier: BSD-2-Clause
"""The message stream, and the words of a slot: what the pop and push engines share."""

from amaranth.lib import data, stream

from ..geometry import Geometry

__all__ = ["message_signature", "slot_word_layout"]


def message_signature(data_width: int) -> stream.Signature:
    """AXI4-Stream of messages: ``tdata``, ``tkeep`` (a bit for each byte), ``tlast``, ``tdest[3]``.

    A packet is one message; ``tdest`` is the number of its FIFO.
    """
    return stream.Signature(
        data.StructLayout({"tdata": data_width, "tkeep": data_width // 8, "tlast": 1, "tdest": 3})
    )


def slot_word_layout(geometry: Geometry) -> data.StructLayout:
    """A word of a slot: ``data`` in the bytes of ``mask``, zero elsewhere, for the word address
    ``address`` of the FIFO BAR."""
    return data.StructLayout(
        {
            "address": geometry.word_address_bits,
            "data": geometry.data_width,
            "mask": geometry.word_bytes,
        }
    )
