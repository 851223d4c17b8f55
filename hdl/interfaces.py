# SPDX-License-Identifier: BSD-2-Clause
"""Signatures of the conversations between modules of the endpoint.

Each is named from the side that starts the conversation: that side has the port as ``Out``.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .dma.limits import PENDING_WRITES
from .geometry import Geometry, SlotPlace
from .requests import Target

__all__ = [
    "BarRead",
    "FunctionControl",
    "IndexUpdate",
    "IndexView",
    "QueuePort",
    "WordRead",
    "WordWrite",
    "WriteFence",
]


class WordWrite(wiring.Signature):
    """Write of one word of a BAR.

    Parameters
    ----------
    address_bits, width : int
        Bits of a word address and of a word.

    Attributes
    ----------
    enable : Out(1)
        The word is written on the edge that ends this cycle.
    address : Out(address_bits)
        Word address.
    data : Out(width)
        Data.
    mask : Out(width // 8)
        Bytes that are written.
    """

    def __init__(self, address_bits: int, width: int):
        super().__init__(
            {
                "enable": Out(1),
                "address": Out(address_bits),
                "data": Out(width),
                "mask": Out(width // 8),
            }
        )


class WordRead(wiring.Signature):
    """Read of one word of a BAR. The reader's documentation gives the latency.

    Parameters
    ----------
    address_bits, width : int
        Bits of a word address and of a word.

    Attributes
    ----------
    enable : Out(1)
        The word is read in this cycle.
    address : Out(address_bits)
        Word address.
    data : In(width)
        Data.
    """

    def __init__(self, address_bits: int, width: int):
        super().__init__({"enable": Out(1), "address": Out(address_bits), "data": In(width)})


class BarRead(wiring.Signature):
    """Reads of words of any BAR, one per cycle.

    Attributes
    ----------
    requested : Out(1)
        A word is requested. ``target`` and ``address`` hold until it is read.
    ready : In(1)
        A word can be read in this cycle.
    enable : Out(1)
        The word is read in this cycle: ``requested & ready``.
    target : Out(Target)
        The BAR.
    address : Out(word_address_bits)
        Word address.
    data : In(data_width)
        The word, two cycles after ``enable``.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "requested": Out(1),
                "ready": In(1),
                "enable": Out(1),
                "target": Out(Target),
                "address": Out(geometry.word_address_bits),
                "data": In(geometry.data_width),
            }
        )


class IndexUpdate(wiring.Signature):
    """Host writes of the indices of one kind of queue, as they take effect.

    Attributes
    ----------
    head, tail : Out(1)
        The host wrote the head, the tail of ``fifo``: it becomes ``index`` on the edge that ends
        this cycle.
    fifo : Out, index : Out(index)
        FIFO, and the value below the capacity.
    coming_head, coming_tail : Out(1), coming_fifo : Out
        ``head``, ``tail`` and ``fifo`` of the next cycle.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "head": Out(1),
                "tail": Out(1),
                "fifo": Out(geometry.fifo_shape),
                "index": Out(geometry.index_shape),
                "coming_head": Out(1),
                "coming_tail": Out(1),
                "coming_fifo": Out(geometry.fifo_shape),
            }
        )


class IndexView(wiring.Signature):
    """Read of an index that an engine owns, for the host.

    Attributes
    ----------
    fifo : Out
        FIFO.
    index : In(index), moved : In(1)
        Combinational: whether the engine has moved the index since the last host write that took
        effect before this cycle or does in it; then the index.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {"fifo": Out(geometry.fifo_shape), "index": In(geometry.index_shape), "moved": In(1)}
        )


class QueuePort(wiring.Signature):
    """The queues of one kind, for the engine that owns one of the two indices of each.

    An item is a message for the pop engine, a free slot for the push engine.

    Attributes
    ----------
    has_one, has_two : Out(num_fifos)
        The queue has at least one, at least two items.
    fifo : In, slot : Out(SlotPlace)
        The FIFO whose next item the engine may begin, and the slot at the index that the engine
        owns, combinational.
    hold : Out(1)
        A host write takes effect: the engine must neither begin an item nor advance in this cycle.
        Never in two consecutive cycles, except while the function is being reset.
    rewritten : Out(1)
        It is of the index of ``advance_fifo``.
    advance : In(1), advance_fifo : In, next_index : In(index)
        The engine takes an item: its index of ``advance_fifo`` becomes ``next_index`` on the edge
        that ends this cycle.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "has_one": Out(geometry.num_fifos),
                "has_two": Out(geometry.num_fifos),
                "fifo": In(geometry.fifo_shape),
                "slot": Out(SlotPlace(geometry)),
                "hold": Out(1),
                "rewritten": Out(1),
                "advance": In(1),
                "advance_fifo": In(geometry.fifo_shape),
                "next_index": In(geometry.index_shape),
            }
        )


class FunctionControl(wiring.Signature):
    """Settings of the function, from configuration space, and its reset.

    Attributes
    ----------
    reset : Out(1)
        The function is being reset.
    completer_id, requester_id : Out(16)
        Bus, device and function number.
    max_payload_size, max_read_request_size : Out(3)
        Encodings of Device Control: 128 bytes shifted left by them.
    bus_master_enable, memory_space_enable : Out(1)
        Bits of the Command register.
    msix_enable, msix_mask : Out(1)
        MSI-X Enable and Function Mask.
    completion_timeout_disable : Out(1)
        Bit of Device Control 2.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "reset": Out(1),
                "completer_id": Out(16),
                "requester_id": Out(16),
                "max_payload_size": Out(3),
                "max_read_request_size": Out(3),
                "bus_master_enable": Out(1),
                "memory_space_enable": Out(1),
                "msix_enable": Out(1),
                "msix_mask": Out(1),
                "completion_timeout_disable": Out(1),
            }
        )


class WriteFence(wiring.Signature):
    """DMA writes that a message must not overtake.

    Attributes
    ----------
    pending : Out(range(PENDING_WRITES + 1))
        Write bursts that have not departed for host memory.
    accepted : Out(1)
        One-cycle pulse: a burst was accepted in the cycle before. ``pending`` counts it from the
        next cycle on.
    departed : Out(1)
        One-cycle pulse: a burst departed. ``pending`` no longer counts it from the next cycle on.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "pending": Out(range(PENDING_WRITES + 1)),
                "accepted": Out(1),
                "departed": Out(1),
            }
        )
