# SPDX-License-Identifier: BSD-2-Clause
"""The monitor's checks of the design's reads: reuse of tags, and traffic counts."""

from __future__ import annotations

import pytest
from monitor_support import DEVICE, MSIX, monitor, violated

from testbench.tlp import CompletionErrorCode, CplStatus, Tlp
from testbench.tlp.monitor import TlpMonitor
from testbench.tlp.packets import completion, memory_read, memory_write
from testbench.tlp.traffic import Traffic

ROOT = 0x0019
READ = memory_read(0x1044, 250, requester_id=DEVICE, tag=3)


def completions(*lengths: int) -> list[Tlp]:
    """The correct completions of ``READ``, which has 63 dwords, split into ``lengths`` dwords."""
    answers = []
    address, remaining = 0x1044, 250
    for length in lengths:
        answers.append(
            completion(
                READ,
                ROOT,
                bytes(4 * length),
                byte_count=remaining,
                lower_address=address & 0x7F,
            )
        )
        address += 4 * length
        remaining -= 4 * length
    return answers


FIRST, SECOND = completions(15, 48)
ERROR = completion(READ, ROOT, status=CplStatus.UR)


def with_outstanding_read(**options: object) -> TlpMonitor:
    """A monitor with ``READ`` outstanding."""
    check = monitor(**options)
    assert not violated(check, READ)
    return check


def tag_is_free(check: TlpMonitor) -> bool:
    """Whether the tag of ``READ`` may be reused."""
    return not violated(check, READ)


def test_reuse_of_outstanding_tag_is_violation():
    assert violated(with_outstanding_read(), READ) == {"tag"}


def test_different_tag_is_legal():
    assert not violated(with_outstanding_read(), READ.replace(tag=4))


def test_last_completion_frees_the_tag():
    check = with_outstanding_read()
    check.host_sent(FIRST)
    assert not tag_is_free(check)
    check = with_outstanding_read()
    for answer in (FIRST, SECOND):
        check.host_sent(answer)
    assert tag_is_free(check)


@pytest.mark.parametrize("status", [CplStatus.UR, CplStatus.CA, CplStatus.CRS, 3])
def test_error_status_frees_the_tag(status: int):
    check = with_outstanding_read()
    check.host_sent(ERROR.replace(status=status))
    assert tag_is_free(check)


def test_error_after_first_completion_frees_the_tag():
    check = with_outstanding_read()
    check.host_sent(FIRST)
    check.host_sent(ERROR.replace(byte_count=SECOND.byte_count))
    assert tag_is_free(check)


def test_poisoned_completion_does_not_end_the_read():
    check = with_outstanding_read()
    check.host_sent(FIRST.replace(ep=1))
    assert not tag_is_free(check)
    check = with_outstanding_read()
    check.host_sent(FIRST)
    check.host_sent(SECOND.replace(ep=1))
    assert tag_is_free(check)


MISMATCHED = {
    "byte count": FIRST.replace(byte_count=249),
    "byte count too large": FIRST.replace(byte_count=4096),
    "lower address": FIRST.replace(lower_address=0x40),
    "too much": completions(64)[0],
    "no data": completion(READ, ROOT),
    "length": FIRST.replace(length=14),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_mismatched_completion_may_end_the_read(name: str):
    check = with_outstanding_read()
    check.host_sent(MISMATCHED[name])
    assert tag_is_free(check)


@pytest.mark.parametrize("name", MISMATCHED)
def test_mismatched_completion_need_not_end_the_read(name: str):
    check = with_outstanding_read()
    for answer in (MISMATCHED[name], FIRST, SECOND):
        check.host_sent(answer)
    assert tag_is_free(check)


@pytest.mark.parametrize("fields", [{"tag": 4}, {"requester_id": DEVICE + 8}])
def test_completion_of_another_request_is_ignored(fields: dict[str, int]):
    check = with_outstanding_read()
    check.host_sent(ERROR.replace(**fields))
    assert not tag_is_free(check)


def test_hard_block_error_code_frees_the_tag():
    for code in CompletionErrorCode:
        check = with_outstanding_read()
        check.host_sent(FIRST, code)
        kept = code in (CompletionErrorCode.NONE, CompletionErrorCode.POISONED)
        assert tag_is_free(check) != kept, code


def test_completion_timeout_frees_the_tag():
    now = 0.0
    check = with_outstanding_read(completion_timeout_ns=1000.0, now=lambda: now)
    now = 999.0
    assert violated(check, READ) == {"tag"}
    # The second read uses the tag from 999 ns on.
    now = 1998.0
    assert violated(check, READ) == {"tag"}
    now = 2998.0
    assert tag_is_free(check)


def test_late_completion_counts_for_the_read_with_its_tag():
    now = 0.0
    check = with_outstanding_read(completion_timeout_ns=1000.0, now=lambda: now)
    now = 1500.0
    for answer in (FIRST, SECOND, FIRST):
        check.host_sent(answer)
    check.finish()
    assert tag_is_free(check)


def test_tag_stays_in_use_without_timeout():
    now = 0.0
    check = with_outstanding_read(now=lambda: now)
    now = 1e12
    assert not tag_is_free(check)


def test_completion_timeout_requires_now():
    with pytest.raises(ValueError, match="completion_timeout_ns requires now"):
        TlpMonitor(completion_timeout_ns=1.0)


def test_function_level_reset_frees_the_tags():
    check = with_outstanding_read()
    check.forget_outstanding()
    assert tag_is_free(check)
    check.reset()
    assert tag_is_free(check)


def test_tag_limit_depends_on_extended_tags():
    wide = READ.replace(tag=255)
    assert violated(monitor(), wide) == {"tag-size"}
    assert not violated(monitor(extended_tags=True), wide)
    assert violated(monitor(extended_tags=True), READ.replace(tag=256)) == {"tag-size"}


def test_traffic_counts_enabled_bytes():
    check = with_outstanding_read()
    assert not violated(check, MSIX)
    assert not violated(check, memory_write(0x2003, bytes(66), requester_id=DEVICE))
    assert check.traffic == Traffic(reads=1, read_bytes=250, writes=2, write_bytes=70)
    assert check.requests == 3
