# SPDX-License-Identifier: BSD-2-Clause
"""Options of every guest that the user boots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GuestOptions:
    """Options of a machine and of the endpoint on its bus.

    Attributes
    ----------
    append
        Kernel parameters, added to the default ones.
    devices
        Devices behind the endpoint, as for :func:`sim.vm.serve.devices.parse_devices`; empty for
        one of each kind.
    gdb, wait
        QEMU listens for gdb; it does not start until gdb continues.
    revision
        Wire revision.
    processors
        Number of processors.
    memory_mb
        Guest memory in units of 2**20 bytes; 0 for the default.
    qemu_arguments
        Further arguments of QEMU.
    engine, window_us
        As in :class:`~sim.vm.serve.server.Server`.
    """

    append: str = ""
    devices: Sequence[str] = ()
    gdb: bool = False
    wait: bool = False
    revision: str = "v1"
    processors: int = 1
    memory_mb: int = 0
    qemu_arguments: Sequence[str] = ()
    engine: str | None = None
    window_us: tuple[float, float] | None = None

    def appended(self, default: str) -> str:
        """The kernel's command line."""
        return f"{default} {self.append}".strip()
