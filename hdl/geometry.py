# SPDX-License-Identifier: BSD-2-Clause
"""Widths, word addresses and shapes that follow from the parameters of the gateware.

A word is ``data_width`` bits of a BAR, naturally aligned.
"""

import enum
import itertools
from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Shape, Value, unsigned
from amaranth.lib import data

from models.layout import PAGE, LayoutError, SharedLayout
from models.shell import PciShell, check_num_fifos

from .block_options import NO_OPTIONS, BlockOptions
from .queues.modulo import index_width
from .tlp import check_data_width

__all__ = ["Geometry", "IndexKind", "SlotLimit", "SlotPlace"]


class IndexKind(enum.Enum):
    """The index words of a FIFO, in the order of :attr:`Geometry.index_words`."""

    DRIVER_HEAD = enum.auto()
    DRIVER_TAIL = enum.auto()
    DEVICE_HEAD = enum.auto()
    DEVICE_TAIL = enum.auto()


class SlotPlace(data.StructLayout):
    """A slot of a queue: its ``index``; its ``place``, as :meth:`Geometry.place_of_slot` gives it;
    and ``next``, the index of the slot after it."""

    def __init__(self, geometry: "Geometry"):
        super().__init__(
            {
                "index": geometry.index_shape,
                "place": geometry.place_shape,
                "next": geometry.index_shape,
            }
        )


class SlotLimit(data.StructLayout):
    """Where the items of a queue end: ``index``, that of the slot after the last item; ``before``,
    the index of the slot before it."""

    def __init__(self, geometry: "Geometry"):
        super().__init__({"index": geometry.index_shape, "before": geometry.index_shape})
        self._capacity = geometry.layout.queue.capacity

    def at(self, index: int) -> dict[str, int]:
        """The limit at ``index``."""
        return {"index": index, "before": (index - 1) % self._capacity}


def _select(word: int, bits: Iterable[int]) -> tuple[int, ...]:
    return tuple(word >> bit & 1 for bit in bits)


class Geometry:
    """Widths that follow from ``data_width``, the shell and the layout.

    Attributes
    ----------
    block
        Needs and offers of the hard block.
    lanes, lane_bits
        Dwords in a word, and the bits to number them.
    word_bytes
        Bytes in a word.
    dword_address_bits
        Bits of a dword address within the largest BAR.
    word_address_bits
        Bits of a word address within the largest BAR.
    fifo_shape
        Shape of a FIFO number: at least one bit, because Verilog has no signals of zero bits.
    index_shape
        Shape of a queue index.
    slot_words
        Words in a slot.
    bank_bit
        Bit of a word address in the FIFO BAR that selects driver queues or device queues.
    device_bank
        Value of that bit for the device queues.
    bank_words
        Words of RAM in a bank; a power of two.
    index_words
        Word addresses in the FIFO BAR of the index words: by FIFO, driver queue before device
        queue, head before tail.
    index_bits
        Bits of a word address that differ among them.
    fifo_bits
        Those of them that number the FIFO.
    kind_bits
        Of the other ones as few as tell apart the index words of a FIFO.

    Raises
    ------
    ValueError
        A parameter is out of range, or a slot is not whole words; the text says what is allowed.
    """

    def __init__(
        self,
        *,
        data_width: int,
        num_fifos: int,
        shell: PciShell,
        layout: SharedLayout,
        block: BlockOptions = NO_OPTIONS,
    ):
        self.data_width = check_data_width(data_width)
        self.block = block
        self.num_fifos = check_num_fifos(num_fifos)
        self.fifo_shape = range(max(num_fifos, 2))
        self.index_shape = unsigned(index_width(layout.queue.capacity))
        self.shell = shell
        self.layout = layout
        self.lanes = data_width // 32
        self.lane_bits = self.lanes.bit_length() - 1
        self.word_bytes = data_width // 8
        self.slot_words, rest = divmod(layout.queue.slot_size, self.word_bytes)
        if rest or not self.slot_words:
            raise LayoutError(
                f"slot_size is {layout.queue.slot_size} bytes: must be a multiple of "
                f"{self.word_bytes}, the bytes of a word"
            )
        bank_bit = (layout.driver_queue ^ layout.device_queue).bit_length() - 1
        self.bank_bit = bank_bit - (self.word_bytes.bit_length() - 1)
        self.device_bank = layout.device_queue >> bank_bit & 1
        self.index_words = [
            self.word(base(fifo) + offset)
            for fifo in range(num_fifos)
            for base in (layout.driver_queue_base, layout.device_queue_base)
            for offset in (layout.queue.head_offset, layout.queue.tail_offset)
        ]
        self.bar_sizes = shell.bar_sizes(num_fifos, layout)
        fifo_words = self.bar_sizes[shell.fifo_bar] // self.word_bytes
        self._fifo_bar_bits = fifo_words.bit_length() - 1
        self._page_bits = self.word(PAGE).bit_length() - 1
        self._stride_bits = self.word(layout.fifo_stride).bit_length() - 1
        self.bank_words = (
            1 << self._page_bits + self._fifo_bar_bits - self._stride_bits
            if layout.reserved_reads_zero
            else fifo_words // 2
        )
        self.dword_address_bits = (max(self.bar_sizes.values()) // 4 - 1).bit_length()
        self.word_address_bits = self.dword_address_bits - self.lane_bits
        self.index_bits = [
            bit
            for bit in range(self.word_address_bits)
            if len({word >> bit & 1 for word in self.index_words}) > 1
        ]
        first_fifo_bit = (layout.fifo_stride // self.word_bytes).bit_length() - 1
        self.fifo_bits = [bit for bit in self.index_bits if bit >= first_fifo_bit]
        others = [bit for bit in self.index_bits if bit < first_fifo_bit]
        kinds = self.index_words[: len(IndexKind)]
        self.kind_bits = next(
            list(bits)
            for count in range(len(others) + 1)
            for bits in itertools.combinations(others, count)
            if len({_select(word, bits) for word in kinds}) == len(kinds)
        )
        self._kinds = {
            kind: [(bit, word >> bit & 1) for bit in others]
            for kind, word in zip(IndexKind, kinds, strict=True)
        }

    def word(self, offset: int) -> int:
        """Word address of the byte at ``offset`` in its BAR."""
        return offset // self.word_bytes

    def in_driver_bank(self, address: Value) -> Value:
        """The word address, in the FIFO BAR, is RAM of the bank of the driver queues."""
        return self._in_bank(address, self.layout.driver_queue, 1 - self.device_bank)

    def in_device_bank(self, address: Value) -> Value:
        """The word address, in the FIFO BAR, is RAM of the bank of the device queues."""
        return self._in_bank(address, self.layout.device_queue, self.device_bank)

    def _in_bank(self, address: Value, queue: int, bank: int) -> Value:
        if not self.layout.reserved_reads_zero:
            return address[self.bank_bit] == bank
        page = address[self._page_bits : self._stride_bits]
        fifo = address[self._stride_bits : self._fifo_bar_bits]
        return (page == queue // PAGE) & (fifo < self.num_fifos)

    def bank_address(self, address: Value) -> Value:
        """Address in its bank of a word of RAM of the FIFO BAR."""
        if self.layout.reserved_reads_zero:
            fifo = address[self._stride_bits : self._fifo_bar_bits]
            return Cat(address[: self._page_bits], fifo)
        return Cat(address[: self.bank_bit], address[self.bank_bit + 1 : self._fifo_bar_bits])

    def may_be_index(self, address: Value) -> Value:
        """The word address has the bits that the addresses of all index words share."""
        shared = [bit for bit in range(len(address)) if bit not in self.index_bits]
        return Cat(address[bit] == (self.index_words[0] >> bit & 1) for bit in shared).all()

    def is_index(self, address: Value, kind: IndexKind) -> Value:
        """The word address, of which :meth:`may_be_index` holds, is that of an index word of this
        kind: of an existing FIFO or of the windows beyond the last one."""
        return Cat(address[bit] == value for bit, value in self._kinds[kind]).all()

    @property
    def place_shape(self) -> Shape:
        """Shape of a slot's place in its page: see :meth:`place_of_slot`."""
        return unsigned((PAGE // self.word_bytes // self._place_words - 1).bit_length())

    @property
    def _place_words(self) -> int:
        """Words in a unit of places: a slot, if slots are aligned to their size in the page."""
        first = self.layout.queue.slots_offset // self.word_bytes
        return 1 if first % self.slot_words else self.slot_words

    def place_of_slot(self, index: Value) -> Value:
        """Place of slot ``index`` in its page: in slots if slots are aligned, else in words."""
        first = self.layout.queue.slots_offset // self.word_bytes
        scale, offset = self.slot_words // self._place_words, first // self._place_words
        width = self.place_shape.width
        if scale == 1 and offset.bit_count() == 1:
            # Bit by bit: a carry chain is slower for a sum this short.
            low = offset.bit_length() - 1
            bits = Cat(index, Const(0, width))[:width]
            return Cat(bits[:low], *(bits[at] ^ bits[low:at].all() for at in range(low, width)))
        return (index * scale + offset)[:width]

    def word_of_slot(self, queue_offset: int, fifo: Value, place: Value, word: Value) -> Value:
        """Word address in the FIFO BAR of word ``word`` of the slot at ``place``.

        ``queue_offset`` is the queue's byte offset in a FIFO's window. A queue lies within a page.
        """
        if self._place_words == 1:
            in_page = (place + word)[: len(place)]
        else:
            in_page = Cat(word[: self.slot_words.bit_length() - 1], place)
        pages = self.layout.fifo_stride // PAGE
        return Cat(in_page, Const(queue_offset // PAGE, (pages - 1).bit_length()), fifo)

    def lane(self, offset: int) -> int:
        """Lane, within its word, of the dword at byte ``offset``."""
        return offset // 4 % self.lanes
