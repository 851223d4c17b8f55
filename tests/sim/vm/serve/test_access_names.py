# SPDX-License-Identifier: BSD-2-Clause
"""Names of the places that a guest accesses."""

import random

import pytest

from models.config_space import COMMAND, DEVICE_CONTROL, MSIX_CAPABILITY, bar_offset, config_space
from models.layout import LAYOUTS, SPSC_PAGES
from models.shell import AMP_PCI, SHELLS
from sim.vm.serve.access_names import AccessNames

REGISTERS, FIFO_RAM, MSIX = AMP_PCI.register_bar, AMP_PCI.fifo_bar, AMP_PCI.msix_bar
DRIVER, DEVICE = 0x1000, 0x2000
"""Offsets of FIFO 0's queues; those of FIFO 1 are 16 KiB further."""


@pytest.fixture
def names():
    return AccessNames(AMP_PCI, SPSC_PAGES, 2)


@pytest.mark.parametrize(
    ("bar", "offset", "data", "text"),
    [
        (REGISTERS, 0x00, "01000000", "VERSION = 0x1"),
        (REGISTERS, 0x04, "00000000", "FEATURES = 0x0"),
        (REGISTERS, 0x00, "0100000000000000", "VERSION = 0x1, FEATURES = 0x0"),
        (REGISTERS, 0x02, "0000", "VERSION bytes 2 to 3 = 0x0"),
        (REGISTERS, 0x20, "01000000", "doorbell of FIFO 0"),
        (REGISTERS, 0x24, "01000000", "doorbell of FIFO 1"),
        (REGISTERS, 0x25, "01", "doorbell of FIFO 1 byte 1"),
        (REGISTERS, 0x20, "01" * 8, "doorbell of FIFO 0, doorbell of FIFO 1"),
        (REGISTERS, 0x28, "01000000", "reserved"),
        (FIFO_RAM, DRIVER, "03000000", "FIFO 0 driver queue head = 3"),
        (FIFO_RAM, DRIVER, "c8000000", "FIFO 0 driver queue head = 200 (14 modulo 62)"),
        (FIFO_RAM, DRIVER, "0300", "FIFO 0 driver queue head bytes 0 to 1 = 0x3"),
        (FIFO_RAM, DRIVER + 0x40, "3d000000", "FIFO 0 driver queue tail = 61"),
        (FIFO_RAM, DEVICE, "01000000", "FIFO 0 device queue head = 1"),
        (FIFO_RAM, 0x4000 + DEVICE + 0x40, "02000000", "FIFO 1 device queue tail = 2"),
        (FIFO_RAM, DRIVER + 0x80, "00" * 64, "FIFO 0 driver queue slot 0"),
        (FIFO_RAM, DRIVER + 0x80 + 64 * 61, "00" * 8, "FIFO 0 driver queue slot 61 bytes 0 to 7"),
        (
            FIFO_RAM,
            DRIVER + 0xB8,
            "00" * 16,
            "FIFO 0 driver queue slot 0 bytes 56 to 63, FIFO 0 driver queue slot 1 bytes 0 to 7",
        ),
        (FIFO_RAM, 0, "00" * 8, "reserved"),
        (FIFO_RAM, DRIVER + 4, "00" * 8, "reserved"),
        (MSIX, 0x00, "0000e0fe", "vector 0 address = 0xfee00000"),
        (MSIX, 0x14, "00000000", "vector 1 upper address = 0x0"),
        (MSIX, 0x18, "25000000", "vector 1 data = 0x25"),
        (MSIX, 0x1C, "01000000", "vector 1 control = 0x1"),
        (MSIX, 0x20, "00000000", "reserved"),
        (MSIX, 0x800, "0300000000000000", "pending bits = 0x3"),
        (5, 0, "00", "reserved"),
    ],
)
def test_name_of_bar_access(names, bar, offset, data, text):
    assert names.bar(bar, offset, bytes.fromhex(data)) == text


@pytest.mark.parametrize(
    ("offset", "data", "text"),
    [
        (0x00, "ee103990", "Vendor ID = 0x10ee, Device ID = 0x9039"),
        (COMMAND, "0600", "Command = 0x6"),
        (COMMAND + 2, "1000", "Status = 0x10"),
        (0x08, "01008008", "Class Code, Revision ID = 0x8800001"),
        (0x0C, "10", "Cache Line Size byte 0 = 0x10"),
        (bar_offset(1), "ffffffff", "Base Address Register 1 = 0xffffffff"),
        (DEVICE_CONTROL, "0080", "Device Control = 0x8000"),
        (MSIX_CAPABILITY + 2, "0180", "MSI-X Message Control bytes 2 to 3 = 0x8001"),
        (0x100, "19000100", "Secondary PCI Express = 0x10019"),
        (0x200, "00000000", "reserved"),
    ],
)
def test_name_of_config_access(names, offset, data, text):
    assert names.config(offset, bytes.fromhex(data)) == text


def test_names_of_long_access_are_limited(names):
    text = names.bar(FIFO_RAM, 0, bytes(0x8000))
    assert text.endswith(", …") and text.count(",") == 4
    assert names.config(0, bytes(4096)).endswith(", …")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
def test_every_access_of_every_build_has_a_name(shell, layout):
    """Random accesses to all BARs, and every register of configuration space."""
    generator = random.Random(1)
    for num_fifos in (1, 3, 8):
        names = AccessNames(shell, layout, num_fifos)
        for bar, size in shell.bar_sizes(num_fifos, layout).items():
            for _ in range(200):
                count = generator.choice((1, 2, 4, 8, 64))
                text = names.bar(bar, generator.randrange(size - count), bytes(count))
                assert text and "\n" not in text
        for offset, register in config_space(shell, num_fifos, layout).items():
            text = names.config(offset, bytes(4))
            assert all(part in text for part in register.name.split(", "))
