# SPDX-License-Identifier: BSD-2-Clause
"""What is read from the guest's kernel log, and from the endpoint's messages and accesses."""

from __future__ import annotations

import json

import pytest

from models.bus import Direction
from models.messages import V1, MessageKind
from sim.vm.guest.kit.endpoint_log import view
from sim.vm.guest.kit.kernel_log import AFTER, BEFORE, KernelLog, classify

TO_DEVICE, TO_DRIVER = Direction.TO_DEVICE, Direction.TO_DRIVER


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[    1.0] Kernel panic - not syncing: Attempted to kill init!", "panic"),
        ("BUG: kernel NULL pointer dereference, address: 0000000000000008", "oops"),
        ("Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops"),
        ("kernel BUG at drivers/virtio/virtio_ring.c:1!", "oops"),
        ("general protection fault, probably for non-canonical address", "oops"),
        ("INFO: task mke2fs:328 blocked for more than 60 seconds.", "hung task"),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU", "stall"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]", "stall"),
        ("WARNING: CPU: 0 PID: 1 at virtio.c:80 amp_reset+0x1/0x2", "warning"),
        ("WARNING: possible circular locking dependency detected", "warning"),
        ("BUG: sleeping function called from invalid context", "warning"),
        ("refcount_t: underflow; use-after-free.", "warning"),
        ("I/O error, dev vda, sector 8 op 0x1:(WRITE)", "I/O error"),
        ("EXT4-fs error (device vda): bad block bitmap checksum", "I/O error"),
        ("amp_transport: loading out-of-tree module taints kernel.", None),
        ("virtio_blk virtio1: [vda] 4096 512-byte logical blocks", None),
    ],
)
def test_lines_are_classified(line, kind):
    assert classify(line) == kind


def test_finding_has_lines_around_it():
    log = KernelLog()
    before = [f"line {number}" for number in range(BEFORE + 5)]
    after = [f"after {number}" for number in range(AFTER + 5)]
    text = "\r\n".join([*before, "WARNING: CPU: 0", "Oops: 0002", *after, ""])
    # Pieces end anywhere.
    for index in range(0, len(text), 7):
        log.feed(text[index : index + 7].encode())
    (finding,) = log.take()
    # One event, named by its most serious line.
    assert finding.kind == "oops" and finding.line == "Oops: 0002"
    assert finding.lines[:BEFORE] == before[-BEFORE:]
    assert finding.lines[BEFORE:] == ["WARNING: CPU: 0", "Oops: 0002", *after[: AFTER - 1]]
    assert log.take() == [] and log.last(1) == after[-1:]


def test_line_after_take_is_another_finding():
    log = KernelLog()
    log.feed(b"WARNING: a\n")
    assert [finding.line for finding in log.take()] == ["WARNING: a"]
    log.feed(b"WARNING: b\n")
    assert [finding.line for finding in log.take()] == ["WARNING: b"]


@pytest.fixture
def files(tmp_path):
    """Writes files of messages and accesses; returns what is seen in them."""

    def files(messages, accesses=(), revision="v1"):
        with (tmp_path / "trace").open("w") as file:
            for time_ns, direction, message in messages:
                raw = message if isinstance(message, str) else message.wire().hex()
                entry = {"time_ns": time_ns, "direction": direction, "fifo": 0, "raw": raw}
                file.write(json.dumps(entry) + "\n")
        lines = [f"{time_ns:>14.1f} ns  read   BAR1  \n" for time_ns in accesses]
        (tmp_path / "accesses").write_text("".join(lines))
        return view(tmp_path / "trace", tmp_path / "accesses", revision)

    return files


def status_request(token: int, device: int = 3):
    return V1.message("GET_DEVICE_STATUS", MessageKind.REQUEST, dev_num=device, token=token)


def status_response(token: int, device: int = 3):
    return V1.message(
        "GET_DEVICE_STATUS", MessageKind.RESPONSE, dev_num=device, token=token, status=1
    )


def test_unanswered_request_is_endpoints(files):
    seen = files(
        [(1, TO_DEVICE, status_request(1)), (2, TO_DRIVER, status_response(1)),
         (3, TO_DEVICE, status_request(2))],
        [1, 2.5, 3],
    )  # fmt: skip
    assert seen.stopped.startswith("the endpoint stopped first: it has not answered GET_DEVICE_ST")
    assert len(seen.messages) == 3 and "driver ─► device" in seen.messages[-1]
    assert len(seen.accesses) == 3


def test_message_that_is_not_fetched_is_guests(files):
    messages = [(1, TO_DEVICE, status_request(1)), (2, TO_DRIVER, status_response(1))]
    assert "the guest stopped first: it has not fetched GET_DEV" in files(messages, [1]).stopped
    assert "every message fetched" in files(messages, [1, 2.5]).stopped


def test_silent_guest_is_named(files, tmp_path):
    assert files([]).stopped == "the guest stopped first: it has sent no message"
    gone = view(tmp_path / "no", tmp_path / "no", "v1")
    assert gone.stopped == "the guest stopped first: it has sent no message"


def test_available_buffer_without_used_event_is_named(files):
    avail = V1.message(
        "EVENT_AVAIL", MessageKind.EVENT, dev_num=1, index=0, next_offset=0, next_wrap=0
    )
    used = V1.message("EVENT_USED", MessageKind.EVENT, dev_num=1, index=0)
    seen = files([(1, TO_DEVICE, avail)], [1])
    assert "no EVENT_USED follows EVENT_AVAIL dev 1 index 0" in seen.stopped
    assert "no EVENT_USED" not in files([(1, TO_DEVICE, avail), (2, TO_DRIVER, used)], [3]).stopped


def test_messages_of_quiet_device_are_shown(files):
    """A device that sends all the time does not hide the last message of another."""
    messages = [(0, TO_DEVICE, status_request(1, device=1))]
    messages += [(number, TO_DRIVER, status_response(1)) for number in range(1, 50)]
    seen = files(messages, [60])
    assert " dev 1" in seen.messages[0] and len(seen.messages) == 9


def test_damaged_lines_are_shown_as_they_are(files):
    seen = files([(1, TO_DEVICE, "ffff"), (2, TO_DEVICE, "zz")], [1])
    assert [line.partition("not a message of v1: ")[2] for line in seen.messages] == ["ffff", "zz"]
