# SPDX-License-Identifier: BSD-2-Clause
"""Numbers of the virtio specification that this project uses: status, features, device ids.

Source: Virtual I/O Device (VIRTIO) version 1.4, sections 2.1 (status), 2.2 and 6 (feature bits)
and 5 (device types). Versions 1.3 and 1.4 agree on all of these that 1.3 has.
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
    """Bit numbers of features: those of every device type (virtio 6), and from bit 64 on those of
    the network device (virtio 5.1.3), which no other device type uses."""

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
        """The feature as a bit of the feature word that spans all blocks."""
        return 1 << self.value


RING_FEATURES = Feature.INDIRECT_DESC.mask | Feature.EVENT_IDX.mask
"""What devices with a data path offer, and drivers take, whatever the device type."""

BASE_FEATURES = Feature.VERSION_1.mask | Feature.ACCESS_PLATFORM.mask | Feature.ORDER_PLATFORM.mask
"""What every device offers and every driver takes (virtio 6.1, 6.2). Without ACCESS_PLATFORM a
driver hands out addresses that no bus master may use. ORDER_PLATFORM tells a driver to order its
accesses for a device that is not a processor core: a card is one."""

UNSUPPORTED_FEATURES = (
    Feature.RING_PACKED.mask
    | Feature.NOTIFICATION_DATA.mask
    | Feature.NOTIF_CONFIG_DATA.mask
    | Feature.ADMIN_VQ.mask
    | Feature.SUSPEND.mask
)
"""What no device here offers and no driver takes: packed rings, administration and suspension are
not implemented, the bus keeps no data of notifications, and the draft forbids NOTIF_CONFIG_DATA."""


class DeviceId(IntEnum):
    """Device types (virtio 5)."""

    NET = 1
    BLOCK = 2
    CONSOLE = 3
    ENTROPY = 4


FEATURE_BITS = 128
"""Feature bits that a device here can offer: four blocks of 32."""
MIN_FEATURE_BITS = 64
"""Feature bits that every device announces: the Linux driver of the patch series refuses a device
that announces another number."""


def status_names(status: int) -> str:
    """The names of the bits set in ``status``, lowest first, and any nameless rest in hex."""
    named = DeviceStatus(status & _ALL_STATUS)
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


_ALL_STATUS = sum(DeviceStatus)
_FEATURE_NUMBERS = frozenset(feature.value for feature in Feature)
_DEVICE_NUMBERS = frozenset(device.value for device in DeviceId)
