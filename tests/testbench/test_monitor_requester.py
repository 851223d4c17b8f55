# SPDX-License-Identifier: BSD-2-Clause
"""The monitor's checks of the design's reads: reuse of tags, and traffic counts."""

from __future__ import annotations

import pytest
from monitor_support import DEVICE, MSIX, broken, monitor

from testbench.tlp import CompletionErrorCode, CplStatus, Tlp
from testbench.tlp.monitor import TlpMonitor
from testbench.tlp.packets import completion, memory_read, memory_write
from testbench.tlp.traffic import Traffic

ROOT = 0x0019
READ = memory_read(0x1044, 250, requester_id=DEVICE, tag=3)


def right(*lengths: int) -> list[Tlp]:
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


FIRST, SECOND = right(15, 48)
ERROR = completion(READ, ROOT, status=CplStatus.UR)


def asked(**options: object) -> TlpMonitor:
    """A monitor with ``READ`` outstanding."""
    check = monitor(**options)
    assert not broken(check, READ)
    return check


def free(check: TlpMonitor) -> bool:
    """Whether the tag of ``READ`` may be reused."""
    return not broken(check, READ)


def test_reuse_of_outstanding_tag_is_violation():
    assert broken(asked(), READ) == {"tag"}


def test_different_tag_is_legal():
    assert not broken(asked(), READ.replace(tag=4))


def test_last_completion_frees_the_tag():
    check = asked()
    check.host_sent(FIRST)
    assert not free(check)
    check = asked()
    for answer in (FIRST, SECOND):
        check.host_sent(answer)
    assert free(check)


@pytest.mark.parametrize("status", [CplStatus.UR, CplStatus.CA, CplStatus.CRS, 3])
def test_error_status_frees_the_tag(status: int):
    check = asked()
    check.host_sent(ERROR.replace(status=status))
    assert free(check)


def test_error_after_first_completion_frees_the_tag():
    check = asked()
    check.host_sent(FIRST)
    check.host_sent(ERROR.replace(byte_count=SECOND.byte_count))
    assert free(check)


def test_poisoned_completion_does_not_end_the_read():
    check = asked()
    check.host_sent(FIRST.replace(ep=1))
    assert not free(check)
    check = asked()
    check.host_sent(FIRST)
    check.host_sent(SECOND.replace(ep=1))
    assert free(check)


WRONG = {
    "byte count": FIRST.replace(byte_count=249),
    "byte count too large": FIRST.replace(byte_count=4096),
    "lower address": FIRST.replace(lower_address=0x40),
    "too much": right(64)[0],
    "no data": completion(READ, ROOT),
    "length": FIRST.replace(length=14),
}


@pytest.mark.parametrize("name", WRONG)
def test_mismatched_completion_may_end_the_read(name: str):
    check = asked()
    check.host_sent(WRONG[name])
    assert free(check)


@pytest.mark.parametrize("name", WRONG)
def test_mismatched_completion_need_not_end_the_read(name: str):
    check = asked()
    for answer in (WRONG[name], FIRST, SECOND):
        check.host_sent(answer)
    assert free(check)


@pytest.mark.parametrize("fields", [{"tag": 4}, {"requester_id": DEVICE + 8}])
def test_completion_of_another_request_is_ignored(fields: dict[str, int]):
    check = asked()
    check.host_sent(ERROR.replace(**fields))
    assert not free(check)


def test_hard_block_error_code_frees_the_tag():
    for code in CompletionErrorCode:
        check = asked()
        check.host_sent(FIRST, code)
        kept = code in (CompletionErrorCode.NONE, CompletionErrorCode.POISONED)
        assert free(check) != kept, code


def test_completion_timeout_frees_the_tag():
    now = 0.0
    check = asked(completion_timeout_ns=1000.0, now=lambda: now)
    now = 999.0
    assert broken(check, READ) == {"tag"}
    # The second read uses the tag from 999 ns on.
    now = 1998.0
    assert broken(check, READ) == {"tag"}
    now = 2998.0
    assert free(check)


def test_late_completion_counts_for_the_read_with_its_tag():
    now = 0.0
    check = asked(completion_timeout_ns=1000.0, now=lambda: now)
    now = 1500.0
    for answer in (FIRST, SECOND, FIRST):
        check.host_sent(answer)
    check.finish()
    assert free(check)


def test_tag_stays_in_use_without_timeout():
    now = 0.0
    check = asked(now=lambda: now)
    now = 1e12
    assert not free(check)


def test_completion_timeout_requires_now():
    with pytest.raises(ValueError, match="completion_timeout_ns requires now"):
        TlpMonitor(completion_timeout_ns=1.0)


def test_function_level_reset_frees_the_tags():
    check = asked()
    check.forget_outstanding()
    assert free(check)
    check.reset()
    assert free(check)


def test_tag_limit_depends_on_extended_tags():
    wide = READ.replace(tag=255)
    assert broken(monitor(), wide) == {"tag-size"}
    assert not broken(monitor(extended_tags=True), wide)
    assert broken(monitor(extended_tags=True), READ.replace(tag=256)) == {"tag-size"}


def test_traffic_counts_enabled_bytes():
    check = asked()
    assert not broken(check, MSIX)
    assert not broken(check, memory_write(0x2003, bytes(66), requester_id=DEVICE))
    assert check.traffic == Traffic(reads=1, read_bytes=250, writes=2, write_bytes=70)
    assert check.requests == 3
