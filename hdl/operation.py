# SPDX-License-Identifier: BSD-2-Clause
"""What a request does to the function: word writes, and reads that are owed an answer.

A word is ``data_width`` bits of a BAR, naturally aligned.
"""

from amaranth.hdl import Cat, Const, Value, unsigned
from amaranth.lib import data, enum

from models.config_space import LARGEST_SIZE_CODE, coded_size
from models.layout import LayoutError, SharedLayout
from models.shell import PciShell, check_num_fifos

from .block_options import NO_OPTIONS, BlockOptions
from .queues.modulo import index_width
from .tlp import CompletionStatus, check_data_width

__all__ = [
    "BLOCK_BITS",
    "PAGE_BIT",
    "Geometry",
    "ReadRequest",
    "Target",
    "carries",
    "write_layout",
]

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


class Geometry:
    """Widths that follow from ``data_width``, the shell and the layout.

    Attributes
    ----------
    block
        What the hard block needs or offers.
    lanes, lane_bits
        Dwords in a word, and the bits to number them.
    word_bytes
        Bytes in a word.
    dword_address_bits
        Bits of a dword address within the largest BAR.
    word_address_bits
        Bits of a word address within the largest BAR.
    fifo_shape
        Shape of a FIFO's number: one bit at least, since Verilog has no signals of none.
    index_shape, indices_shape
        Shapes of a queue index, and of one for each FIFO.
    advance_shape
        Structure by which an engine moves an index that we own: ``valid``, ``fifo``, ``value``.
    slot_words
        Words in a slot.
    bank_bit, device_bank
        The bit of a word address in the FIFO BAR that tells the two kinds of queues apart, and what
        it is where the device queues lie.
    index_words
        Word addresses in the FIFO BAR of the index words: by FIFO, driver queue before device
        queue, head before tail.
    index_bits
        The bits of a word address by which these differ.

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
        self.indices_shape = data.ArrayLayout(self.index_shape, num_fifos)
        self.advance_shape = data.StructLayout(
            {"valid": 1, "fifo": self.fifo_shape, "value": self.index_shape}
        )
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
        self.dword_address_bits = (max(self.bar_sizes.values()) // 4 - 1).bit_length()
        self.word_address_bits = self.dword_address_bits - self.lane_bits
        self.index_bits = [
            bit
            for bit in range(self.word_address_bits)
            if len({word >> bit & 1 for word in self.index_words}) > 1
        ]

    def word(self, offset: int) -> int:
        """Word address of the byte at ``offset`` in its BAR."""
        return offset // self.word_bytes

    def may_be_index(self, address: Value) -> Value:
        """Whether a word address in the FIFO BAR has what those of all index words share."""
        shared = [bit for bit in range(len(address)) if bit not in self.index_bits]
        return Cat(address[bit] == (self.index_words[0] >> bit & 1) for bit in shared).all()

    def which_index(self, word: int) -> int:
        """The value of :attr:`index_bits` of the index word at word address ``word``."""
        return sum((word >> bit & 1) << place for place, bit in enumerate(self.index_bits))

    def lane(self, offset: int) -> int:
        """Lane, within its word, of the dword at byte ``offset``."""
        return offset // 4 % self.lanes


def carries(address: Value, more: Value) -> Value:
    """Of ``address + more``, 10 bits each and in dwords, the carries into :data:`BLOCK_BITS`.

    They tell whether what begins at ``address`` ends in another block of that size, if ``more`` is
    less than it.
    """
    total = address[:10] + more[:10]
    return (total ^ Cat(address[:10], Const(0, 1)) ^ Cat(more[:10], Const(0, 1)))[
        BLOCK_BITS.start :
    ]


class ReadRequest(data.StructLayout):
    """A non-posted request that is owed an answer, normalised to the form of a memory read.

    ``more`` counts the dwords beyond the first, 0 to 1,023; ``carries`` is :func:`carries` of the
    address and of it. A request that is answered with an
    error has ``status`` other than success and gets a completion without data; ``more``,
    ``first_be`` and ``last_be`` then give that completion's byte count and lower address.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "target": Target,
                "address": geometry.dword_address_bits,
                "more": 10,
                "carries": len(BLOCK_BITS),
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
