# SPDX-License-Identifier: BSD-2-Clause
"""Declaration of configuration space against the requirements of PCI Express."""

import pytest

from models import config_space as space
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI, AMP_PCI_9038

REGISTERS = space.config_space(AMP_PCI, 1, SPSC_PAGES)
CAPABILITY = space.PCIE_CAPABILITY
HARDWARE_AUTONOMOUS_SPEED_DISABLE, SELECTABLE_DE_EMPHASIS = 1 << 5, 1 << 6


def test_link_speeds_agree():
    fastest = REGISTERS[CAPABILITY + 0x0C].reset & 0xF
    current = REGISTERS[CAPABILITY + 0x10].reset >> 16 & 0xF
    vector = REGISTERS[CAPABILITY + 0x2C].reset >> 1 & 0x7F
    target = space.TARGET_LINK_SPEED.of(REGISTERS[CAPABILITY + 0x30].reset)
    assert fastest == current == target == vector.bit_length()


def test_link_control_2_is_writable_above_2_5_gt_s():
    """Bits that a component without the mechanism may hardwire are read-only (7.5.3.19)."""
    register = REGISTERS[space.TARGET_LINK_SPEED.offset]
    hardwired = HARDWARE_AUTONOMOUS_SPEED_DISABLE | SELECTABLE_DE_EMPHASIS
    assert register.writable == 0xFFFF & ~hardwired
    # Sticky bits are not modified by a function-level reset.
    assert register.survives_flr == register.writable


@pytest.mark.parametrize("shell", [AMP_PCI, AMP_PCI_9038])
def test_8_gt_s_has_the_secondary_pci_express_capability(shell):
    """The capability is required if the Supported Link Speeds Vector has 8 GT/s (7.7.3)."""
    registers = space.config_space(shell, 2, SPSC_PAGES)
    assert registers[CAPABILITY + 0x2C].reset >> 3 & 1
    found, offset = {}, 0x100
    while offset:
        header = registers[offset].reset
        found[header & 0xFFFF] = offset
        assert header >> 16 & 0xF == 1, "capability version"
        offset = header >> 20
    assert found == {0x0019: 0x100}
    width = REGISTERS[CAPABILITY + 0x0C].reset >> 4 & 0x3F
    lanes = [registers[0x10C + 2 * lane].reset >> 16 * (lane & 1) for lane in range(0, width, 2)]
    assert [lane & 0xFFFF for lane in lanes] == [0x7F00] * (width // 2)


def test_register_masks_are_consistent():
    for offset, register in REGISTERS.items():
        assert offset == register.offset and offset % 4 == 0
        assert not register.writable & register.write_one_clears, register.name
        assert not register.survives_flr & ~register.writable, register.name
