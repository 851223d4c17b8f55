# SPDX-License-Identifier: BSD-2-Clause
"""What the monitor learns from configuration writes and resets, and what it then expects."""

from __future__ import annotations

from monitor_support import DEVICE, HOST, LONG, MSIX, READ, bare, broken, monitor, whole

from models.config_space import COMMAND, DEVICE_CONTROL
from testbench.monitor import READS_CUT_BEFORE, TlpMonitor
from testbench.packets import completion, config_read, config_write, memory_read, memory_write
from testbench.tlp import Status, Tlp

CONFIG_READ = config_read(DEVICE, 0x10, requester_id=HOST, tag=5)


def learner() -> TlpMonitor:
    """A monitor that knows only what configuration writes tell it."""
    return TlpMonitor()


def configure(
    check: TlpMonitor, offset: int, value: int, first_be: int = 0xF, **fields: int
) -> Tlp:
    """Write configuration space and let the design complete it."""
    request = config_write(DEVICE, offset, value, first_be, requester_id=HOST, tag=1, **fields)
    check.host_sent(request)
    answer = bare(request, Status.SC)
    assert not broken(check, answer)
    return request


def test_request_before_the_function_has_a_number():
    assert broken(learner(), MSIX) == {"requester-id", "bus-master"}


def test_completion_before_the_function_has_a_number():
    check = learner()
    check.host_sent(CONFIG_READ)
    assert not broken(check, whole(CONFIG_READ, completer_id=0))


def test_function_learns_its_number_and_bus_mastering():
    check = learner()
    configure(check, COMMAND, 0x6, 0b0011)
    assert not broken(check, MSIX)
    assert broken(check, MSIX.replace(requester_id=DEVICE + 0x100)) == {"requester-id"}


def test_bus_mastering_ends_with_the_completion_of_the_write():
    check = learner()
    configure(check, COMMAND, 0x6)
    stop = config_write(DEVICE, COMMAND, 0x2, requester_id=HOST, tag=2)
    check.host_sent(stop)
    assert not broken(check, MSIX)
    assert not broken(check, bare(stop, Status.SC))
    assert broken(check, MSIX) == {"bus-master"}


def test_command_byte_that_is_not_enabled_changes_nothing():
    check = learner()
    configure(check, COMMAND, 0x6, 0b0010)
    assert broken(check, MSIX) == {"bus-master"}


def test_payload_sizes_are_learned():
    check = learner()
    configure(check, COMMAND, 0x6)
    write = memory_write(0x1000, bytes(512), requester_id=DEVICE)
    read = memory_read(0x1000, 1024, requester_id=DEVICE)
    assert broken(check, write) == {"max-payload"}
    assert broken(check, read) == {"max-read-request"}
    configure(check, DEVICE_CONTROL, 2 << 5 | 3 << 12)
    assert not broken(check, write)
    assert not broken(check, read.replace(tag=1))


def test_tag_size_is_learned():
    check = learner()
    configure(check, COMMAND, 0x6)
    read = memory_read(0x1000, 4, requester_id=DEVICE, tag=32)
    assert broken(check, read) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8, 0b0001)
    assert broken(check, read.replace(tag=33)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8)
    assert not broken(check, read.replace(tag=255))
    assert broken(check, read.replace(tag=256)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 0)
    assert broken(check, read.replace(tag=34)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8)
    configure(check, DEVICE_CONTROL, 1 << 15 | 1 << 8)
    configure(check, COMMAND, 0x6)
    assert broken(check, read.replace(tag=35)) == {"tag-size"}


def test_answer_cut_before_the_payload_size_shrank():
    check = learner()
    configure(check, DEVICE_CONTROL, 2 << 5)
    check.host_sent(LONG)
    configure(check, DEVICE_CONTROL, 0)
    assert not broken(check, completion(LONG, DEVICE, bytes(400)))


def test_function_level_reset_may_drop_requests():
    check = learner()
    configure(check, COMMAND, 0x6)
    check.host_sent(READ)
    configure(check, DEVICE_CONTROL, 1 << 15)
    assert not check.outstanding
    assert broken(check, MSIX) == {"bus-master"}
    check.host_sent(READ)
    assert check.outstanding == [READ]


def test_reset_forgets_everything():
    check = monitor()
    check.host_sent(READ)
    check.reset()
    check.finish()
    assert broken(check, whole(READ)) == {"unexpected-completion"}


def test_reads_cut_before_their_size_fell_may_still_leave():
    check = learner()
    configure(check, COMMAND, 0x6)
    reads = [memory_read(512 * tag, 512, requester_id=DEVICE, tag=tag) for tag in range(8)]
    configure(check, DEVICE_CONTROL, 2 << 12)
    assert not broken(check, reads[0])
    # Falling twice takes none of them away, nor does it give more.
    configure(check, DEVICE_CONTROL, 1 << 12)
    assert not broken(check, reads[1])
    configure(check, DEVICE_CONTROL, 0)
    for read in reads[2 : 2 + READS_CUT_BEFORE]:
        assert not broken(check, read)
    assert check.former_reads == 1 + READS_CUT_BEFORE
    assert broken(check, reads[2 + READS_CUT_BEFORE]) == {"max-read-request"}
