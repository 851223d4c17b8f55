# SPDX-License-Identifier: BSD-2-Clause
"""Drivers for device types, on top of :class:`~models.driver.Driver`: the application interface."""

from __future__ import annotations

from .base import ChainTooLongError, DataPathError, TransferTimeoutError, VirtioDriver
from .block import BlockDriver, BlockError
from .console import ConsoleDriver, LineTooLongError
from .entropy import EntropyDriver
from .network import NetworkDriver, NoReplyError

__all__ = [
    "BlockDriver",
    "BlockError",
    "ChainTooLongError",
    "ConsoleDriver",
    "DataPathError",
    "EntropyDriver",
    "LineTooLongError",
    "NetworkDriver",
    "NoReplyError",
    "TransferTimeoutError",
    "VirtioDriver",
]
