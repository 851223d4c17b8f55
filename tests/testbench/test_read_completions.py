# SPDX-License-Identifier: BSD-2-Clause
"""Completions of a bus master's reads: correct ones with any legal split, and faulty ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbench.host import faults
from testbench.host.faults import Fault
from testbench.host.read_completions import BOUNDARIES, Split, read_answers
from testbench.host.requester import read_data
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import memory_read, request_bytes

REQUEST = memory_read(0x1003C, 400, requester_id=0x1234, tag=7, tc=1, attr=1)
DATA = random.Random(1).randbytes(4 * REQUEST.length)


def answers(request: Tlp, data: bytes, split: Split, **options: int) -> list[Tlp]:
    values = {"max_payload_size": 128, "boundary": 64, "completer_id": 0x19, **options}
    seed = values.pop("seed", 1)
    return read_answers(request, data, split=split, generator=random.Random(seed), **values)


@given(
    st.integers(0, 4095),
    st.integers(0, 4096),
    st.sampled_from([128, 256, 512]),
    st.sampled_from(BOUNDARIES),
    st.sampled_from(Split),
    st.integers(0, 99),
)
def test_completions_of_any_read_are_correct(
    offset: int, size: int, payload: int, boundary: int, split: Split, seed: int
):
    """The checks are derived from section 2.3.1.1, not from the code."""
    size = min(size, 4096 - offset)
    request = memory_read((1 << 34) + offset, size, requester_id=0x1234, tag=0x5A, tc=2, attr=2)
    data = random.Random(seed).randbytes(4 * request.length)
    found = answers(request, data, split, max_payload_size=payload, boundary=boundary, seed=seed)
    assert read_data(request, size, found) == data[offset & 3 :][:size]
    address, remaining = request_bytes(request)
    for number, answer in enumerate(found, start=1):
        assert answer.kind == TlpKind.CPLD and answer.status == CplStatus.SC
        assert (answer.requester_id, answer.tag, answer.tc, answer.attr) == (0x1234, 0x5A, 2, 2)
        assert answer.completer_id == 0x19
        assert (answer.lower_address, answer.byte_count) == (address & 0x7F, remaining)
        assert len(answer.payload) == 4 * answer.length <= payload
        end = (address & ~3) + 4 * answer.length
        assert end % boundary == 0 or number == len(found)
        if split == Split.SMALLEST:
            assert (address // boundary) == (end - 1) // boundary
        remaining -= end - address
        address = end
        assert (remaining <= 0) == (number == len(found))


def test_largest_split_has_fewest_completions():
    sizes = [4 * answer.length for answer in answers(REQUEST, DATA, Split.LARGEST)]
    assert sizes == [68, 128, 128, 76]
    sizes = [4 * answer.length for answer in answers(REQUEST, DATA, Split.SMALLEST)]
    assert sizes == [4, 64, 64, 64, 64, 64, 64, 12]


def test_random_splits_depend_on_the_seed():
    cuts = {
        seed: [answer.length for answer in answers(REQUEST, DATA, Split.RANDOM, seed=seed)]
        for seed in range(20)
    }
    assert cuts[3] == [a.length for a in answers(REQUEST, DATA, Split.RANDOM, seed=3)]
    assert len({tuple(cut) for cut in cuts.values()}) > 5


RIGHT = answers(REQUEST, DATA, Split.LARGEST)


def changed(change: faults.Change) -> list[Tlp]:
    return change(REQUEST, list(RIGHT))


def test_right_changes_nothing():
    assert changed(faults.unchanged) == RIGHT


def test_silent_drops_completions():
    assert changed(faults.no_completions()) == []
    assert changed(faults.no_completions(after=2)) == RIGHT[:2]


@pytest.mark.parametrize("status", [CplStatus.UR, CplStatus.CA, CplStatus.CRS])
def test_refused_ends_with_error_status(status: CplStatus):
    (answer,) = changed(faults.refused(status))
    assert (answer.kind, answer.status, answer.length) == (TlpKind.CPL, status, 0)
    assert answer.payload == b"" and answer.byte_count == 400
    first, second = changed(faults.refused(status, at=1))
    assert first == RIGHT[0]
    assert (second.status, second.byte_count, second.payload) == (status, 400 - 68, b"")


def test_success_without_data():
    (answer,) = changed(faults.without_data())
    assert (answer.kind, answer.status, answer.payload) == (TlpKind.CPL, CplStatus.SC, b"")


def test_poisoned_sets_ep():
    assert [answer.ep for answer in changed(faults.poisoned())] == [1, 1, 1, 1]
    assert [answer.ep for answer in changed(faults.poisoned(at=1))] == [0, 1, 0, 0]
    assert [answer.ep for answer in changed(faults.poisoned(at=9))] == [0, 0, 0, 1]
    assert [answer.payload for answer in changed(faults.poisoned())] == [
        answer.payload for answer in RIGHT
    ]


def test_altered_replaces_fields():
    found = changed(faults.altered(byte_count=4096))
    assert found == [RIGHT[0].replace(byte_count=4096), *RIGHT[1:]]
    found = changed(faults.altered(at=2, lower_address=lambda answer: answer.lower_address ^ 4))
    assert found[2] == RIGHT[2].replace(lower_address=RIGHT[2].lower_address ^ 4)
    assert (found[:2], found[3:]) == (RIGHT[:2], RIGHT[3:])


def test_too_much_and_too_little_change_the_last_completion():
    last = changed(faults.too_much(2))[-1]
    assert last.length == RIGHT[-1].length + 2 and last.payload == RIGHT[-1].payload + bytes(8)
    last = changed(faults.too_little())[-1]
    assert last.length == RIGHT[-1].length - 1 and last.payload == RIGHT[-1].payload[:-4]
    for answer in (*changed(faults.too_much()), *changed(faults.too_little())):
        assert len(answer.payload) == 4 * answer.length


def test_unexpected_completions():
    assert changed(faults.repeated()) == [*RIGHT, RIGHT[-1]]
    assert changed(faults.repeated(at=0)) == [*RIGHT, RIGHT[0]]
    assert changed(faults.preceded(tag=9)) == [RIGHT[0].replace(tag=9), *RIGHT]
    assert changed(faults.preceded(requester_id=1)) == [RIGHT[0].replace(requester_id=1), *RIGHT]


def test_fault_selects_requests():
    once, always = Fault(faults.no_completions()), Fault(faults.no_completions(), times=None)
    some = Fault(faults.no_completions(), when=lambda read: read.length > 9, times=2)
    short, long = memory_read(0, 4), memory_read(0, 64)
    assert [once.applies_to(short) for _ in range(3)] == [True, False, False]
    assert [always.applies_to(short) for _ in range(3)] == [True] * 3
    assert [some.applies_to(read) for read in (short, long, short, long, long)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert (once.matches, always.matches, some.matches) == (1, 3, 2)
