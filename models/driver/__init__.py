# SPDX-License-Identifier: BSD-2-Clause
"""Driver side of a bus: message exchange, discovery, devices, events, queue memory."""

from .core import DEVICE_NUMBERS, DISCOVERY_WINDOW, Driver
from .device import RemoteDevice
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
from .exchange import TIMEOUT_US, Exchange, Unclaimed
from .inbox import EventInbox
from .info import DeviceInfo, QueueInfo
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
    "Exchange",
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
