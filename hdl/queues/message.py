# SPDX-License-Identifier: BSD-2-Clause
"""The message stream, and the words of a slot: what the pop and push engines share."""

from amaranth.hdl import Cat, Const, Value, ValueLike
from amaranth.lib import data, stream

from models.layout import PAGE

from ..geometry import Geometry

__all__ = ["message_signature", "slot_word_layout", "word_of_slot"]


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


def word_of_slot(
    geometry: Geometry, queue_offset: int, fifo: Value, slot: Value, word: ValueLike
) -> Value:
    """Word address in the FIFO BAR of word ``word`` of slot ``slot``.

    ``queue_offset`` is the queue's byte offset in a FIFO's window. A queue lies within a page, so
    only the offset in the page needs an adder.
    """
    layout = geometry.layout
    words = geometry.slot_words
    word_bits = (words - 1).bit_length()
    page_bits = (PAGE // geometry.word_bytes - 1).bit_length()
    pages = layout.fifo_stride // PAGE
    first = layout.queue.slots_offset // geometry.word_bytes
    if first % words == 0:
        lines = _of_width(slot + first // words, page_bits - word_bits)
        in_page = Cat(Value.cast(word)[:word_bits], lines)
    else:
        in_page = _of_width((slot << word_bits) + word + first, page_bits)
    return Cat(in_page, Const(queue_offset // PAGE, (pages - 1).bit_length()), fifo)


def _of_width(value: Value, width: int) -> Value:
    """``value``, extended with zeros or truncated to ``width`` bits."""
    return Cat(value, Const(0, width))[:width]
