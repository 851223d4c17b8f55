# SPDX-License-Identifier: BSD-2-Clause
"""Drivers of device types, on top of :class:`~models.driver.Driver`: what an application calls."""

from __future__ import annotations

from .base import DataPath, DataPathError, TransferTimeoutError
from .block import BlockDriver, BlockError
from .console import ConsoleDriver
from .entropy import EntropyDriver
from .network import NetworkDriver

__all__ = [
    "BlockDriver",
    "BlockError",
    "ConsoleDriver",
    "DataPath",
    "DataPathError",
    "EntropyDriver",
    "NetworkDriver",
    "TransferTimeoutError",
]
