# SPDX-License-Identifier: BSD-2-Clause
"""Configuration space model: interprets the declaration in ``models.config_space``."""

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
"""Address bits of a base address register."""


class ConfigAccessError(ValueError):
    """Offset, value or byte enables that no configuration request can have."""


def byte_lanes(byte_enables: int) -> int:
    """Mask of the bits of a dword that ``byte_enables`` (4 bits) selects."""
    return sum(0xFF << 8 * lane for lane in range(4) if byte_enables >> lane & 1)


class ConfigSpaceModel:
    """Configuration registers and their values.

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
        """Set all fields to their reset values.

        A function-level reset keeps the fields that survive it.
        """
        for offset, register in self._registers.items():
            keep = register.survives_flr if function_level else 0
            old = self._values.get(offset, 0)
            self._values[offset] = register.reset & ~keep | old & keep

    def read(self, offset: int) -> int:
        """Read the dword at byte ``offset``, which is 0 where there is no register.

        Raises
        ------
        ConfigAccessError
            The offset is not a multiple of 4 from 0 to 4092.
        """
        self._check(offset)
        return self._values.get(offset, 0)

    def write(self, offset: int, value: int, byte_enables: int = 0xF) -> bool:
        """Write the bytes of a dword that ``byte_enables`` selects.

        Returns
        -------
        bool
            The write initiates a function-level reset, which the caller must perform.

        Raises
        ------
        ConfigAccessError
            The offset is not a multiple of 4 from 0 to 4092, the value does not fit in 32 bits, or
            the byte enables do not fit in 4.
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
            # D1 and D2 are not supported: the write completes without changing the state.
            writable &= ~POWER_STATE.mask
        old = self._values[offset]
        new = old & ~writable | value & writable
        self._values[offset] = new & ~(value & register.write_one_clears & lanes)
        return offset == INITIATE_FLR.offset and bool(INITIATE_FLR.mask & lanes & value)

    def raise_status(self, field: ConfigField) -> None:
        """Set a status bit, as hardware does. Software clears it by writing 1."""
        self._values[field.offset] |= field.mask

    def field(self, field: ConfigField) -> int:
        """Value of ``field``."""
        return field.of(self._values[field.offset])

    @property
    def memory_enabled(self) -> bool:
        """The function claims memory requests to its BARs."""
        return bool(self.field(MEMORY_SPACE_ENABLE)) and self.field(POWER_STATE) == POWER_D0

    @property
    def bus_master_enabled(self) -> bool:
        """The function may issue requests: Bus Master Enable is set and the state is D0."""
        return bool(self.field(BUS_MASTER_ENABLE)) and self.field(POWER_STATE) == POWER_D0

    @property
    def msix_allowed(self) -> bool:
        """The function may send MSI-X messages: enabled, not masked, and it may issue requests."""
        return bool(
            self.field(MSIX_ENABLE)
            and not self.field(MSIX_FUNCTION_MASK)
            and self.bus_master_enabled
        )

    def bar_address(self, bar: int) -> int:
        """Address that software assigned to BAR ``bar``."""
        return self._values.get(bar_offset(bar), 0) & BAR_ADDRESS_MASK

    @staticmethod
    def _check(offset: int) -> None:
        if offset % 4 or not 0 <= offset < 4 * CONFIG_DWORDS:
            limit = f"a multiple of 4 from 0 to {4 * CONFIG_DWORDS - 4}"
            raise ConfigAccessError(f"offset is {offset}: must be {limit}")
