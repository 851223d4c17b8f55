# SPDX-License-Identifier: BSD-2-Clause
"""Configuration space of the golden endpoint."""

import pytest

from models.config_model import ConfigAccessError
from models.config_space import (
    COMMAND,
    DEVICE_CONTROL,
    INITIATE_FLR,
    MAX_PAYLOAD_SIZE,
    MSIX_CAPABILITY,
    NON_FATAL_ERROR_DETECTED,
    PM_CAPABILITY,
    bar_offset,
)
from models.endpoint import Endpoint
from models.shell import ShellError


@pytest.fixture
def endpoint():
    return Endpoint(2)


def test_identification(endpoint):
    assert endpoint.config_read(0x00) == 0x9039_10EE
    assert endpoint.config_read(0x08) == 0x0880_0001
    assert endpoint.config_read(0x3C) == 0
    assert endpoint.config_read(MSIX_CAPABILITY) >> 16 & 0x7FF == 1
    assert endpoint.config_read(0xFFC) == 0


def test_capability_list_ends(endpoint):
    at, seen = endpoint.config_read(0x34), []
    while at:
        header = endpoint.config_read(at)
        seen.append(header & 0xFF)
        at = header >> 8 & 0xFF
    assert seen == [0x01, 0x11, 0x10]


@pytest.mark.parametrize(
    ("num_fifos", "sizes"),
    [(1, (0x4000, 0x4000, 0x1000)), (3, (0x4000, 0x10000, 0x1000)), (8, (0x4000, 0x20000, 0x1000))],
)
def test_bar_sizing(num_fifos, sizes):
    endpoint = Endpoint(num_fifos)
    for bar, size in enumerate(sizes):
        endpoint.config_write(bar_offset(bar), 0xFFFF_FFFF)
        answer = endpoint.config_read(bar_offset(bar))
        assert answer & 0xF == (8 if bar == 1 else 0)
        assert -(answer & 0xFFFF_FFF0) & 0xFFFF_FFFF == size
        endpoint.config_write(bar_offset(bar), 0x8765_4321)
        assert endpoint.config.bar_address(bar) == 0x8765_4321 & ~(size - 1)
    for bar in (3, 4, 5):
        endpoint.config_write(bar_offset(bar), 0xFFFF_FFFF)
        assert endpoint.config_read(bar_offset(bar)) == 0


def test_byte_enables(endpoint):
    endpoint.config_write(COMMAND, 0xFFFF_FFFF, 0b0001)
    assert endpoint.config_read(COMMAND) & 0xFFFF == 0x0046
    endpoint.config_write(COMMAND, 0x0000_0000, 0b0010)
    assert endpoint.config_read(COMMAND) & 0xFFFF == 0x0046
    endpoint.config_write(COMMAND, 0x0000_0000, 0b0000)
    assert endpoint.config_read(COMMAND) & 0xFFFF == 0x0046


def test_writing_1_clears_a_status_bit(endpoint):
    endpoint.config.raise_status(NON_FATAL_ERROR_DETECTED)
    endpoint.config_write(DEVICE_CONTROL, 0, 0xF)
    assert endpoint.config.field(NON_FATAL_ERROR_DETECTED) == 1
    endpoint.config_write(DEVICE_CONTROL, NON_FATAL_ERROR_DETECTED.mask, 0x3)
    assert endpoint.config.field(NON_FATAL_ERROR_DETECTED) == 1
    endpoint.config_write(DEVICE_CONTROL, NON_FATAL_ERROR_DETECTED.mask, 0xC)
    assert endpoint.config.field(NON_FATAL_ERROR_DETECTED) == 0


def test_power_states(endpoint):
    endpoint.config_write(COMMAND, 0x6)
    for written, held in ((3, 3), (1, 3), (2, 3), (0, 0), (2, 0)):
        endpoint.config_write(PM_CAPABILITY + 4, written)
        assert endpoint.config_read(PM_CAPABILITY + 4) & 3 == held
        assert endpoint.config.memory_enabled == (held == 0)


def test_function_level_reset(endpoint):
    resets = []
    endpoint.host_reset_observers.append(lambda: resets.append(True))
    endpoint.config_write(COMMAND, 0x6)
    endpoint.config_write(bar_offset(0), 0x8000_0000)
    endpoint.config_write(DEVICE_CONTROL, 2 << MAX_PAYLOAD_SIZE.lsb | 7 << 12)
    endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask | 2 << MAX_PAYLOAD_SIZE.lsb, 0b0001)
    assert resets == []
    endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask | 1 << MAX_PAYLOAD_SIZE.lsb, 0b0010)
    assert resets == [True]
    assert endpoint.config_read(COMMAND) & 0xFFFF == 0
    assert endpoint.config_read(bar_offset(0)) == 0
    # Max_Payload_Size survives the reset; Max_Read_Request_Size does not.
    assert endpoint.config_read(DEVICE_CONTROL) == 2 << MAX_PAYLOAD_SIZE.lsb | 2 << 12
    endpoint.hot_reset()
    assert endpoint.config_read(DEVICE_CONTROL) == 2 << 12


def test_read_only_registers_do_not_change(endpoint):
    for offset in (0x00, 0x08, 0x2C, 0x34, 0x60, 0x64):
        before = endpoint.config_read(offset)
        endpoint.config_write(offset, 0xFFFF_FFFF)
        endpoint.config_write(offset, 0)
        assert endpoint.config_read(offset) == before


def test_invalid_requests_are_refused(endpoint):
    for offset in (-4, 2, 4096):
        with pytest.raises(ConfigAccessError, match="must be a multiple of 4 from 0 to 4092"):
            endpoint.config_read(offset)
    with pytest.raises(ConfigAccessError, match="value is 0x100000000"):
        endpoint.config_write(0, 1 << 32)
    with pytest.raises(ConfigAccessError, match="byte_enables is 0x10"):
        endpoint.config_write(0, 0, 16)
    with pytest.raises(ShellError, match="num_fifos is 9"):
        Endpoint(9)
