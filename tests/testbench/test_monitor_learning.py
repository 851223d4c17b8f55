# SPDX-License-Identifier: BSD-2-Clause
"""Settings that the monitor learns from configuration writes and resets, and their checks."""

from __future__ import annotations

from monitor_support import (
    DEVICE,
    HOST,
    LONG,
    MSIX,
    READ,
    monitor,
    violated,
    with_data,
    without_data,
)

from models.config_space import COMMAND, DEVICE_CONTROL, POWER_D3HOT, POWER_STATE
from testbench.tlp import CplStatus, Tlp
from testbench.tlp.monitor import TlpMonitor
from testbench.tlp.packets import completion, config_read, config_write, memory_read, memory_write

CONFIG_READ = config_read(DEVICE, 0x10, requester_id=HOST, tag=5)


def learning_monitor() -> TlpMonitor:
    """A monitor that learns all settings from configuration writes."""
    return TlpMonitor()


def write(
    check: TlpMonitor, offset: int, value: int, first_be: int = 0xF, tag: int = 1, **fields: int
) -> Tlp:
    """Send a configuration write that the design accepts but does not complete."""
    request = config_write(DEVICE, offset, value, first_be, requester_id=HOST, tag=tag, **fields)
    check.host_sent(request)
    return request


def complete(check: TlpMonitor, request: Tlp, status: CplStatus = CplStatus.SC) -> None:
    """Complete a configuration write."""
    assert not violated(check, without_data(request, status))


def configure(check: TlpMonitor, offset: int, value: int, first_be: int = 0xF) -> None:
    """Send a configuration write and complete it."""
    complete(check, write(check, offset, value, first_be))


def test_request_before_first_config_write_is_violation():
    assert violated(learning_monitor(), MSIX) == {"requester-id", "bus-master"}


def test_completion_before_first_config_write_has_id_zero():
    check = learning_monitor()
    check.host_sent(CONFIG_READ)
    assert not violated(check, with_data(CONFIG_READ, completer_id=0))


def test_id_and_bus_master_enable_are_learned():
    check = learning_monitor()
    configure(check, COMMAND, 0x6, 0b0011)
    assert not violated(check, MSIX)
    assert violated(check, MSIX.replace(requester_id=DEVICE + 0x100)) == {"requester-id"}


def test_request_after_bus_master_disable_is_violation():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    stop = config_write(DEVICE, COMMAND, 0x2, requester_id=HOST, tag=2)
    check.host_sent(stop)
    assert not violated(check, MSIX)
    assert not violated(check, without_data(stop, CplStatus.SC))
    assert violated(check, MSIX) == {"bus-master"}


def test_disabled_command_byte_is_ignored():
    check = learning_monitor()
    configure(check, COMMAND, 0x6, 0b0010)
    assert violated(check, MSIX) == {"bus-master"}


def test_payload_sizes_are_learned():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    write = memory_write(0x1000, bytes(512), requester_id=DEVICE)
    read = memory_read(0x1000, 1024, requester_id=DEVICE)
    assert violated(check, write) == {"max-payload"}
    assert violated(check, read) == {"max-read-request"}
    configure(check, DEVICE_CONTROL, 2 << 5 | 3 << 12)
    assert not violated(check, write)
    assert not violated(check, read.replace(tag=1))


def test_tag_size_is_learned():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    read = memory_read(0x1000, 4, requester_id=DEVICE, tag=32)
    assert violated(check, read) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8, 0b0001)
    assert violated(check, read.replace(tag=33)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8)
    assert not violated(check, read.replace(tag=255))
    assert violated(check, read.replace(tag=256)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 0)
    assert violated(check, read.replace(tag=34)) == {"tag-size"}
    configure(check, DEVICE_CONTROL, 1 << 8)
    configure(check, DEVICE_CONTROL, 1 << 15 | 1 << 8)
    configure(check, COMMAND, 0x6)
    assert violated(check, read.replace(tag=35)) == {"tag-size"}


def payload(size: int) -> int:
    """Value of Device Control with Max_Payload_Size ``size`` and 512-byte reads."""
    return (size.bit_length() - 8) << 5 | 2 << 12


def test_completion_longer_than_lowered_size_is_violation():
    check = learning_monitor()
    configure(check, DEVICE_CONTROL, payload(512))
    check.host_sent(LONG)
    fall = write(check, DEVICE_CONTROL, payload(128))
    first = completion(LONG, DEVICE, bytes(28))
    assert not violated(check, first)
    rest = completion(LONG, DEVICE, bytes(372), byte_count=372, lower_address=0)
    complete(check, fall)
    assert violated(check, rest) == {"max-payload"}


def test_old_size_may_be_used_until_the_write_completes():
    check = learning_monitor()
    configure(check, DEVICE_CONTROL, payload(512))
    check.host_sent(LONG)
    fall = write(check, DEVICE_CONTROL, payload(128))
    assert not violated(check, completion(LONG, DEVICE, bytes(400)))
    complete(check, fall)


def test_raised_size_may_be_used_from_the_write_on():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    check.host_sent(LONG)
    long = memory_write(0x1000, bytes(512), requester_id=DEVICE)
    assert violated(check, long) == {"max-payload"}
    grow = write(check, DEVICE_CONTROL, payload(512))
    assert not violated(check, long)
    assert not violated(check, completion(LONG, DEVICE, bytes(400)))
    complete(check, grow)
    assert not violated(check, long)


def test_requests_longer_than_lowered_sizes_are_violations():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    configure(check, DEVICE_CONTROL, payload(512))
    long = memory_write(0x1000, bytes(512), requester_id=DEVICE)
    reads = [memory_read(512 * tag, 512, requester_id=DEVICE, tag=tag) for tag in range(3)]
    fall = write(check, DEVICE_CONTROL, 0)
    assert not violated(check, long)
    assert not violated(check, reads[0])
    complete(check, fall)
    assert violated(check, long) == {"max-payload"}
    assert violated(check, reads[1]) == {"max-read-request"}
    configure(check, DEVICE_CONTROL, payload(512))
    assert not violated(check, long)
    assert not violated(check, reads[2])


def test_larger_of_two_pending_sizes_may_be_used():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    grow = write(check, DEVICE_CONTROL, payload(512), tag=2)
    fall = write(check, DEVICE_CONTROL, payload(128), tag=3)
    long = memory_write(0x1000, bytes(512), requester_id=DEVICE)
    assert not violated(check, long)
    complete(check, grow)
    assert not violated(check, long)
    complete(check, fall)
    assert violated(check, long) == {"max-payload"}


def test_unsuccessful_write_is_ignored():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    refused = write(check, DEVICE_CONTROL, payload(512), ep=1)
    complete(check, refused, CplStatus.UR)
    assert violated(check, memory_write(0x1000, bytes(512), requester_id=DEVICE)) == {"max-payload"}
    complete(check, write(check, COMMAND, 0, ep=1), CplStatus.UR)
    assert not violated(check, MSIX)


def test_request_in_d3hot_is_violation():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    # Writes of D1 and D2 are ignored: the function does not support them.
    for state in (1, 2):
        configure(check, POWER_STATE.offset, state)
        assert not violated(check, MSIX)
    sleep = write(check, POWER_STATE.offset, POWER_D3HOT)
    assert not violated(check, MSIX)
    complete(check, sleep)
    assert violated(check, MSIX) == {"bus-master"}
    configure(check, POWER_STATE.offset, 0)
    assert not violated(check, MSIX)


def test_read_completed_after_memory_disable_is_violation():
    for offset, value in ((COMMAND, 0x4), (POWER_STATE.offset, POWER_D3HOT)):
        check = learning_monitor()
        configure(check, COMMAND, 0x6)
        check.host_sent(READ)
        off = write(check, offset, value)
        check.host_sent(READ.replace(tag=6))
        # The write may take effect at any time until its completion.
        assert not violated(check, with_data(READ))
        check.host_sent(READ.replace(tag=7))
        complete(check, off)
        assert violated(check, with_data(READ.replace(tag=6))) == {"memory-space"}
        assert not violated(check, without_data(READ.replace(tag=7)))


def test_read_received_while_memory_disabled_must_fail():
    check = learning_monitor()
    configure(check, COMMAND, 0x4)
    check.host_sent(READ)
    configure(check, COMMAND, 0x6)
    assert violated(check, with_data(READ)) == {"memory-space"}
    check.host_sent(READ)
    assert not violated(check, with_data(READ))


def test_read_completed_after_function_reset_is_violation():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    check.host_sent(READ)
    configure(check, DEVICE_CONTROL, 1 << 15)
    assert violated(check, with_data(READ)) == {"memory-space"}


def test_function_level_reset_keeps_the_payload_size():
    check = learning_monitor()
    configure(check, DEVICE_CONTROL, 2 << 5 | 5 << 12)
    configure(check, DEVICE_CONTROL, 2 << 5 | 5 << 12 | 1 << 15)
    assert (check.max_payload_size, check.max_read_request_size) == (512, 512)


def test_function_level_reset_may_drop_requests():
    check = learning_monitor()
    configure(check, COMMAND, 0x6)
    check.host_sent(READ)
    configure(check, DEVICE_CONTROL, 1 << 15)
    assert not check.outstanding
    assert violated(check, MSIX) == {"bus-master"}
    check.host_sent(READ)
    assert check.outstanding == [READ]


def test_reset_drops_outstanding_requests():
    check = monitor()
    check.host_sent(READ)
    check.reset()
    check.finish()
    assert violated(check, with_data(READ)) == {"unexpected-completion"}
