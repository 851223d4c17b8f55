# SPDX-License-Identifier: BSD-2-Clause
"""The index words of every queue, and the head snapshots that doorbells take.

The words live here and not in the RAM, so that moving an index costs no RAM cycle; the host reads
and writes them at their addresses all the same. Source of the semantics: the patch series,
``spsc_load_index`` and ``spsc_store_index``, and the Linux driver's write-combined stores.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .modulo import IndexModulo

__all__ = ["IndexWords"]

WORD = 32


class IndexWords(wiring.Component):
    """Head and tail of the driver queue and of the device queue, for each FIFO.

    Each word is kept twice: the 32 bits that the host reads back, and the index that they count
    as. A host write of any byte changes the former on the clock edge that ends its cycle, and the
    latter two cycles after; for the engines that is when it happens. So does a doorbell. Where a
    write meets an engine's, the host's wins; the host reads an engine's a cycle after it happened.

    Attributes
    ----------
    reset : In(1)
        Clears every word and snapshot.
    write_enable, write_to_indices, write_address, write_data, write_mask : In
        A host write to lane 0 of a word, on this cycle's edge, and whether anything is written
        there, in the FIFO BAR, at a word address of which
        :meth:`~hdl.geometry.Geometry.may_be_index` holds.
    read_enable : In(1), read_address : In, read_hit : Out(1), read_value : Out(32)
        Look-up of the index word in lane 0 of a word of the FIFO BAR: the cycle after, whether one
        is there, and its value; zero where none is, and where nothing was read.
    doorbell : In(num_fifos)
        Takes a snapshot of the driver queue's head.
    driver_tail, snapshot, device_head, device_tail : Out
        Indices, an element for each FIFO. The driver queue holds messages that may be popped in
        ``[driver_tail, snapshot)``.
    advance_tail, advance_head : In
        ``valid``, ``fifo``, ``value``: the engine moves an index that we own.
    tail_written, head_written : Out(num_fifos)
        The host writes an index that we own: in the cycle after which it has changed.
    sanitised : Out(1)
        One-cycle pulse: the host wrote an index beyond the capacity.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        n = geometry.num_fifos
        indices, advance = geometry.indices_shape, geometry.advance_shape
        super().__init__(
            {
                "reset": In(1),
                "write_enable": In(1),
                "write_to_indices": In(1),
                "write_address": In(geometry.word_address_bits),
                "write_data": In(WORD),
                "write_mask": In(WORD // 8),
                "read_enable": In(1),
                "read_address": In(geometry.word_address_bits),
                "read_hit": Out(1),
                "read_value": Out(WORD),
                "doorbell": In(n),
                "driver_tail": Out(indices),
                "snapshot": Out(indices),
                "device_head": Out(indices),
                "device_tail": Out(indices),
                "advance_tail": In(advance),
                "advance_head": In(advance),
                "tail_written": Out(n),
                "head_written": Out(n),
                "sanitised": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        layout, queue = g.layout, g.layout.queue
        m.submodules.sanitiser = sanitiser = IndexModulo(queue.capacity)

        # A word that the host wrote in the cycle before is on its way to what it counts as, and so
        # are the doorbells beside it.
        stored = Signal(WORD)
        fresh = Signal(WORD)
        any_fresh = Signal()
        any_settles = Signal()
        rung_before = Signal.like(self.doorbell)
        rung = Signal.like(self.doorbell)
        touched = self.write_enable & self.write_to_indices
        m.d.sync += [
            any_fresh.eq(0),
            any_settles.eq(any_fresh & ~self.reset),
            rung_before.eq(self.doorbell),
            rung.eq(rung_before),
        ]
        m.d.comb += [
            sanitiser.value.eq(fresh),
            self.sanitised.eq(any_settles & sanitiser.out_of_range),
        ]
        for byte in range(WORD // 8):
            bits = slice(8 * byte, 8 * byte + 8)
            m.d.sync += fresh[bits].eq(
                Mux(self.write_mask[byte], self.write_data[bits], stored[bits])
            )

        # The bits by which the index words differ tell which one it is. Likewise of a read, where
        # what they share is looked at in the cycle of the read, and the rest a cycle after.
        chosen = Cat(self.write_address[bit] for bit in g.index_bits)
        is_one = Signal()
        read_chosen = Signal(len(g.index_bits))
        m.d.sync += [
            is_one.eq(self.read_enable & g.may_be_index(self.read_address)),
            read_chosen.eq(Cat(self.read_address[bit] for bit in g.index_bits)),
        ]

        hits = []
        read_value = 0
        driver_head = Signal(g.indices_shape)
        for fifo in range(g.num_fifos):
            tail_written, head_written = self.tail_written[fifo], self.head_written[fifo]
            driver = layout.driver_queue_base(fifo)
            device = layout.device_queue_base(fifo)
            for name, offset, index, advance, written in (
                ("driver_head", driver + queue.head_offset, driver_head, None, None),
                (
                    "driver_tail",
                    driver + queue.tail_offset,
                    self.driver_tail,
                    self.advance_tail,
                    tail_written,
                ),
                (
                    "device_head",
                    device + queue.head_offset,
                    self.device_head,
                    self.advance_head,
                    head_written,
                ),
                ("device_tail", device + queue.tail_offset, self.device_tail, None, None),
            ):
                raw = Signal(WORD, name=f"{name}_{fifo}_word")
                is_fresh = Signal(name=f"{name}_{fifo}_fresh")
                settles = Signal(name=f"{name}_{fifo}_settles")
                m.d.sync += [is_fresh.eq(0), settles.eq(is_fresh & ~self.reset)]
                number = g.which_index(g.word(offset))
                is_written = Signal(name=f"{name}_{fifo}_is_written")
                m.d.comb += is_written.eq(touched & (chosen == number))
                hit = Signal(name=f"{name}_{fifo}_hit")
                m.d.comb += hit.eq(is_one & (read_chosen == number))
                hits.append(hit)
                read_value = read_value | Mux(hit, raw, 0)
                with m.If(chosen == number):
                    m.d.comb += stored.eq(raw)
                with m.If(is_written):
                    m.d.sync += [is_fresh.eq(~self.reset), any_fresh.eq(~self.reset)]
                    for byte in range(WORD // 8):
                        bits = slice(8 * byte, 8 * byte + 8)
                        with m.If(self.write_mask[byte]):
                            m.d.sync += raw[bits].eq(self.write_data[bits])
                if advance is not None:
                    # The host sees it a cycle after, unless it wrote the word itself meanwhile.
                    moved = Signal(name=f"{name}_{fifo}_moved")
                    here = advance.valid & (advance.fifo == fifo)
                    m.d.sync += moved.eq(here & ~self.reset)
                    with m.If(here):
                        m.d.sync += index[fifo].eq(advance.value)
                    with m.If(moved & ~is_fresh & ~settles & ~is_written):
                        m.d.sync += raw.eq(index[fifo])
                with m.If(settles):
                    m.d.sync += index[fifo].eq(sanitiser.remainder)
                if written is not None:
                    m.d.comb += written.eq(settles)
                with m.If(self.reset):
                    m.d.sync += [raw.eq(0), index[fifo].eq(0)]

            with m.If(rung[fifo]):
                m.d.sync += self.snapshot[fifo].eq(driver_head[fifo])
            # A tail that the host wrote starts a new life of the queue (the Linux driver zeroes
            # it when it reloads): what an older doorbell allowed says nothing about it.
            with m.If(tail_written):
                m.d.sync += self.snapshot[fifo].eq(sanitiser.remainder)
            with m.If(self.reset):
                # A doorbell beside the reset takes a snapshot of the head that it has cleared.
                m.d.sync += [self.snapshot[fifo].eq(0), rung[fifo].eq(0)]
        m.d.comb += [self.read_hit.eq(Cat(hits).any()), self.read_value.eq(read_value)]
        return m
