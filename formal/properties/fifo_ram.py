# SPDX-License-Identifier: BSD-2-Clause
"""RAM of the FIFO BAR where reserved pages read zero."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Value

from hdl.geometry import Geometry
from hdl.queues.memory import FifoMemory
from models.layout import LIVE_PAGES, PAGE

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]


class WordPlace:
    """A word address in the FIFO BAR, decoded.

    Attributes
    ----------
    in_driver, in_device
        The word is in the page of a driver queue, of a device queue of an existing FIFO.
    row
        Address of the word among the pages of driver queues, or of device queues.
    """

    def __init__(self, g: Geometry, address: Value):
        page_words = PAGE // g.word_bytes
        pages_per_fifo = g.layout.fifo_stride // PAGE
        bar_words = g.layout.size(g.num_fifos) // g.word_bytes
        within = address[: bar_words.bit_length() - 1]
        page, fifo = within // page_words % pages_per_fifo, within // page_words // pages_per_fifo
        exists = fifo < g.num_fifos
        self.in_driver = exists & (page == g.layout.driver_queue // PAGE)
        self.in_device = exists & (page == g.layout.device_queue // PAGE)
        self.row = (fifo * page_words + within % page_words)[: g.bank_words.bit_length() - 1]


def reserved_pages_read_zero(h: Harness) -> None:
    """One word of the BAR, chosen by the solver; the host accesses any word at any time."""
    g = geometry(128, 3, LIVE_PAGES)
    memory = FifoMemory(g)
    part = h.add("memory", memory)
    write, read, push = memory.host.write, memory.host.read, memory.push
    written = WordPlace(g, write.address)
    h.assume(~(read.enable & write.enable))
    h.assume(memory.host.write_to_driver == (write.enable & written.in_driver))
    h.assume(memory.host.write_to_device == (write.enable & written.in_device))
    h.assume(~read.enable | memory.host.read_ready)
    h.assume(~push.valid | WordPlace(g, push.p.address).in_device)

    watched = h.constant(g.word_address_bits, "watched")
    place = WordPlace(g, watched)
    is_ram = place.in_driver | place.in_device
    # The word that was written last, in a register that only writes to its address change.
    content = h.signal(g.data_width, "content")
    pushed, pushed_to = part.inside("pushed"), part.inside("push_address")
    from_host, host_address = part.inside("from_host"), part.inside("host_address")
    by_push = pushed & ~from_host & (pushed_to == watched)
    with h.m.If(by_push):
        h.m.d.sync += content.eq(part.inside("push_data"))
    # A write of the bank of the device queues is made one cycle later.
    for by_host, data, mask in (
        (memory.host.write_to_driver & (write.address == watched), write.data, write.mask),
        (from_host & (host_address == watched), part.inside("host_data"), part.inside("host_mask")),
    ):
        for byte in range(g.word_bytes):
            bits = slice(8 * byte, 8 * byte + 8)
            with h.m.If(by_host & mask[byte]):
                h.m.d.sync += content[bits].eq(data[bits])
    stored = Mux(
        place.in_device,
        part.row(h, place.row, "device_bank"),
        part.row(h, place.row, "driver_bank"),
    )
    h.ensure(is_ram | (content == 0))
    h.ensure(~is_ram | (stored == content))

    # The data of a read, two cycles later.
    shows = read.enable & (read.address == watched) & ~by_push
    shows_q = h.register(shows, "shows_q")
    content_q = h.register(content, "content_q")
    shown = Mux(memory.host.read_hides, Cat(Const(0, 32), content_q[32:]), content_q)
    h.ensure(~h.register(shows_q, "shows_q2") | (read.data == h.register(shown, "shown_q")))

    # For the induction: the selected bank, and the place of the pushed word.
    reads = WordPlace(g, read.address)
    h.ensure(
        part.inside("from_driver") == h.register(read.enable & reads.in_driver, "from_driver_q")
    )
    h.ensure(
        part.inside("from_device") == h.register(read.enable & reads.in_device, "from_device_q")
    )
    h.ensure(~pushed | WordPlace(g, pushed_to).in_device)
    h.ensure(~from_host | WordPlace(g, host_address).in_device)
    h.cover(shows & ~is_ram & h.register(write.enable & (write.address == watched), "was_written"))
    h.cover(read.data.any() & h.register(h.register(read.enable & place.in_device, "a"), "b"))


PROOFS = (
    Proof(
        property="reserved-pages-read-zero",
        statement="two cycles after a host read its data is what was written last to that word, by "
        "the host or by the push engine, and zero in a reserved page; no write to a reserved page "
        "changes the page of a queue; any host, messages in device queues only, layout live-pages, "
        "three FIFOs, 128 bits",
        source="virtio-msg over shared memory, hostile peers; PCI Express Base 4.0 section 2.2.9",
        module="hdl.queues.memory",
        harness=reserved_pages_read_zero,
        depth=3,
        mutant=Mutant(
            module="hdl.queues.memory",
            before="m.If(host.write_to_driver)",
            after="m.If(host.write.enable & ~host.write_to_device)",
        ),
    ),
)
