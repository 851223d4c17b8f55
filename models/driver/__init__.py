# SPDX-License-Identifier: BSD-2-Clause
"""The driver side of a bus: requests and responses, discovery, devices, events, queue memory."""

from .core import DEVICE_NUMBERS, DISCOVERY_WINDOW, TIMEOUT_US, Driver, Unclaimed
from .device import DeviceInfo, DriverDevice, QueueInfo
from .errors import (
    ConfigError,
    DriverError,
    DriverStoppedError,
    FeaturesRefusedError,
    NoDeviceError,
    ProtocolError,
    QueueError,
    RequestTimeoutError,
    StatusError,
)
from .inbox import EventQueue
from .rings import Ring, RingArena

__all__ = [
    "DEVICE_NUMBERS",
    "DISCOVERY_WINDOW",
    "TIMEOUT_US",
    "ConfigError",
    "DeviceInfo",
    "Driver",
    "DriverDevice",
    "DriverError",
    "DriverStoppedError",
    "EventQueue",
    "FeaturesRefusedError",
    "NoDeviceError",
    "ProtocolError",
    "QueueError",
    "QueueInfo",
    "RequestTimeoutError",
    "Ring",
    "RingArena",
    "StatusError",
    "Unclaimed",
]
