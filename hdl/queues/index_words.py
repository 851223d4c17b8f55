# SPDX-License-Identifier: BSD-2-Clause
"""The index words as the host reads and writes them.

Source of the semantics: the patch series, ``spsc_load_index`` and ``spsc_store_index``, and the
Linux driver's write-combined stores.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry, IndexKind
from ..interfaces import IndexUpdate, IndexView, WordRead, WordWrite
from .modulo import IndexModulo

__all__ = ["IndexWords"]

WORD = 32


class IndexWords(wiring.Component):
    """The index words of every queue: any 32 bits that the host wrote, until an engine moves the
    index.

    A host write takes effect two cycles after the edge that ends its cycle, a write of some bytes
    three: it is reduced modulo the capacity, and leaves on ``driver`` or ``device``. After a reset
    each word is zeroed likewise, one per cycle.

    Attributes
    ----------
    reset : In(1)
        Clears every word.
    clear : Out(1)
        From the cycle of ``reset`` until every index is zero.
    busy : Out(1)
        Words are being cleared.
    write : In(WordWrite(word_address_bits, 32))
        Host write to lane 0 of a word of the FIFO BAR, at an address of which
        :meth:`~hdl.geometry.Geometry.may_be_index` holds.
    write_ready : Out(1)
        The host may write in the next cycle. Low while words are cleared; in the cycle of a write
        of some bytes; and when an index that an engine owns is written: such writes hold the
        engine.
    read : In(WordRead(word_address_bits, 32))
        Host read of lane 0 of a word of the FIFO BAR. Data is valid two cycles later: zero where
        there is no index word, or nothing was read.
    read_hit : Out(1)
        One cycle after ``read``: there is an index word.
    read_ready : Out(1)
        The host may read in this cycle. Low while words are cleared, and in the cycle after a
        write of some bytes.
    driver, device : Out(IndexUpdate)
        Host writes to the indices of the driver queues and of the device queues.
    driver_tails, device_heads : Out(IndexView), arrays of 2
        The indices that engines own, for reads and for writes.
    sanitised : Out(1)
        One-cycle pulse: the host wrote an index beyond the capacity.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "reset": In(1),
                "clear": Out(1),
                "busy": Out(1, init=1),
                "write": In(WordWrite(geometry.word_address_bits, WORD)),
                "write_ready": Out(1),
                "read": In(WordRead(geometry.word_address_bits, WORD)),
                "read_hit": Out(1),
                "read_ready": Out(1),
                "driver": Out(IndexUpdate(geometry)),
                "device": Out(IndexUpdate(geometry)),
                "driver_tails": Out(IndexView(geometry)).array(2),
                "device_heads": Out(IndexView(geometry)).array(2),
                "sanitised": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        # Distributed RAM: a word is read in the cycle in which it is merged with a write.
        m.submodules.words = words = memory.Memory(
            shape=WORD,
            depth=1 << (len(g.kind_bits) + len(g.fifo_bits)),
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        clearing = self._clear(m, words.depth)
        self._write(m, words, clearing)
        self._read(m, words)
        return m

    def _place(self, address):
        """Place in the RAM of the index word at ``address``."""
        g = self._geometry
        return Cat(*(address[bit] for bit in g.kind_bits), self._fifo(address))

    def _fifo(self, address):
        return Cat(address[bit] for bit in self._geometry.fifo_bits)

    def _kinds(self, address):
        """Whether ``address``, of which ``may_be_index`` holds, is that of an index word of each
        kind."""
        g = self._geometry
        exists = 1 if g.num_fifos == 1 << len(g.fifo_bits) else self._fifo(address) < g.num_fifos
        return Cat(g.is_index(address, kind) & exists for kind in IndexKind)

    def _clear(self, m, depth):
        """Count through the words. Returns the place of the word that is cleared."""
        clearing = Signal(range(depth))
        # The last word that is cleared takes effect two cycles after `busy` falls.
        busy_q = Signal(init=1)
        ends = Signal(init=1)
        with m.If(self.reset):
            m.d.sync += [self.busy.eq(1), clearing.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += [clearing.eq(clearing + 1), self.busy.eq(clearing != depth - 1)]
        m.d.sync += [busy_q.eq(self.busy), ends.eq(self.reset | self.busy | busy_q)]
        m.d.comb += self.clear.eq(self.reset | ends)
        return clearing

    def _write(self, m, words, clearing):
        """Write a word of the RAM, and reduce it to an index: the word that is cleared, a partial
        write, or a whole one."""
        g, write = self._geometry, self.write
        port = words.write_port()
        kinds, place = self._kinds(write.address), self._place(write.address)
        merges, merged, merged_kinds, merged_place = self._merge(m, words, kinds, place)
        whole = Signal()
        # By kind.
        written = Signal(len(IndexKind))
        m.d.comb += whole.eq(write.enable & write.mask.all() & kinds.any())
        with m.If(self.busy):
            m.d.comb += [
                port.addr.eq(clearing),
                written.eq(Cat(clearing[: len(g.kind_bits)] == at for at in self._kind_places())),
            ]
        with m.Elif(merges):
            m.d.comb += [port.addr.eq(merged_place), written.eq(merged_kinds)]
        with m.Else():
            m.d.comb += [
                port.addr.eq(place),
                written.eq(kinds & whole.replicate(len(kinds))),
            ]
        m.d.comb += [
            port.data.eq(Mux(merges | self.busy, merged, write.data)),
            port.en.eq(self.busy | merges | whole),
            self.write_ready.eq(
                ~(self.reset | self.busy)
                & ~(write.enable & (self._owned(kinds) | ~write.mask.all()))
                & ~(merges & self._owned(merged_kinds))
            ),
        ]
        self._apply(m, written, port, by_host=merges | whole)

    def _merge(self, m, words, kinds, place):
        """Merge a write of some bytes with the others as the host sees them, one cycle later: the
        index that an engine owns is late. Returns whether there is one; the word, zero while words
        are cleared; its kind and its place in the RAM."""
        write = self.write
        former = words.read_port(domain="comb")
        index, moved = self._view(m, 1, kinds, self._fifo(write.address))
        merges = Signal()
        kinds_q = Signal(len(kinds))
        place_q = Signal(len(place))
        # The bytes of the word by where they come from, each zero where others apply: synthesis
        # maps that to the synchronous reset of the registers.
        former_q = Signal(WORD)
        index_q = Signal(WORD)
        data_q = Signal(WORD)
        m.d.comb += former.addr.eq(place)
        m.d.sync += [
            merges.eq(write.enable & ~write.mask.all() & kinds.any() & ~self.reset),
            kinds_q.eq(kinds),
            place_q.eq(place),
            former_q.eq(former.data),
            index_q.eq(index),
            data_q.eq(write.data),
        ]
        clears = self.reset | self.busy
        for byte in range(WORD // 8):
            bits = slice(8 * byte, 8 * byte + 8)
            written = write.mask[byte]
            with m.If(clears | written | moved):
                m.d.sync += former_q[bits].eq(0)
            with m.If(clears | written | ~moved):
                m.d.sync += index_q[bits].eq(0)
            with m.If(clears | ~written):
                m.d.sync += data_q[bits].eq(0)
        m.d.comb += self.read_ready.eq(~(self.busy | merges))
        return merges, former_q | index_q | data_q, kinds_q, place_q

    def _apply(self, m, written, port, by_host):
        """Reduce the word that is written to an index, and pass it on, by its kind."""
        g = self._geometry
        m.submodules.modulo = modulo = IndexModulo(g.layout.queue.capacity)
        word = Signal(WORD)
        # The write is in `word`; its remainder is valid.
        coming = Signal(len(IndexKind))
        lands = Signal(len(IndexKind))
        coming_fifo = Signal(g.fifo_shape)
        fifo = Signal(g.fifo_shape)
        by_host_q = Signal(2)
        m.d.sync += [
            word.eq(port.data),
            coming.eq(written),
            coming_fifo.eq(port.addr[len(g.kind_bits) :]),
            lands.eq(coming),
            fifo.eq(coming_fifo),
            by_host_q.eq(Cat(by_host, by_host_q[0])),
        ]
        with m.If(self.reset):
            m.d.sync += [coming.eq(0), lands.eq(0), by_host_q.eq(0)]
        m.d.comb += [
            modulo.value.eq(word),
            self.sanitised.eq(by_host_q[1] & modulo.out_of_range),
        ]
        for update, first in ((self.driver, 0), (self.device, 2)):
            m.d.comb += [
                Cat(update.head, update.tail).eq(lands[first : first + 2]),
                Cat(update.coming_head, update.coming_tail).eq(coming[first : first + 2]),
                update.fifo.eq(fifo),
                update.coming_fifo.eq(coming_fifo),
                update.index.eq(modulo.remainder),
            ]

    def _kind_places(self):
        """The low bits of the place of a word of each kind."""
        g = self._geometry
        for word in g.index_words[: len(IndexKind)]:
            yield sum((word >> bit & 1) << at for at, bit in enumerate(g.kind_bits))

    @staticmethod
    def _owned(kinds):
        """The word is one that an engine owns."""
        by_kind = dict(zip(IndexKind, kinds, strict=True))
        return by_kind[IndexKind.DRIVER_TAIL] | by_kind[IndexKind.DEVICE_HEAD]

    def _view(self, m, port, kinds, fifo):
        """The index that an engine owns, if the word is that of one, and whether it shows."""
        index = Signal(self._geometry.index_shape, name=f"index_{port}")
        moved = Signal(name=f"moved_{port}")
        by_kind = dict(zip(IndexKind, kinds, strict=True))
        for views, kind in (
            (self.driver_tails, IndexKind.DRIVER_TAIL),
            (self.device_heads, IndexKind.DEVICE_HEAD),
        ):
            m.d.comb += views[port].fifo.eq(fifo)
            with m.If(by_kind[kind]):
                m.d.comb += [index.eq(views[port].index), moved.eq(views[port].moved)]
        return index, moved

    def _read(self, m, words):
        g = self._geometry
        port = words.read_port(domain="comb")
        # Split over two cycles: the address bits that all index words share are compared in the
        # cycle of the read, the bits that tell them apart in the next one.
        may_hit_q = Signal()
        address_q = Signal.like(self.read.address)
        m.d.sync += [
            may_hit_q.eq(self.read.enable & g.may_be_index(self.read.address)),
            address_q.eq(self.read.address),
        ]
        kinds = self._kinds(address_q)
        index, moved = self._view(m, 0, kinds, self._fifo(address_q))
        m.d.comb += [
            port.addr.eq(self._place(address_q)),
            self.read_hit.eq(may_hit_q & kinds.any()),
        ]
        # Select behind the registers: `moved` is late.
        word_q = Signal(WORD)
        index_q = Signal(g.index_shape)
        moved_q = Signal()
        m.d.sync += [word_q.eq(port.data), index_q.eq(index), moved_q.eq(moved)]
        with m.If(~self.read_hit):
            m.d.sync += [word_q.eq(0), index_q.eq(0)]
        m.d.comb += self.read.data.eq(Mux(moved_q, index_q, word_q))
