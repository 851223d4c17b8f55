# SPDX-License-Identifier: BSD-2-Clause
"""Constants of the virtio specification: status bits, feature bits and device IDs.

Source: Virtual I/O Device (VIRTIO) version 1.4, sections 2.1 (status), 2.2 and 6 (feature bits)
and 5 (device types). Versions 1.3 and 1.4 agree on every constant that 1.3 defines.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class DeviceStatus(IntFlag):
    """Device status bits, 8 bits wide (virtio 2.1)."""

    ACKNOWLEDGE = 0x01
    DRIVER = 0x02
    DRIVER_OK = 0x04
    FEATURES_OK = 0x08
    SUSPEND = 0x10
    NEEDS_RESET = 0x40
    FAILED = 0x80


class Feature(IntEnum):
    """Feature bit numbers.

    Bits below 64 are common to all device types (virtio 6). Bits from 64 on belong to the network
    device alone (virtio 5.1.3).
    """

    INDIRECT_DESC = 28
    EVENT_IDX = 29
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    SR_IOV = 37
    NOTIFICATION_DATA = 38
    NOTIF_CONFIG_DATA = 39
    RING_RESET = 40
    ADMIN_VQ = 41
    RESERVED_42 = 42
    SUSPEND = 43
    NET_RSS_CONTEXT = 64
    NET_GUEST_UDP_TUNNEL_GSO = 65
    NET_GUEST_UDP_TUNNEL_GSO_CSUM = 66
    NET_HOST_UDP_TUNNEL_GSO = 67
    NET_HOST_UDP_TUNNEL_GSO_CSUM = 68
    NET_OUT_NET_HEADER = 69
    NET_IPSEC = 70

    @property
    def mask(self) -> int:
        """Mask of the feature in the feature word that spans all blocks."""
        return 1 << self.value


RING_FEATURES = Feature.INDIRECT_DESC.mask | Feature.EVENT_IDX.mask
"""Features that devices with a data path offer and drivers accept, for every device type."""

BASE_FEATURES = Feature.VERSION_1.mask | Feature.ACCESS_PLATFORM.mask | Feature.ORDER_PLATFORM.mask
"""Features that every device offers and every driver accepts (virtio 6.1, 6.2).

Without ACCESS_PLATFORM a driver passes addresses that no bus master may use. With ORDER_PLATFORM a
driver orders its accesses for a device that is not a processor core, such as a card."""

UNSUPPORTED_FEATURES = (
    Feature.RING_PACKED.mask
    | Feature.NOTIFICATION_DATA.mask
    | Feature.NOTIF_CONFIG_DATA.mask
    | Feature.ADMIN_VQ.mask
    | Feature.SUSPEND.mask
)
"""Features that no device here offers and no driver accepts.

Packed rings, administration virtqueues and suspension are not implemented, the bus does not keep
notification data, and the draft forbids NOTIF_CONFIG_DATA."""


class DeviceId(IntEnum):
    """Device types (virtio 5)."""

    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4


FEATURE_BITS = 128
"""Feature bits that a device of this project can offer: four blocks of 32."""
MIN_FEATURE_BITS = 64
"""Feature bits that every device announces by default.

The Linux driver of the patch series refuses a device that announces another number."""


def status_names(status: int) -> str:
    """Names of the bits set in ``status``, lowest first, then the undefined bits in hex."""
    named = DeviceStatus(status & _ALL_STATUS)
    names = [bit.name or "" for bit in named]
    rest = status & ~_ALL_STATUS
    return " ".join([*names, hex(rest)] if rest else names)


def feature_names(features: int) -> str:
    """Names of the bits set in ``features``, lowest first; undefined bits by number."""
    names = []
    for bit in range(features.bit_length()):
        if features >> bit & 1:
            names.append(Feature(bit).name if bit in _FEATURE_NUMBERS else f"bit {bit}")
    return " ".join(names)


def device_name(device_id: int) -> str:
    """Device type in lower case, or "" for a type without a name in :class:`DeviceId`."""
    return DeviceId(device_id).name.lower() if device_id in _DEVICE_NUMBERS else ""


_ALL_STATUS = sum(DeviceStatus)
_FEATURE_NUMBERS = frozenset(feature.value for feature in Feature)
_DEVICE_NUMBERS = frozenset(device.value for device in DeviceId)
