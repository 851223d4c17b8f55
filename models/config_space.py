# SPDX-License-Identifier: BSD-2-Clause
"""Type 0 configuration space, declared as data: one entry per dword that is not constant zero.

hdl builds its registers from :func:`config_space`; the golden model interprets it. Sources: PCI
Local Bus 3.0 section 6.1 (type 0 header), PCI Bus Power Management 1.2 section 3.2, and PCI Express
Base 4.0 sections 7.5 (PCI Express capability), 7.7.2 (MSI-X) and 7.7.3 (Secondary PCI Express).
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import SharedLayout
from .shell import PciShell

CONFIG_DWORDS = 1024
"""Dwords of the configuration space of a function, including extended space."""

PM_CAPABILITY = 0x40
"""Offset of the Power Management capability."""
MSIX_CAPABILITY = 0x50
"""Offset of the MSI-X capability."""
PCIE_CAPABILITY = 0x60
"""Offset of the PCI Express capability."""
SECONDARY_PCIE_CAPABILITY = 0x100
"""Offset at which extended capabilities begin (section 7.6.1)."""


@dataclass(frozen=True, kw_only=True)
class ConfigRegister:
    """One dword of configuration space.

    Parameters
    ----------
    offset
        Byte offset, a multiple of 4.
    name
        Name in the specification.
    reset
        Value after reset.
    writable
        Mask of the bits that software may set and clear.
    write_one_clears
        Mask of the status bits that hardware sets and software clears by writing 1.
    survives_flr
        Mask of the writable bits that a function-level reset keeps (PCI Express Base 6.6.2).
    """

    offset: int
    name: str
    reset: int = 0
    writable: int = 0
    write_one_clears: int = 0
    survives_flr: int = 0


@dataclass(frozen=True)
class ConfigField:
    """Field of ``width`` bits at bit ``lsb`` of the dword at byte ``offset``."""

    offset: int
    lsb: int
    width: int = 1

    @property
    def mask(self) -> int:
        """Mask of the field in its dword."""
        return ((1 << self.width) - 1) << self.lsb

    def of(self, dword: int) -> int:
        """Value of the field in ``dword``."""
        return (dword & self.mask) >> self.lsb


COMMAND = 0x04
MEMORY_SPACE_ENABLE = ConfigField(COMMAND, 1)
BUS_MASTER_ENABLE = ConfigField(COMMAND, 2)
PARITY_ERROR_RESPONSE = ConfigField(COMMAND, 6)
MASTER_DATA_PARITY_ERROR = ConfigField(COMMAND, 24)
RECEIVED_TARGET_ABORT = ConfigField(COMMAND, 28)
RECEIVED_MASTER_ABORT = ConfigField(COMMAND, 29)
DETECTED_PARITY_ERROR = ConfigField(COMMAND, 31)
POWER_STATE = ConfigField(PM_CAPABILITY + 4, 0, 2)
POWER_D0 = 0
POWER_D3HOT = 3
MSIX_FUNCTION_MASK = ConfigField(MSIX_CAPABILITY, 30)
MSIX_ENABLE = ConfigField(MSIX_CAPABILITY, 31)
DEVICE_CONTROL = PCIE_CAPABILITY + 8
MAX_PAYLOAD_SIZE = ConfigField(DEVICE_CONTROL, 5, 3)
EXTENDED_TAG_ENABLE = ConfigField(DEVICE_CONTROL, 8)
MAX_READ_REQUEST_SIZE = ConfigField(DEVICE_CONTROL, 12, 3)
INITIATE_FLR = ConfigField(DEVICE_CONTROL, 15)
CORRECTABLE_ERROR_DETECTED = ConfigField(DEVICE_CONTROL, 16)
NON_FATAL_ERROR_DETECTED = ConfigField(DEVICE_CONTROL, 17)
FATAL_ERROR_DETECTED = ConfigField(DEVICE_CONTROL, 18)
UNSUPPORTED_REQUEST_DETECTED = ConfigField(DEVICE_CONTROL, 19)
TRANSACTIONS_PENDING = ConfigField(DEVICE_CONTROL, 21)
"""Not a register: set while a read request of the device is outstanding."""
READ_COMPLETION_BOUNDARY = ConfigField(PCIE_CAPABILITY + 0x10, 3)
COMPLETION_TIMEOUT_DISABLE = ConfigField(PCIE_CAPABILITY + 0x28, 4)
TARGET_LINK_SPEED = ConfigField(PCIE_CAPABILITY + 0x30, 0, 4)

LINK_SPEED = 3
"""Code of 8 GT/s in the link speed fields."""
LINK_WIDTH = 4
COMPLIANCE_BITS = 0xFF90
"""Link Control 2: Enter Compliance (4), Transmit Margin (7), Enter Modified Compliance (10),
Compliance SOS (11), Compliance Preset (12). On a link faster than 2.5 GT/s, these fields and
Target Link Speed are writable and sticky (section 7.5.3.19)."""
UPSTREAM_LANE = 0x7F00
"""Equalization control of a lane of an upstream port: the default preset and hint (7.7.3.4)."""

SETTLING_CYCLES = 2
"""Cycles from the change of a setting until the core's ``status_config_settled`` reflects it."""

LARGEST_SIZE_CODE = 5
"""Code of 4,096 bytes in Max_Payload_Size and Max_Read_Request_Size; higher codes are reserved."""


def size_code(size: int) -> int:
    """Code of ``size`` bytes in Max_Payload_Size and Max_Read_Request_Size.

    Raises
    ------
    ValueError
        ``size`` is not a power of two from 128 to 4,096.
    """
    if size not in {coded_size(code) for code in range(LARGEST_SIZE_CODE + 1)}:
        raise ValueError(f"size is {size}: must be a power of two from 128 to 4096")
    return size.bit_length() - 8


def coded_size(code: int) -> int:
    """Size in bytes that ``code`` stands for. A reserved code means the largest size."""
    return 128 << min(code, LARGEST_SIZE_CODE)


def bar_offset(bar: int) -> int:
    """Byte offset of base address register ``bar``."""
    return 0x10 + 4 * bar


def config_space(
    shell: PciShell, num_fifos: int, layout: SharedLayout
) -> dict[int, ConfigRegister]:
    """Declare every dword that is not constant zero, by byte offset.

    A dword that is not in the result reads zero and ignores writes.
    """
    registers = [
        ConfigRegister(
            offset=0x00, name="Device ID, Vendor ID", reset=shell.device_id << 16 | shell.vendor_id
        ),
        # Capabilities List (20) is the only status bit that is constant 1; writing 1 clears the
        # error bits above it. Interrupt Disable (10) is writable although there is no INTx.
        ConfigRegister(
            offset=COMMAND,
            name="Status, Command",
            reset=1 << 20,
            writable=0x0546,
            write_one_clears=0xF900_0000,
        ),
        ConfigRegister(
            offset=0x08,
            name="Class Code, Revision ID",
            reset=shell.class_code << 8 | shell.revision,
        ),
        ConfigRegister(offset=0x0C, name="Cache Line Size", writable=0xFF),
        ConfigRegister(
            offset=0x2C,
            name="Subsystem ID, Subsystem Vendor ID",
            reset=shell.subsystem_id << 16 | shell.subsystem_vendor_id,
        ),
        ConfigRegister(offset=0x34, name="Capabilities Pointer", reset=PM_CAPABILITY),
        ConfigRegister(offset=0x3C, name="Interrupt Line", writable=0xFF),
        # Version 3, no PME, D1 or D2. No_Soft_Reset (3): leaving D3hot keeps all state.
        ConfigRegister(
            offset=PM_CAPABILITY,
            name="Power Management Capabilities",
            reset=3 << 16 | MSIX_CAPABILITY << 8 | 0x01,
        ),
        ConfigRegister(
            offset=POWER_STATE.offset,
            name="Power Management Control/Status",
            reset=1 << 3,
            writable=POWER_STATE.mask,
        ),
        ConfigRegister(
            offset=MSIX_CAPABILITY,
            name="MSI-X Message Control",
            reset=(shell.num_vectors(num_fifos) - 1) << 16 | PCIE_CAPABILITY << 8 | 0x11,
            writable=MSIX_ENABLE.mask | MSIX_FUNCTION_MASK.mask,
        ),
        ConfigRegister(
            offset=MSIX_CAPABILITY + 4,
            name="MSI-X Table",
            reset=shell.msix_table_offset | shell.msix_bar,
        ),
        ConfigRegister(
            offset=MSIX_CAPABILITY + 8,
            name="MSI-X PBA",
            reset=shell.msix_pba_offset | shell.msix_bar,
        ),
        # Version 2, device type 0: PCI Express endpoint.
        ConfigRegister(offset=PCIE_CAPABILITY, name="PCI Express Capabilities", reset=0x0002_0010),
        # 4 KiB payloads (5), extended tags (5), role-based errors (15), FLR (28).
        ConfigRegister(
            offset=PCIE_CAPABILITY + 4,
            name="Device Capabilities",
            reset=1 << 28 | 1 << 15 | 1 << 5 | 5,
        ),
        ConfigRegister(
            offset=DEVICE_CONTROL,
            name="Device Status, Device Control",
            reset=2 << MAX_READ_REQUEST_SIZE.lsb,
            writable=MAX_READ_REQUEST_SIZE.mask
            | EXTENDED_TAG_ENABLE.mask
            | MAX_PAYLOAD_SIZE.mask
            | 0xF,
            write_one_clears=0xF << 16,
            survives_flr=MAX_PAYLOAD_SIZE.mask,
        ),
        # ASPM optionality compliance (22). The link is not part of the endpoint.
        ConfigRegister(
            offset=PCIE_CAPABILITY + 0x0C,
            name="Link Capabilities",
            reset=1 << 22 | LINK_WIDTH << 4 | LINK_SPEED,
        ),
        ConfigRegister(
            offset=READ_COMPLETION_BOUNDARY.offset,
            name="Link Status, Link Control",
            reset=(LINK_WIDTH << 4 | LINK_SPEED) << 16,
            writable=0x00CB,
            survives_flr=0x00CB,
        ),
        ConfigRegister(offset=PCIE_CAPABILITY + 0x24, name="Device Capabilities 2", reset=1 << 4),
        ConfigRegister(
            offset=COMPLETION_TIMEOUT_DISABLE.offset,
            name="Device Control 2",
            writable=COMPLETION_TIMEOUT_DISABLE.mask,
        ),
        ConfigRegister(
            offset=PCIE_CAPABILITY + 0x2C,
            name="Link Capabilities 2",
            reset=((1 << LINK_SPEED) - 1) << 1,
        ),
        # A link at 8 GT/s has been equalized: complete (17), and each of its phases (18 to 20).
        ConfigRegister(
            offset=TARGET_LINK_SPEED.offset,
            name="Link Status 2, Link Control 2",
            reset=0b1111 << 17 | LINK_SPEED,
            writable=TARGET_LINK_SPEED.mask | COMPLIANCE_BITS,
            survives_flr=TARGET_LINK_SPEED.mask | COMPLIANCE_BITS,
        ),
        # Required for a link of 8 GT/s. Version 1, last of the list. Link Control 3 and Lane Error
        # Status are zero: they belong to a downstream port and to the link.
        ConfigRegister(
            offset=SECONDARY_PCIE_CAPABILITY, name="Secondary PCI Express", reset=1 << 16 | 0x0019
        ),
        *(
            ConfigRegister(
                offset=SECONDARY_PCIE_CAPABILITY + 0x0C + 2 * lane,
                name=f"Lane Equalization Control, lanes {lane}, {lane + 1}",
                reset=UPSTREAM_LANE << 16 | UPSTREAM_LANE,
            )
            for lane in range(0, LINK_WIDTH, 2)
        ),
    ]
    for bar, size in shell.bar_sizes(num_fifos, layout).items():
        prefetchable = 8 if bar == shell.fifo_bar else 0
        registers.append(
            ConfigRegister(
                offset=bar_offset(bar),
                name=f"Base Address Register {bar}",
                reset=prefetchable,
                writable=0xFFFF_FFFF & ~(size - 1),
            )
        )
    return {register.offset: register for register in sorted(registers, key=lambda r: r.offset)}
