# SPDX-License-Identifier: BSD-2-Clause
"""Index and slot arithmetic independent of the gateware's, and the FIFO's parts, connected."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import data, wiring

from hdl.geometry import Geometry, IndexKind, SlotLimit, SlotPlace
from hdl.interfaces import WordWrite
from hdl.queues.device_queues import DeviceQueues
from hdl.queues.driver_queues import DriverQueues
from hdl.queues.index_words import IndexWords
from hdl.queues.memory import FifoMemory
from hdl.queues.pop import PopEngine
from hdl.queues.push import PushEngine

from .harness import Harness, Part

__all__ = [
    "Queues",
    "SlotAccess",
    "add_memory",
    "add_pop",
    "add_push",
    "cycles_to_clear",
    "distance",
    "in_bank",
    "is_slot",
    "last_slot",
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


def cycles_to_clear(num_fifos: int) -> int:
    """Cycles after which the index words have been cleared, and a host may begin."""
    return 4 * (1 << (num_fifos - 1).bit_length()) + 4


class Queues:
    """The index words, with the driver queues, the device queues or both, and a host.

    The host writes words of the FIFO BAR when it may. Every index is asserted to be below the
    capacity, and no queue to have more items than its indices say. An engine that is not connected
    obeys :class:`~hdl.interfaces.QueuePort`, and does anything within it.

    Parameters
    ----------
    driven
        Inputs that the caller drives: ``reset``, ``doorbell``, or ``engine`` of every queue.

    Attributes
    ----------
    words, driver, device
        The components; a kind of queues that is absent is None.
    host
        The host's :class:`~hdl.interfaces.WordWrite`.
    tails_before
        Device tail of each FIFO in the cycle before.
    """

    def __init__(
        self,
        h: Harness,
        g: Geometry,
        *,
        driver: bool = False,
        device: bool = False,
        driven: tuple[str, ...] = (),
    ):
        self._h, self._g = h, g
        self._capacity = g.layout.queue.capacity
        self.words = IndexWords(g)
        views = [*["driver_tails"] * driver, *["device_heads"] * device]
        self.words_part = h.add("words", self.words, driven=("write", *views, *driven))
        self.host = self._add_host()
        self.driver: Any = DriverQueues(g) if driver else None
        self.device: Any = DeviceQueues(g) if device else None
        self._bound_pipeline()
        if self.driver:
            self.driver_part = self._add(self.driver, "driver", driven)
            self._bound_driver(self.driver_part)
        if self.device:
            self.device_part = self._add(self.device, "device", driven)
            self.tails_before = [
                h.register(self.device_tail(fifo), f"tail_before_{fifo}")
                for fifo in range(g.num_fifos)
            ]
            self._bound_device(self.device_part)

    def _add_host(self) -> Any:
        h, g, write = self._h, self._g, self.words.write
        host = WordWrite(g.word_address_bits, g.data_width).create()
        h.m.d.comb += [
            host.enable.eq(h.free(1, "host_enable")),
            host.address.eq(h.free(g.word_address_bits, "host_address")),
            host.data.eq(h.free(g.data_width, "host_data")),
            host.mask.eq(h.free(g.word_bytes, "host_mask")),
            write.enable.eq(host.enable & g.may_be_index(host.address) & host.mask[:4].any()),
            write.address.eq(host.address),
            write.data.eq(host.data),
            write.mask.eq(host.mask),
        ]
        h.assume(~host.enable | h.register(self.words.write_ready, "may_write"))
        return host

    def _add(self, queues: Any, name: str, driven: tuple[str, ...]) -> Part:
        h = self._h
        part = h.add(name, queues, driven=("clear", "update", "views", *driven))
        h.m.d.comb += queues.clear.eq(self.words.clear)
        wiring.connect(h.m, getattr(self.words, name), queues.update)
        views = self.words.driver_tails if name == "driver" else self.words.device_heads
        for view, port in zip(views, queues.views, strict=True):
            wiring.connect(h.m, view, port)
        if "engine" not in driven:
            engine = queues.engine
            owned = "tails" if name == "driver" else "heads"
            index = self._slot(part, engine.advance_fifo, owned).index
            h.assume(engine.advance_fifo < self._g.num_fifos)
            h.assume(~(engine.advance & (engine.hold | self.words.clear)))
            h.assume(engine.next_index == successor(index, self._capacity))
        return part

    def _value(self, part: Part, fifo: int | Value, *path: str) -> Value:
        """What a :class:`~hdl.queues.index_memory.FifoValues` has for ``fifo``."""
        if self._g.num_fifos == 1:
            return part.inside(*path, "only")
        return part.row(self._h, fifo, *path, "memory")

    def _slot(self, part: Part, fifo: int | Value, name: str) -> Any:
        """The slot at an index that an engine owns."""
        return data.View(SlotPlace(self._g), self._value(part, fifo, name, "values"))

    def _limit(self, part: Part, fifo: int | Value, name: str) -> Any:
        """A limit of the items of a queue."""
        return data.View(SlotLimit(self._g), self._value(part, fifo, name))

    def _is_limit(self, limit: Any) -> Value:
        """The slot before the limit is that before its index."""
        return (limit.before < self._capacity) & (
            successor(limit.before, self._capacity) == limit.index
        )

    def _bound_slot(self, part: Part, fifo: int, name: str, offset: int) -> None:
        """Once the index word at ``offset`` is cleared, the slot is zero, and then a slot."""
        h, slot, cleared = self._h, self._slot(part, fifo, name), self.clears(offset)
        h.ensure(slot.index < self._capacity)
        h.ensure(~cleared | (slot.index == 0))
        h.ensure((self.words.clear & ~cleared) | is_slot(self._g, slot))

    def driver_head(self, fifo: int | Value) -> Value:
        """Driver head of ``fifo``, as the last host write that took effect left it."""
        return self._limit(self.driver_part, fifo, "heads").index

    def driver_tail(self, fifo: int | Value) -> Value:
        """Driver tail of ``fifo``."""
        return self._slot(self.driver_part, fifo, "tails").index

    def doorbell_head(self, fifo: int | Value) -> Value:
        """Driver head that the last doorbell of ``fifo`` sampled."""
        return self._limit(self.driver_part, fifo, "doorbell_heads").index

    def device_head(self, fifo: int | Value) -> Value:
        """Device head of ``fifo``."""
        return self._slot(self.device_part, fifo, "heads").index

    def device_tail(self, fifo: int | Value) -> Value:
        """Device tail of ``fifo``: the slot before it stays empty."""
        return successor(self._limit(self.device_part, fifo, "limits").index, self._capacity)

    def shown_head(self, fifo: int | Value) -> Value:
        """Device head of ``fifo`` as the host sees it, if it did not write the head."""
        view = data.View(
            data.StructLayout({"index": self._g.index_shape, "moved": 1}),
            self._value(self.device_part, fifo, "heads", "views"),
        )
        return Mux(view.moved, view.index, 0)

    def word(self, offset: int) -> Value:
        """The index word at byte ``offset`` of the FIFO BAR, as the host wrote it."""
        g = self._g
        place = Const(self._place(g.word(offset)))
        return self.words_part.row(self._h, place, "words")

    def merges(self, offset: int) -> Value:
        """The host wrote some bytes of the index word at byte ``offset`` in the cycle before."""
        at = self.words_part.inside("place_q") == self._place(self._g.word(offset))
        return self.words_part.inside("merges") & at

    def clears(self, offset: int, after: int = 3) -> Value:
        """Words are being cleared, and the one at byte ``offset`` was ``after`` cycles ago; after
        three cycles it is zero for the engines."""
        place = self._place(self._g.word(offset))
        return ~self.words.reset & self._clears & (self._elapsed >= place + after)

    def _place(self, word: int) -> int:
        """Place of an index word among those that are cleared."""
        bits = (*self._g.kind_bits, *self._g.fifo_bits)
        return sum((word >> bit & 1) << at for at, bit in enumerate(bits))

    def _bound_pipeline(self) -> None:
        h, part = self._h, self.words_part
        depth = Const(1 << (len(self._g.kind_bits) + len(self._g.fifo_bits)))
        coming, lands = part.inside("coming"), part.inside("lands")
        busy, busy_q, ends = self.words.busy, part.inside("busy_q"), part.inside("ends")
        # Cycles since the first word was cleared: a word is zero three cycles after its own.
        self._clears = self.words.clear | h.register(self.words.clear, "was_cleared")
        self._elapsed = Mux(busy, part.inside("clearing"), depth + ~busy_q + ~ends)
        clears = ends & ~self.words.reset
        h.ensure(~(clears & coming.any()) | (part.inside("word") == 0))
        h.ensure(~(clears & lands.any()) | (part.inside("modulo", "remainder") == 0))
        kinds = len(IndexKind)
        for after, by_kind, fifo in (
            (1, coming, part.inside("coming_fifo")),
            (2, lands, part.inside("fifo")),
        ):
            # The words are cleared FIFO by FIFO.
            for number, word in enumerate(self._g.index_words):
                here = clears & (self._elapsed == self._place(word) + after)
                of_fifo = (fifo == number // kinds) | (self._g.num_fifos == 1)
                h.ensure(~here | ((by_kind == 1 << number % kinds) & of_fifo))
        h.ensure(~self.words.busy | part.inside("ends"))
        h.ensure(~(ends & part.inside("merges")))
        h.ensure(~part.inside("busy_q") | part.inside("ends"))
        # The name of each partial sum of the modulo ends with its largest value.
        for signal in part.signals("modulo"):
            kind, _, largest = signal.name.partition("_")
            if kind == "folded":
                h.ensure(signal <= int(largest))

    def _bound_driver(self, part: Part) -> None:
        h, engine, capacity = self._h, self.driver.engine, self._capacity
        for fifo in range(self._g.num_fifos):
            tail, limit = self.driver_tail(fifo), self.doorbell_head(fifo)
            for index in (self.driver_head(fifo), limit):
                h.ensure(index < capacity)
            base = self._g.layout.driver_queue_base(fifo)
            for name in ("heads", "doorbell_heads"):
                h.ensure(self._is_limit(self._limit(part, fifo, name)))
            self._bound_slot(part, fifo, "tails", base + self._g.layout.queue.tail_offset)
            one, two = engine.has_one[fifo], engine.has_two[fifo]
            h.ensure(~one | (tail != limit))
            h.ensure(~two | (one & (successor(tail, capacity) != limit)))

    def _bound_device(self, part: Part) -> None:
        h, engine, capacity = self._h, self.device.engine, self._capacity
        layout = self._g.layout
        counts, counted = part.inside("landed"), part.inside("landed_fifo")
        cleared = part.inside("occupancy", "cleared")
        for fifo, before in enumerate(self.tails_before):
            head, tail = self.device_head(fifo), self.device_tail(fifo)
            h.ensure(tail < capacity)
            # A host write of the tail counts one cycle after it took effect.
            after = successor(head, capacity)
            one, two = engine.has_one[fifo], engine.has_two[fifo]
            h.ensure(~one | (after != before))
            h.ensure(~two | (one & (successor(after, capacity) != before)))
            h.ensure((counts & (counted == fifo)) | (tail == before) | self.words.clear | cleared)
            base = layout.device_queue_base(fifo)
            self._bound_slot(part, fifo, "heads", base + layout.queue.head_offset)
            h.ensure(~self.clears(base + layout.queue.tail_offset) | (tail == 0))
            h.ensure(self._is_limit(self._limit(part, fifo, "limits")))


def is_slot(g: Geometry, slot: Any) -> Value:
    """Place and successor are those of the slot's index."""
    after = successor(slot.index, g.layout.queue.capacity)
    return (slot.place == g.place_of_slot(slot.index)) & (slot.next == after)


def last_slot(g: Geometry, engine: Part) -> Any:
    """The slot of the message in flight in an engine."""
    return data.View(SlotPlace(g), engine.inside("last_slot"))


def add_pop(
    h: Harness, geometry: Geometry, queues: Queues, *, driven: tuple[str, ...] = ()
) -> tuple[PopEngine, Part]:
    """Add the pop engine, connected to ``queues``, in whose ``driven`` ``engine`` is."""
    pop = PopEngine(geometry)
    part = h.add("pop", pop, driven=("reset", "queues", *driven))
    h.m.d.comb += pop.reset.eq(queues.words.reset)
    wiring.connect(h.m, queues.driver.engine, pop.queues)
    _advance_nothing(h, queues, part)
    return pop, part


def add_push(
    h: Harness, geometry: Geometry, queues: Queues, *, driven: tuple[str, ...] = ()
) -> tuple[PushEngine, Part]:
    """Add the push engine, connected to ``queues``, in whose ``driven`` ``engine`` is.

    The engine's reset ends one cycle after that of the indices.
    """
    push = PushEngine(geometry)
    part = h.add("push", push, driven=("reset", "queues", *driven))
    reset = queues.words.reset
    h.m.d.comb += push.reset.eq(reset | h.register(reset, "was_reset"))
    wiring.connect(h.m, queues.device.engine, push.queues)
    _advance_nothing(h, queues, part)
    return push, part


def _advance_nothing(h: Harness, queues: Queues, engine: Part) -> None:
    """A message that was in flight at a reset does not advance its index."""
    idle = ~engine.inside("active") | engine.inside("aborted")
    h.ensure(queues.words.reset | ~queues.words.clear | idle)


def add_memory(
    h: Harness, g: Geometry, host: Any, *, driven: tuple[str, ...] = ()
) -> tuple[FifoMemory, Part]:
    """Add the RAM.

    ``host``, from :class:`Queues`, writes it together with the index words, and never in the
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
        memory.host.write_to_driver.eq(host.enable & ~to_device),
        memory.host.write_to_device.eq(host.enable & to_device),
    ]
    h.assume(~(host.enable & h.register(~memory.push.ready, "push_waited")))
    return memory, part
