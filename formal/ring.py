# SPDX-License-Identifier: BSD-2-Clause
"""Index and slot arithmetic independent of the gateware's, and the FIFO's parts, connected."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import data

from hdl.geometry import Geometry
from hdl.queues.index_words import IndexWords
from hdl.queues.memory import FifoMemory
from hdl.queues.pop import PopEngine
from hdl.queues.push import PushEngine

from .harness import Harness, Part

__all__ = [
    "SlotAccess",
    "add_indices",
    "add_memory",
    "add_pop",
    "add_push",
    "after",
    "distance",
    "in_bank",
    "slot_address",
]


def after(index: Value, capacity: int) -> Value:
    """The index that follows ``index``."""
    return Mux(index == capacity - 1, 0, index + 1)[: len(index)]


def distance(start: Value, end: Value, capacity: int) -> Value:
    """Number of messages in ``[start, end)``."""
    return Mux(end >= start, end - start, Const(capacity, 8) + end - start)[:8]


class SlotAccess:
    """A word address in the FIFO BAR, decoded for the queue at offset ``base`` in FIFO 0.

    Attributes
    ----------
    inside
        The address is in a slot of an existing FIFO.
    fifo, slot, word
        FIFO, slot in its queue, and word in the slot.
    """

    def __init__(self, g: Geometry, base: int, address: Value):
        first = (base + g.layout.queue.slots_offset) // g.word_bytes
        stride_bits = (g.layout.fifo_stride // g.word_bytes).bit_length() - 1
        word_bits = g.slot_words.bit_length() - 1
        offset = address - first
        line = offset[word_bits:stride_bits]
        self.fifo = offset[stride_bits:]
        self.slot = line[: len(Signal(g.index_shape))]
        self.word = offset[:word_bits]
        self.inside = (self.fifo < g.num_fifos) & (line < g.layout.queue.capacity)


def slot_address(g: Geometry, base: int, fifo: Value, slot: Value, word: Value) -> Value:
    """The word address that :class:`SlotAccess` decodes to ``fifo``, ``slot`` and ``word``."""
    first = (base + g.layout.queue.slots_offset) // g.word_bytes
    address = first + fifo * (g.layout.fifo_stride // g.word_bytes) + slot * g.slot_words + word
    return address[: g.word_address_bits]


def in_bank(g: Geometry, address: Value) -> Value:
    """Address within its bank of the word at ``address``."""
    bit = g.bank_bit
    words = g.bar_sizes[g.shell.fifo_bar] // g.word_bytes
    return Cat(address[:bit], address[bit + 1 : (words - 1).bit_length()])


def add_indices(
    h: Harness, g: Geometry, *, driven: tuple[str, ...] = ()
) -> tuple[IndexWords, Part]:
    """Add the index words.

    Every index is asserted to be below the capacity. ``advance_tail`` and ``advance_head`` are
    assumed to be, unless they are in ``driven``.
    """
    indices = IndexWords(g)
    part = h.add("indices", indices, driven=("write_to_indices", *driven))
    h.m.d.comb += indices.write_to_indices.eq(
        g.may_be_index(indices.write_address) & indices.write_mask.any()
    )
    capacity = g.layout.queue.capacity
    for array in (
        indices.driver_tail,
        indices.snapshot,
        indices.device_head,
        indices.device_tail,
        data.View(g.indices_shape, part.inside("driver_head")),
    ):
        for fifo in range(g.num_fifos):
            h.ensure(array[fifo] < capacity)
    for name in ("advance_tail", "advance_head"):
        if name not in driven:
            h.assume(getattr(indices, name).value < capacity)
    # The name of each partial sum of the modulo ends with its largest value.
    for signal in part.signals("sanitiser"):
        kind, _, largest = signal.name.partition("_")
        if kind == "folded":
            h.ensure(signal <= int(largest))
    return indices, part


def add_pop(
    h: Harness, geometry: Geometry, indices: IndexWords, *, driven: tuple[str, ...] = ()
) -> tuple[PopEngine, Part]:
    """Add the pop engine, connected to ``indices``.

    ``advance_tail`` must be in the ``driven`` of :func:`add_indices`.
    """
    pop = PopEngine(geometry)
    wired = ("reset", "driver_tail", "snapshot", "tail_written")
    part = h.add("pop", pop, driven=(*wired, *driven))
    h.m.d.comb += [
        pop.reset.eq(indices.reset),
        pop.driver_tail.eq(indices.driver_tail),
        pop.snapshot.eq(indices.snapshot),
        pop.tail_written.eq(indices.tail_written),
        indices.advance_tail.eq(pop.advance_tail),
    ]
    return pop, part


def add_push(
    h: Harness, geometry: Geometry, indices: IndexWords, *, driven: tuple[str, ...] = ()
) -> tuple[PushEngine, Part]:
    """Add the push engine, connected to ``indices``.

    ``advance_head`` must be in the ``driven`` of :func:`add_indices`. The engine's reset ends one
    cycle after that of the indices.
    """
    push = PushEngine(geometry)
    wired = ("reset", "device_head", "device_tail", "head_written")
    part = h.add("push", push, driven=(*wired, *driven))
    h.m.d.comb += [
        push.reset.eq(indices.reset | h.register(indices.reset, "was_reset")),
        push.device_head.eq(indices.device_head),
        push.device_tail.eq(indices.device_tail),
        push.head_written.eq(indices.head_written),
        indices.advance_head.eq(push.advance_head),
    ]
    return push, part


def add_memory(
    h: Harness, g: Geometry, indices: IndexWords, *, driven: tuple[str, ...] = ()
) -> tuple[FifoMemory, Part]:
    """Add the RAM.

    The host writes it together with the index words, and never in the cycle after a stalled push.
    """
    memory = FifoMemory(g)
    part = h.add("memory", memory, driven=("host_write", *driven))
    content = h.free(g.data_width, "write_data")
    mask = h.free(g.word_bytes, "write_mask")
    address = indices.write_address
    h.m.d.comb += [
        memory.host_write_enable.eq(indices.write_enable),
        memory.host_write_to_device.eq(
            indices.write_enable & (address[g.bank_bit] == g.device_bank)
        ),
        memory.host_write_address.eq(address),
        memory.host_write_data.eq(content),
        memory.host_write_mask.eq(mask),
        indices.write_data.eq(content),
        indices.write_mask.eq(mask),
    ]
    h.assume(~(indices.write_enable & h.register(~memory.push_ready, "push_waited")))
    return memory, part
