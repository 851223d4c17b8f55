# SPDX-License-Identifier: BSD-2-Clause
"""The host's requester without a simulator: split accesses and data of completions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbench.host.requester import CompletionError, HostError, Requester, read_data, split
from testbench.tlp import CplStatus
from testbench.tlp.packets import byte_enables, completion, memory_read


@given(
    st.integers(0, 1 << 34), st.integers(0, 20_000), st.sampled_from([128, 256, 512, 1024, 4096])
)
def test_split_requests_are_legal_and_complete(address: int, size: int, limit: int):
    expected_address = address
    for start, count in split(address, size, limit):
        assert start == expected_address
        first, length, _, _ = byte_enables(start, count)
        assert 4 * length <= limit
        assert first // 4096 == (first + 4 * length - 1) // 4096
        expected_address += count
    assert expected_address == address + size


def test_split_of_zero_bytes_is_one_zero_length_request():
    assert list(split(0x123, 0, 128)) == [(0x123, 0)]


def test_read_data_of_unaligned_split_completions():
    request = memory_read(0x7E, 70)
    payload = bytes(range(72))
    completions = [completion(request, 0, payload[:4]), completion(request, 0, payload[4:])]
    assert read_data(request, 70, completions) == payload[2:72]


def test_read_data_of_unsuccessful_completion_raises():
    request = memory_read(0x1000, 4)
    with pytest.raises(CompletionError, match=r"MRD32 .* was completed with UR$") as caught:
        read_data(request, 4, [completion(request, 0, status=CplStatus.UR)])
    assert caught.value.status == CplStatus.UR


def test_read_data_of_short_completion_raises():
    request = memory_read(0x1000, 8)
    with pytest.raises(HostError, match="was completed with 4 bytes"):
        read_data(request, 8, [completion(request, 0, bytes(4))])


@pytest.mark.parametrize("tags", [0, 257])
def test_invalid_number_of_tags_raises(tags: int):
    with pytest.raises(ValueError, match=f"tags is {tags}: must be 1 to 256"):
        Requester(tags=tags)
