# SPDX-License-Identifier: BSD-2-Clause
"""Layout of a split virtqueue, and events passed by an index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED

from models.virtqueue import SplitLayout
from models.virtqueue.layout import Descriptor, event_passed

INDICES = st.integers(0, 0xFFFF)


@pytest.mark.parametrize("size", [1, 2, 4, 256, 32768])
def test_sizes_of_the_areas(size):
    """The table of virtio 1.4 section 2.7."""
    layout = SplitLayout(size)
    assert layout.descriptor_bytes == 16 * size
    assert layout.available_bytes == 6 + 2 * size
    assert layout.used_bytes == 6 + 8 * size


def test_offsets_in_the_rings():
    layout = SplitLayout(4)
    assert [layout.available_entry(place) for place in range(4)] == [4, 6, 8, 10]
    assert [layout.used_entry(place) for place in range(4)] == [4, 12, 20, 28]
    assert (layout.used_event, layout.avail_event) == (12, 36)


def test_descriptor_by_hand():
    descriptor = Descriptor(0x1122_3344_5566_7788, 0x99AA_BBCC, 0x0003, 0xDDEE)
    assert descriptor.pack().hex() == "8877665544332211ccbbaa990300eedd"


@pytest.mark.parametrize("size", [0, -1, 3, 12, 65536])
def test_invalid_queue_sizes_are_refused(size):
    text = f"queue size is {size}: must be a power of two from 1 to 32768"
    with pytest.raises(ValueError, match=text):
        SplitLayout(size)


@pytest.mark.parametrize(
    ("event", "before", "now", "passed"),
    [
        (0, 0, 1, True),
        (1, 0, 1, False),
        (0, 1, 2, False),
        (5, 3, 8, True),
        (8, 3, 8, False),
        (2, 3, 8, False),
        (0xFFFF, 0xFFFE, 0, True),
        (0, 0xFFFE, 0, False),
        (0, 0xFFFE, 1, True),
        (7, 7, 7, False),
    ],
)
def test_event_passed(event, before, now, passed):
    assert event_passed(event, before, now) == passed


@FIXED
@given(INDICES, st.integers(0, 300), st.integers(-5, 305))
def test_event_is_passed_by_the_entry_with_its_index(before, count, distance):
    entries = {before + step & 0xFFFF for step in range(count)}
    event = before + distance & 0xFFFF
    assert event_passed(event, before, before + count & 0xFFFF) == (event in entries)
