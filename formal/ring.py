# SPDX-License-Identifier: BSD-2-Clause
"""Index and slot arithmetic independent of the gateware's, and the FIFO's parts, connected."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import wiring

from hdl.geometry import Geometry
from hdl.interfaces import WordWrite
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
    "distance",
    "in_bank",
    "slot_address",
    "successor",
]


def successor(index: Value, capacity: int) -> Value:
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
) -> tuple[IndexWords, Part, Any]:
    """Add the index words and a host that writes words of the FIFO BAR.

    Every index is asserted to be below the capacity. ``driver_advance`` and ``device_advance`` are
    assumed to be, unless they are in ``driven``. Returns the component, its part, and the host's
    :class:`~hdl.interfaces.WordWrite`.
    """
    indices = IndexWords(g)
    part = h.add("indices", indices, driven=("write", *driven))
    host = WordWrite(g.word_address_bits, g.data_width).create()
    h.m.d.comb += [
        host.enable.eq(h.free(1, "host_enable")),
        host.address.eq(h.free(g.word_address_bits, "host_address")),
        host.data.eq(h.free(g.data_width, "host_data")),
        host.mask.eq(h.free(g.word_bytes, "host_mask")),
        indices.write.enable.eq(host.enable & g.may_be_index(host.address) & host.mask[:4].any()),
        indices.write.address.eq(host.address),
        indices.write.data.eq(host.data),
        indices.write.mask.eq(host.mask),
    ]
    capacity = g.layout.queue.capacity
    for queue in (indices.driver, indices.device):
        for fifo in range(g.num_fifos):
            h.ensure(queue.head[fifo] < capacity)
            h.ensure(queue.tail[fifo] < capacity)
    for fifo in range(g.num_fifos):
        h.ensure(part.inside(f"driver_head_{fifo}", "index") < capacity)
    for name, queue in (("driver_advance", indices.driver), ("device_advance", indices.device)):
        if name not in driven:
            h.assume(queue.advance.value < capacity)
    # The name of each partial sum of the modulo ends with its largest value.
    for signal in part.signals("modulo"):
        kind, _, largest = signal.name.partition("_")
        if kind == "folded":
            h.ensure(signal <= int(largest))
    return indices, part, host


def add_pop(
    h: Harness, geometry: Geometry, indices: IndexWords, *, driven: tuple[str, ...] = ()
) -> tuple[PopEngine, Part]:
    """Add the pop engine, connected to ``indices``.

    ``driver_advance`` must be in the ``driven`` of :func:`add_indices`.
    """
    pop = PopEngine(geometry)
    part = h.add("pop", pop, driven=("reset", "indices", *driven))
    h.m.d.comb += pop.reset.eq(indices.reset)
    wiring.connect(h.m, indices.driver, pop.indices)
    return pop, part


def add_push(
    h: Harness, geometry: Geometry, indices: IndexWords, *, driven: tuple[str, ...] = ()
) -> tuple[PushEngine, Part]:
    """Add the push engine, connected to ``indices``.

    ``device_advance`` must be in the ``driven`` of :func:`add_indices`. The engine's reset ends one
    cycle after that of the indices.
    """
    push = PushEngine(geometry)
    part = h.add("push", push, driven=("reset", "indices", *driven))
    h.m.d.comb += push.reset.eq(indices.reset | h.register(indices.reset, "was_reset"))
    wiring.connect(h.m, indices.device, push.indices)
    return push, part


def add_memory(
    h: Harness, g: Geometry, host: Any, *, driven: tuple[str, ...] = ()
) -> tuple[FifoMemory, Part]:
    """Add the RAM.

    ``host``, from :func:`add_indices`, writes it together with the index words, and never in the
    cycle after a stalled push.
    """
    memory = FifoMemory(g)
    part = h.add("memory", memory, driven=("host_write", *driven))
    to_device = host.address[g.bank_bit] == g.device_bank
    h.m.d.comb += [
        memory.host.write.enable.eq(host.enable),
        memory.host.write.address.eq(host.address),
        memory.host.write.data.eq(host.data),
        memory.host.write.mask.eq(host.mask),
        memory.host.write_to_device.eq(host.enable & to_device),
    ]
    h.assume(~(host.enable & h.register(~memory.push.ready, "push_waited")))
    return memory, part
