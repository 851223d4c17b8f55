# SPDX-License-Identifier: BSD-2-Clause
"""Numbers of the virtio specification that this project uses: status, features, device ids.

Source: Virtual I/O Device (VIRTIO) version 1.3, sections 2.1 (status), 6 (reserved feature bits)
and 5 (device types).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Status(IntFlag):
    """Device status bits, 8 bits wide (virtio 2.1)."""

    ACKNOWLEDGE = 0x01
    DRIVER = 0x02
    DRIVER_OK = 0x04
    FEATURES_OK = 0x08
    NEEDS_RESET = 0x40
    FAILED = 0x80


class Feature(IntEnum):
    """Bit numbers of the features that belong to no device type (virtio 6)."""

    INDIRECT_DESC = 28
    EVENT_IDX = 29
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    NOTIFICATION_DATA = 38
    NOTIF_CONFIG_DATA = 39
    RING_RESET = 40

    @property
    def mask(self) -> int:
        """The feature as a bit of the feature word that spans all blocks."""
        return 1 << self.value


RING_FEATURES = Feature.INDIRECT_DESC.mask | Feature.EVENT_IDX.mask
"""What devices with a data path offer, and drivers take, whatever the device type."""

UNSUPPORTED_FEATURES = Feature.NOTIFICATION_DATA.mask | Feature.NOTIF_CONFIG_DATA.mask
"""What no device here offers and no driver takes: the bus keeps no such data of notifications, and
the draft forbids the second."""


class DeviceId(IntEnum):
    """Device types (virtio 5)."""

    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4


FEATURE_BITS = 64
"""Feature bits that a device here can offer: two blocks of 32."""


def status_names(status: int) -> str:
    """The names of the bits set in ``status``, lowest first, and any nameless rest in hex."""
    named = Status(status & _ALL_STATUS)
    names = [bit.name or "" for bit in named]
    rest = status & ~_ALL_STATUS
    return " ".join([*names, hex(rest)] if rest else names)


def feature_names(features: int) -> str:
    """The names of the features set in ``features``, lowest first; nameless bits by number."""
    names = []
    for bit in range(features.bit_length()):
        if features >> bit & 1:
            names.append(Feature(bit).name if bit in _FEATURE_NUMBERS else f"bit {bit}")
    return " ".join(names)


def device_name(device_id: int) -> str:
    """The device type in lower case, or "" when this project knows no name for it."""
    return DeviceId(device_id).name.lower() if device_id in _DEVICE_NUMBERS else ""


_ALL_STATUS = 0xCF
_FEATURE_NUMBERS = frozenset(feature.value for feature in Feature)
_DEVICE_NUMBERS = frozenset(device.value for device in DeviceId)
