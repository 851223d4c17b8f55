# SPDX-License-Identifier: BSD-2-Clause
"""Signatures of the conversations between modules of the endpoint.

Each is named from the side that starts the conversation: that side has the port as ``Out``.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .dma.limits import PENDING_WRITES
from .geometry import Geometry
from .requests import Target

__all__ = ["BarRead", "FunctionControl", "QueueIndices", "WordRead", "WordWrite", "WriteFence"]


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


class QueueIndices(wiring.Signature):
    """Indices of one kind of queue, for the engine that owns one of the two.

    Attributes
    ----------
    head, tail : Out
        Indices, an element for each FIFO.
    rewritten : Out(num_fifos)
        The host writes the index that the engine owns: it changes on the edge that ends this cycle.
    advance : In
        ``valid``, ``fifo``, ``value``: the engine moves the index that it owns.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "head": Out(geometry.indices_shape),
                "tail": Out(geometry.indices_shape),
                "rewritten": Out(geometry.num_fifos),
                "advance": In(geometry.advance_shape),
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
