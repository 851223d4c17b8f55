# SPDX-License-Identifier: BSD-2-Clause
"""Layouts of the FIFO BAR: which of its bytes are RAM."""

import pytest

from models.layout import LAYOUTS, LIVE_PAGES, PAGE, SPSC_PAGES, LayoutError, layout_of


@pytest.mark.parametrize("fifos", [1, 3, 8])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_queues_are_ram(layout, fifos):
    for fifo in range(fifos):
        for base in (layout.driver_queue_base(fifo), layout.device_queue_base(fifo)):
            assert base in layout.ram_pages(fifos)
            assert all(layout.is_ram(base + offset, fifos) for offset in (0, layout.queue.size - 1))


def test_whole_bar_of_spsc_pages_is_ram():
    assert SPSC_PAGES.ram_pages(3) == list(range(0, 0x10000, PAGE))
    assert SPSC_PAGES.is_ram(0xFFFF, 3)
    assert not SPSC_PAGES.is_ram(0x10000, 3) and not SPSC_PAGES.is_ram(-1, 3)


def test_live_pages_has_no_other_ram():
    assert LIVE_PAGES.ram_pages(3) == [0x1000, 0x2000, 0x5000, 0x6000, 0x9000, 0xA000]
    for offset in (-1, 0, 0xFFF, 0x3000, 0x3FFF, 0xD000, 0x11000):
        assert not LIVE_PAGES.is_ram(offset, 3), f"{offset:#x}"


def test_live_pages_has_the_offsets_of_spsc_pages():
    for fifos in range(1, 9):
        assert LIVE_PAGES.size(fifos) == SPSC_PAGES.size(fifos)
    assert LIVE_PAGES.driver_queue_base(2) == SPSC_PAGES.driver_queue_base(2)
    assert LIVE_PAGES.device_queue_base(2) == SPSC_PAGES.device_queue_base(2)
    assert LIVE_PAGES.queue == SPSC_PAGES.queue


def test_layouts_have_names():
    for name, layout in LAYOUTS.items():
        assert layout_of(name) is layout
    text = "layout is 'x': must be spsc-pages or small-pages or live-pages"
    with pytest.raises(LayoutError, match=text):
        layout_of("x")
