# SPDX-License-Identifier: BSD-2-Clause
"""Configuration space at work: interprets the declaration in ``models.config_space``."""

from __future__ import annotations

from collections.abc import Mapping

from .config_space import (
    BUS_MASTER_ENABLE,
    CONFIG_DWORDS,
    INITIATE_FLR,
    MEMORY_SPACE_ENABLE,
    MSIX_ENABLE,
    MSIX_FUNCTION_MASK,
    POWER_D0,
    POWER_D3HOT,
    POWER_STATE,
    ConfigField,
    ConfigRegister,
    bar_offset,
)

DWORD_MASK = 0xFFFF_FFFF
BAR_ADDRESS_MASK = 0xFFFF_FFF0
"""A base address register without its type bits."""


class ConfigAccessError(ValueError):
    """An offset, a value or byte enables that no configuration request can have."""


def byte_lanes(byte_enables: int) -> int:
    """The bits of a dword that ``byte_enables``, 4 bits, select."""
    return sum(0xFF << 8 * lane for lane in range(4) if byte_enables >> lane & 1)


class ConfigSpaceModel:
    """The registers and what they hold.

    Parameters
    ----------
    registers
        The declaration, by byte offset.
    """

    def __init__(self, registers: Mapping[int, ConfigRegister]) -> None:
        self._registers = dict(registers)
        self._values: dict[int, int] = {}
        self.reset(function_level=False)

    def reset(self, *, function_level: bool) -> None:
        """Back to the reset values; a function-level reset leaves what survives it."""
        for offset, register in self._registers.items():
            kept = register.survives_flr if function_level else 0
            old = self._values.get(offset, 0)
            self._values[offset] = register.reset & ~kept | old & kept

    def read(self, offset: int) -> int:
        """The dword at byte ``offset``; 0 where there is no register.

        Raises
        ------
        ConfigAccessError
            The offset is not a multiple of 4 from 0 to 4092.
        """
        self._check(offset)
        return self._values.get(offset, 0)

    def write(self, offset: int, value: int, byte_enables: int = 0xF) -> bool:
        """Write the bytes of a dword that ``byte_enables`` selects.

        Returns True when the write asks for a function-level reset, which is the caller's to do.

        Raises
        ------
        ConfigAccessError
            The offset is not a multiple of 4 from 0 to 4092, the value has more than 32 bits, or
            the byte enables more than 4.
        """
        self._check(offset)
        if not 0 <= value <= DWORD_MASK:
            raise ConfigAccessError(f"value is {value:#x}: must be 0 to {DWORD_MASK:#x}")
        if not 0 <= byte_enables <= 0xF:
            raise ConfigAccessError(f"byte_enables is {byte_enables:#x}: must be 0 to 0xf")
        register = self._registers.get(offset)
        if register is None:
            return False
        lanes = byte_lanes(byte_enables)
        writable = register.writable & lanes
        if offset == POWER_STATE.offset and POWER_STATE.of(value) not in (POWER_D0, POWER_D3HOT):
            # D1 and D2 are not supported: such a write completes and changes no state.
            writable &= ~POWER_STATE.mask
        old = self._values[offset]
        new = old & ~writable | value & writable
        self._values[offset] = new & ~(value & register.write_one_clears & lanes)
        return offset == INITIATE_FLR.offset and bool(INITIATE_FLR.mask & lanes & value)

    def raise_status(self, field: ConfigField) -> None:
        """Set a status bit, as hardware does; software clears it by writing one."""
        self._values[field.offset] |= field.mask

    def field(self, field: ConfigField) -> int:
        """What ``field`` holds."""
        return field.of(self._values[field.offset])

    @property
    def memory_enabled(self) -> bool:
        """Memory requests to the BARs are claimed."""
        return bool(self.field(MEMORY_SPACE_ENABLE)) and self.field(POWER_STATE) == POWER_D0

    @property
    def bus_master_enabled(self) -> bool:
        """Requests may leave: bus mastering on, and power on (D0)."""
        return bool(self.field(BUS_MASTER_ENABLE)) and self.field(POWER_STATE) == POWER_D0

    @property
    def msix_allowed(self) -> bool:
        """MSI-X messages may leave: enabled, not masked, and requests may leave."""
        return bool(
            self.field(MSIX_ENABLE)
            and not self.field(MSIX_FUNCTION_MASK)
            and self.bus_master_enabled
        )

    def bar_address(self, bar: int) -> int:
        """The address that software gave to BAR ``bar``."""
        return self._values.get(bar_offset(bar), 0) & BAR_ADDRESS_MASK

    @staticmethod
    def _check(offset: int) -> None:
        if offset % 4 or not 0 <= offset < 4 * CONFIG_DWORDS:
            limit = f"a multiple of 4 from 0 to {4 * CONFIG_DWORDS - 4}"
            raise ConfigAccessError(f"offset is {offset}: must be {limit}")
