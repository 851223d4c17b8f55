# SPDX-License-Identifier: BSD-2-Clause
"""Widths and word addresses that follow from the parameters."""

import pytest
from amaranth.hdl import Cat, Module, Signal
from simulation import simulate
from streams import SIZES, geometry, seeded

from hdl.geometry import IndexKind
from models.layout import LAYOUTS, LIVE_PAGES, PAGE, QueueLayout, SharedLayout

FAR_PAGES = SharedLayout(
    name="far-pages", fifo_stride=8 * PAGE, driver_queue=6 * PAGE, device_queue=PAGE
)
"""The addresses of the index words differ in bits that do not tell them apart."""

each_layout = pytest.mark.parametrize(
    "layout", [*LAYOUTS.values(), FAR_PAGES], ids=lambda layout: layout.name
)
each_size = pytest.mark.parametrize("width, fifos", [*SIZES, (64, 2)])


@each_layout
@each_size
def test_index_words_are_distinct_from_slots(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    queue = layout.queue
    bases = [
        base(fifo)
        for fifo in range(fifos)
        for base in (layout.driver_queue_base, layout.device_queue_base)
    ]
    offsets = [base + end for base in bases for end in (queue.head_offset, queue.tail_offset)]
    assert g.index_words == [offset // (width // 8) for offset in offsets]
    assert {g.lane(offset) for offset in offsets} == {0}
    for fifo in range(fifos):
        for base, is_device in (
            (layout.driver_queue_base(fifo), False),
            (layout.device_queue_base(fifo), True),
        ):
            word = g.word(base + queue.slot_offset(queue.capacity - 1))
            assert (word >> g.bank_bit & 1 == g.device_bank) == is_device

    m = Module()
    address = Signal(g.word_address_bits)
    hit = Signal()
    m.d.comb += hit.eq(g.may_be_index(address))
    rng = seeded(width, layout.name)

    async def bench(ctx):
        for word in g.index_words:
            ctx.set(address, word)
            assert ctx.get(hit)
        for base in bases:
            slot = rng.randrange(queue.capacity)
            for at in range(0, queue.slot_size, g.word_bytes):
                ctx.set(address, g.word(base + queue.slot_offset(slot) + at))
                assert not ctx.get(hit)

    simulate(m, bench)


@each_layout
@each_size
def test_address_bits_give_fifo_and_kind(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    kinds = len(IndexKind)
    # As few bits as number the kinds and the FIFOs.
    assert 1 << len(g.kind_bits) == kinds
    assert len(g.fifo_bits) == (fifos - 1).bit_length()
    assert {*g.kind_bits, *g.fifo_bits} <= {*g.index_bits}
    numbers = {tuple(word >> bit & 1 for bit in g.kind_bits) for word in g.index_words[:kinds]}
    assert len(numbers) == kinds
    for place, word in enumerate(g.index_words):
        number = sum((word >> bit & 1) << at for at, bit in enumerate(g.fifo_bits))
        assert number == place // kinds

    m = Module()
    address = Signal(g.word_address_bits)
    may_be_index = Signal()
    found = Signal(kinds)
    m.d.comb += may_be_index.eq(g.may_be_index(address))
    m.d.comb += found.eq(Cat(g.is_index(address, kind) for kind in IndexKind))
    beyond = 1 << len(g.fifo_bits)
    expected = {
        g.word(base(fifo) + offset): 1 << 2 * queue + end
        for fifo in range(beyond)
        for queue, base in enumerate((layout.driver_queue_base, layout.device_queue_base))
        for end, offset in enumerate((layout.queue.head_offset, layout.queue.tail_offset))
    }

    async def bench(ctx):
        others = 0
        for value in range(1 << g.word_address_bits):
            ctx.set(address, value)
            if ctx.get(may_be_index):
                assert ctx.get(found) == expected.get(value, 0), f"word {value:#x}"
                others += value not in expected
        # Some addresses that may be an index word are none, where more bits differ.
        assert bool(others) == (len(g.index_bits) > len(g.kind_bits) + len(g.fifo_bits))

    simulate(m, bench)


LONG_SLOTS = SharedLayout(
    name="long-slots",
    fifo_stride=2 * PAGE,
    driver_queue=PAGE,
    device_queue=0,
    queue=QueueLayout(slots_offset=192, slot_size=256, capacity=15),
)
"""Slots that are not aligned to their size."""


@pytest.mark.parametrize(
    "layout", [*LAYOUTS.values(), FAR_PAGES, LONG_SLOTS], ids=lambda layout: layout.name
)
@each_size
def test_places_give_the_words_of_slots(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    m = Module()
    index, fifo = Signal(g.index_shape), Signal(g.fifo_shape)
    word = Signal(range(max(g.slot_words, 2)))
    place = Signal(g.place_shape)
    driver, device = Signal(g.word_address_bits), Signal(g.word_address_bits)
    m.d.comb += [
        place.eq(g.place_of_slot(index)),
        driver.eq(g.word_of_slot(layout.driver_queue, fifo, place, word)),
        device.eq(g.word_of_slot(layout.device_queue, fifo, place, word)),
    ]

    async def bench(ctx):
        for slot in range(layout.queue.capacity):
            ctx.set(index, slot)
            for number in range(fifos):
                ctx.set(fifo, number)
                for at in range(g.slot_words):
                    ctx.set(word, at)
                    offset = layout.queue.slot_offset(slot) + at * g.word_bytes
                    assert ctx.get(driver) == g.word(layout.driver_queue_base(number) + offset)
                    assert ctx.get(device) == g.word(layout.device_queue_base(number) + offset)

    simulate(m, bench)


@pytest.mark.parametrize("width, fifos", SIZES)
def test_addresses_reach_every_word(width, fifos):
    g = geometry(width, fifos)
    largest = max(g.bar_sizes.values())
    assert 4 << g.dword_address_bits == largest
    assert g.word_bytes << g.word_address_bits == largest
    assert g.lanes == 1 << g.lane_bits == width // 32
    assert g.slot_words * g.word_bytes == g.layout.queue.slot_size


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos", [*SIZES, (64, 5)])
def test_each_word_of_ram_has_a_place_in_a_bank(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    address = Signal(g.word_address_bits)
    answers = [Signal(), Signal(), Signal(range(g.bank_words))]
    m = Module()
    for answer, value in zip(
        answers,
        (g.in_driver_bank(address), g.in_device_bank(address), g.bank_address(address)),
        strict=True,
    ):
        m.d.comb += answer.eq(value)
    # Words at both ends of each page.
    offsets = [
        page + within
        for page in range(0, layout.size(fifos), PAGE)
        for within in (0, g.word_bytes, PAGE - g.word_bytes)
    ]
    places = set()

    async def bench(ctx):
        for offset in offsets:
            ctx.set(address, g.word(offset))
            in_driver, in_device, place = (ctx.get(answer) for answer in answers)
            assert in_driver + in_device == layout.is_ram(offset, fifos)
            if in_driver or in_device:
                places.add((in_device, place))

    simulate(m, bench)
    assert len(places) == sum(layout.is_ram(offset, fifos) for offset in offsets)


@pytest.mark.parametrize("fifos, pages", [(1, 1), (3, 4), (5, 8), (8, 8)])
def test_live_pages_need_a_page_of_each_bank_per_fifo(fifos, pages):
    g = geometry(128, fifos, layout=LIVE_PAGES)
    assert g.bank_words * g.word_bytes == pages * PAGE
