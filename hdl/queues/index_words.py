# SPDX-License-Identifier: BSD-2-Clause
"""The index words of every queue, and the driver heads that doorbells sample.

The words are registers, not RAM, so that moving an index costs no RAM cycle; the host reads and
writes them at their addresses in the FIFO BAR. Source of the semantics: the patch series,
``spsc_load_index`` and ``spsc_store_index``, and the Linux driver's write-combined stores.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..interfaces import QueueIndices, WordRead, WordWrite
from .modulo import IndexModulo, index_width

__all__ = ["IndexWord", "IndexWords"]

WORD = 32


def merge_bytes(mask, data, former):
    """``data`` in the bytes of ``mask``, ``former`` elsewhere; ``WORD`` bits."""
    return Cat(
        Mux(mask[byte], data.word_select(byte, 8), former.word_select(byte, 8))
        for byte in range(WORD // 8)
    )


class IndexWord(wiring.Component):
    """One index word: the 32 bits that the host reads back, and the index that engines use.

    A host write changes ``word`` on the edge that ends its cycle. The next cycle the parent reduces
    the word modulo the capacity; the cycle after that ``updates`` is high and ``index`` loads
    ``remainder``. ``index`` follows an engine's ``advance`` on the edge that ends its cycle, and
    ``word`` one cycle later. The host write wins where both meet.

    Parameters
    ----------
    capacity : int
        Slots of the queue.
    owned : bool
        An engine of the gateware advances the index.

    Attributes
    ----------
    reset : In(1)
        Clears both values.
    write : In(1)
        The host writes the word.
    write_data : In(32), write_mask : In(4)
        Data and bytes of the write.
    remainder : In(index)
        The word written two cycles ago, modulo the capacity.
    advance : In(1), next_index : In(index)
        With ``owned``: the engine sets the index.
    word : Out(32)
        The value that the host reads.
    index : Out(index)
        The value that engines use.
    updates : Out(1)
        ``index`` takes over a host write on the edge that ends this cycle.
    """

    def __init__(self, capacity: int, *, owned: bool):
        self._owned = owned
        index = index_width(capacity)
        super().__init__(
            {
                "reset": In(1),
                "write": In(1),
                "write_data": In(WORD),
                "write_mask": In(WORD // 8),
                "remainder": In(index),
                **({"advance": In(1), "next_index": In(index)} if owned else {}),
                "word": Out(WORD),
                "index": Out(index),
                "updates": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        written_q = Signal()
        m.d.sync += [
            written_q.eq(self.write & ~self.reset),
            self.updates.eq(written_q & ~self.reset),
        ]
        with m.If(self.write):
            m.d.sync += self.word.eq(merge_bytes(self.write_mask, self.write_data, self.word))
        if self._owned:
            advanced_q = Signal()
            m.d.sync += advanced_q.eq(self.advance & ~self.reset)
            with m.If(self.advance):
                m.d.sync += self.index.eq(self.next_index)
            with m.If(advanced_q & ~written_q & ~self.updates & ~self.write):
                m.d.sync += self.word.eq(self.index)
        with m.If(self.updates):
            m.d.sync += self.index.eq(self.remainder)
        with m.If(self.reset):
            m.d.sync += [self.word.eq(0), self.index.eq(0)]
        return m


class IndexWords(wiring.Component):
    """Head and tail of the driver queue and of the device queue of each FIFO.

    A host write takes effect for the engines two cycles after the edge that ends its cycle, and so
    does a doorbell; see :class:`IndexWord`.

    Attributes
    ----------
    reset : In(1)
        Clears every word and every sampled head.
    write : In(WordWrite(word_address_bits, 32))
        Host write to lane 0 of a word of the FIFO BAR, at an address of which
        :meth:`~hdl.geometry.Geometry.may_be_index` holds.
    read : In(WordRead(word_address_bits, 32))
        Host read of lane 0 of a word of the FIFO BAR. Data is valid in the next cycle: zero where
        there is no index word, or nothing was read.
    read_hit : Out(1)
        With the data of ``read``: there is an index word.
    doorbell : In(num_fifos)
        Samples the head of the driver queue.
    driver : Out(QueueIndices)
        Driver queues. ``head`` is the head that the last doorbell sampled: messages in
        ``[tail, head)`` may be popped. The host write of a tail sets ``head`` too: the queue starts
        over, and the doorbells before do not apply to it.
    device : Out(QueueIndices)
        Device queues.
    sanitised : Out(1)
        One-cycle pulse: the host wrote an index beyond the capacity.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "reset": In(1),
                "write": In(WordWrite(geometry.word_address_bits, WORD)),
                "read": In(WordRead(geometry.word_address_bits, WORD)),
                "read_hit": Out(1),
                "doorbell": In(geometry.num_fifos),
                "driver": Out(QueueIndices(geometry)),
                "device": Out(QueueIndices(geometry)),
                "sanitised": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.modulo = modulo = IndexModulo(g.layout.queue.capacity)
        words = self._add_words(m, modulo.remainder)
        self._connect_write(m, words, modulo)
        self._connect_read(m, words)
        self._connect_engines(m, words)
        self._sample_heads(m, words, modulo.remainder)
        return m

    def _add_words(self, m, remainder):
        """Add the index words. Returns them by name, an element for each FIFO."""
        g = self._geometry
        words = {}
        for name, owned in (
            ("driver_head", False),
            ("driver_tail", True),
            ("device_head", True),
            ("device_tail", False),
        ):
            words[name] = []
            for fifo in range(g.num_fifos):
                word = IndexWord(g.layout.queue.capacity, owned=owned)
                m.submodules[f"{name}_{fifo}"] = word
                m.d.comb += [word.reset.eq(self.reset), word.remainder.eq(remainder)]
                words[name].append(word)
        return words

    def _numbered(self, words):
        """Each word with its number among the index words."""
        g, queue = self._geometry, self._geometry.layout.queue
        for fifo in range(g.num_fifos):
            driver = g.layout.driver_queue_base(fifo)
            device = g.layout.device_queue_base(fifo)
            for name, offset in (
                ("driver_head", driver + queue.head_offset),
                ("driver_tail", driver + queue.tail_offset),
                ("device_head", device + queue.head_offset),
                ("device_tail", device + queue.tail_offset),
            ):
                yield words[name][fifo], g.which_index(g.word(offset))

    def _connect_write(self, m, words, modulo):
        number = Cat(self.write.address[bit] for bit in self._geometry.index_bits)
        former = Signal(WORD)
        merged_q = Signal(WORD)
        written_q = Signal()
        updates = Signal()
        m.d.sync += [
            written_q.eq(0),
            updates.eq(written_q & ~self.reset),
            merged_q.eq(merge_bytes(self.write.mask, self.write.data, former)),
        ]
        for word, place in self._numbered(words):
            m.d.comb += [
                word.write.eq(self.write.enable & (number == place)),
                word.write_data.eq(self.write.data),
                word.write_mask.eq(self.write.mask),
            ]
            with m.If(number == place):
                m.d.comb += former.eq(word.word)
            with m.If(word.write):
                m.d.sync += written_q.eq(~self.reset)
        m.d.comb += [
            modulo.value.eq(merged_q),
            self.sanitised.eq(updates & modulo.out_of_range),
        ]

    def _connect_read(self, m, words):
        g = self._geometry
        # Split over two cycles: the address bits that all index words share are compared in the
        # cycle of the read, the bits that tell them apart in the next one.
        may_hit_q = Signal()
        number_q = Signal(len(g.index_bits))
        m.d.sync += [
            may_hit_q.eq(self.read.enable & g.may_be_index(self.read.address)),
            number_q.eq(Cat(self.read.address[bit] for bit in g.index_bits)),
        ]
        hits = []
        data = 0
        for word, place in self._numbered(words):
            hit = may_hit_q & (number_q == place)
            hits.append(hit)
            data = data | Mux(hit, word.word, 0)
        m.d.comb += [self.read_hit.eq(Cat(hits).any()), self.read.data.eq(data)]

    def _connect_engines(self, m, words):
        for queue, owned, heads, tails in (
            (self.driver, "driver_tail", None, words["driver_tail"]),
            (self.device, "device_head", words["device_head"], words["device_tail"]),
        ):
            for fifo, word in enumerate(words[owned]):
                m.d.comb += [
                    word.advance.eq(queue.advance.valid & (queue.advance.fifo == fifo)),
                    word.next_index.eq(queue.advance.value),
                    queue.rewritten[fifo].eq(word.updates),
                    queue.tail[fifo].eq(tails[fifo].index),
                ]
                if heads is not None:
                    m.d.comb += queue.head[fifo].eq(heads[fifo].index)

    def _sample_heads(self, m, words, remainder):
        # A doorbell waits two cycles, as the host write before it does.
        doorbell_q = Signal.like(self.doorbell)
        doorbell_q2 = Signal.like(self.doorbell)
        m.d.sync += [doorbell_q.eq(self.doorbell), doorbell_q2.eq(doorbell_q)]
        for fifo, head in enumerate(words["driver_head"]):
            doorbell_head = self.driver.head[fifo]
            with m.If(doorbell_q2[fifo]):
                m.d.sync += doorbell_head.eq(head.index)
            # A host write of the tail starts the queue over (the Linux driver zeroes it when it
            # reloads), so earlier doorbells do not apply to it.
            with m.If(words["driver_tail"][fifo].updates):
                m.d.sync += doorbell_head.eq(remainder)
            with m.If(self.reset):
                # A doorbell in the cycle of the reset samples the head that the reset clears.
                m.d.sync += [doorbell_head.eq(0), doorbell_q2[fifo].eq(0)]
