# SPDX-License-Identifier: BSD-2-Clause
"""Driver side of a bus: requests and responses, discovery, devices, events, queue memory."""

from .core import DEVICE_NUMBERS, DISCOVERY_WINDOW, TIMEOUT_US, Driver, Unclaimed
from .device import DeviceInfo, QueueInfo, RemoteDevice
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
from .inbox import EventInbox
from .rings import Ring, RingAllocator

__all__ = [
    "DEVICE_NUMBERS",
    "DISCOVERY_WINDOW",
    "TIMEOUT_US",
    "ConfigError",
    "DeviceInfo",
    "Driver",
    "DriverError",
    "DriverStoppedError",
    "EventInbox",
    "FeaturesRefusedError",
    "NoDeviceError",
    "ProtocolError",
    "QueueError",
    "QueueInfo",
    "RemoteDevice",
    "RequestTimeoutError",
    "Ring",
    "RingAllocator",
    "StatusError",
    "Unclaimed",
]
