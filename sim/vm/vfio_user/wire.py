# SPDX-License-Identifier: BSD-2-Clause
"""vfio-user messages as data: header, commands, payloads and flags.

Source: "Protocol Specification" of docs/interop/vfio-user.rst of QEMU; region, interrupt and device
flags are those of <linux/vfio.h>. Numbers have the byte order of the machine.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

MAJOR, MINOR = 0, 1
"""The protocol version."""


class Command(IntEnum):
    """Commands of messages."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


class Flags(IntFlag):
    """Flags of the header; a request may only have NO_REPLY."""

    REPLY = 0x01
    NO_REPLY = 0x10
    ERROR = 0x20


TYPE_MASK = 0x0F
"""Bits of the header's flags with the message type: 0 for a request, 1 for a reply."""

HEADER = struct.Struct("=HHIII")
"""id, command, bytes of the message with its header, flags, errno."""
VERSION = struct.Struct("=HH")
"""major, minor; JSON that ends in a NUL follows."""
DMA_MAP = struct.Struct("=IIQQQ")
"""argsz, flags, offset in the file, address, size."""
DMA_UNMAP = struct.Struct("=IIQQ")
"""argsz, flags, address, size."""
DEVICE_INFO = struct.Struct("=IIII")
"""argsz, flags, number of regions, number of interrupt types."""
REGION_INFO = struct.Struct("=IIIIQQ")
"""argsz, flags, index, offset of capabilities, size, offset."""
IRQ_INFO = struct.Struct("=IIII")
"""argsz, flags, index, count."""
IRQ_SET = struct.Struct("=IIIII")
"""argsz, flags, index, start, count; booleans may follow."""
REGION_ACCESS = struct.Struct("=QII")
"""offset, region, count; data follow in a write, and in the reply to a read."""
WRITE_COUNT = struct.Struct("=Q")
"""Number of writes in REGION_WRITE_MULTI; as many :data:`WRITE_OF_MANY` follow."""
WRITE_OF_MANY = struct.Struct("=QII8s")
"""offset, region, count, data."""


class MapFlags(IntFlag):
    """Flags of DMA_MAP."""

    READABLE = 1
    WRITABLE = 2


UNMAP_ALL = 2
"""Flag of DMA_UNMAP, VFIO_DMA_UNMAP_FLAG_ALL: every mapping; address and size are 0."""


class DeviceFlags(IntFlag):
    """Flags of DEVICE_GET_INFO."""

    RESET = 1
    PCI = 2


class RegionFlags(IntFlag):
    """Flags of DEVICE_GET_REGION_INFO."""

    READ = 1
    WRITE = 2


class IrqFlags(IntFlag):
    """Flags of DEVICE_GET_IRQ_INFO."""

    EVENTFD = 1
    MASKABLE = 2


class IrqSetFlags(IntFlag):
    """Flags of DEVICE_SET_IRQS: one of the first three and one of the others."""

    DATA_NONE = 1
    DATA_BOOL = 2
    DATA_EVENTFD = 4
    ACTION_MASK = 8
    ACTION_UNMASK = 16
    ACTION_TRIGGER = 32


IRQ_DATA = IrqSetFlags.DATA_NONE | IrqSetFlags.DATA_BOOL | IrqSetFlags.DATA_EVENTFD
IRQ_ACTION = IrqSetFlags.ACTION_MASK | IrqSetFlags.ACTION_UNMASK | IrqSetFlags.ACTION_TRIGGER

BARS = 6
CONFIG_REGION = 7
REGIONS = 9
"""Regions of a PCI device: six BARs, ROM, configuration space, VGA."""


class Irq(IntEnum):
    """Interrupt types of a PCI device."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERROR = 3
    REQUEST = 4


MOST_DATA = 1 << 20
"""Bytes of the longest access: the protocol's default."""
MOST_FILES = 16
"""Files sent with one message."""
MOST_BYTES = HEADER.size + REGION_ACCESS.size + MOST_DATA
"""Bytes of the longest message."""


@dataclass(kw_only=True)
class ClientMessage:
    """A message and its files.

    Parameters
    ----------
    id, command, flags, error
        Fields of the header.
    payload
        Bytes after the header.
    files
        File descriptors that arrived with the message; the receiver must close them.
    lost_files
        Further files arrived and were dropped.
    """

    id: int
    command: int
    flags: int = 0
    error: int = 0
    payload: bytes = b""
    files: list[int] = field(default_factory=list)
    lost_files: bool = False

    @property
    def wants_reply(self) -> bool:
        """Whether the sender waits for a reply."""
        return not self.flags & Flags.NO_REPLY

    def pack(self) -> bytes:
        """The bytes on the wire."""
        size = HEADER.size + len(self.payload)
        return HEADER.pack(self.id, self.command, size, self.flags, self.error) + self.payload
