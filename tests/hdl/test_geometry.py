# SPDX-License-Identifier: BSD-2-Clause
"""Widths and word addresses that follow from the parameters."""

import pytest
from amaranth.hdl import Module, Signal
from simulation import simulate
from streams import SIZES, geometry, seeded

from models.layout import LAYOUTS, LIVE_PAGES, PAGE


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos", SIZES)
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
    # The bits that differ number the index words.
    assert len({g.which_index(word) for word in g.index_words}) == len(offsets)
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
