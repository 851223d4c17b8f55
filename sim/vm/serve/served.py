# SPDX-License-Identifier: BSD-2-Clause
"""The devices behind a served endpoint, with counters that the server reports at its end."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from models.bus import Direction
from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    FileStorage,
    NetworkDevice,
    Storage,
    VirtioDevice,
)
from models.devices.block import RequestStatus
from models.ethernet import NetworkPeer
from models.messages import Message
from models.virtio import DeviceStatus

from ...workload import PEER_IP, PEER_MAC
from .devices import DeviceSpec

Place = tuple[int, int]
"""FIFO and device number."""
MOST_REMOVED = 64
"""The number of removed devices, the latest, that the report includes."""


@dataclass
class DeviceCounters:
    """Counters of a device.

    Attributes
    ----------
    requests
        Requests served: buffers of bytes or of text, block requests, frames.
    bytes_from_driver, bytes_to_driver
        Bytes of data in each direction.
    errors
        Block requests that failed.
    dropped
        Dropped frames, by reason.
    failures
        Number of times that the device set DEVICE_NEEDS_RESET.
    messages
        Messages to and from the device.
    """

    requests: int = 0
    bytes_from_driver: int = 0
    bytes_to_driver: int = 0
    errors: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    messages: int = 0

    def __str__(self) -> str:
        parts = [
            counted(self.requests, "request"),
            f"{counted(self.bytes_from_driver, 'byte')} from the driver",
            f"{self.bytes_to_driver:,} to it",
            counted(self.messages, "message"),
        ]
        if self.errors:
            parts.append(counted(self.errors, "error"))
        if self.dropped:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.items())
            frames = counted(sum(self.dropped.values()), "frame")
            parts.append(f"{frames} dropped ({reasons})")
        if self.failures:
            parts.append(f"needed a reset {counted(self.failures, 'time')}")
        return ", ".join(parts)


class CountedStorage:
    """Implements :class:`models.devices.Storage` and counts the bytes transferred.

    Parameters
    ----------
    inner
        The storage.
    counters
        The counters.
    """

    def __init__(self, inner: Storage, counters: DeviceCounters) -> None:
        self.inner = inner
        self._counters = counters

    @property
    def size(self) -> int:
        """As :attr:`Storage.size`."""
        return self.inner.size

    @property
    def read_only(self) -> bool:
        """As :attr:`Storage.read_only`."""
        return self.inner.read_only

    def read(self, offset: int, size: int) -> bytes:
        """As :meth:`Storage.read`."""
        data = self.inner.read(offset, size)
        self._counters.bytes_to_driver += len(data)
        return data

    def write(self, offset: int, data: bytes) -> None:
        """As :meth:`Storage.write`."""
        self.inner.write(offset, data)
        self._counters.bytes_from_driver += len(data)

    def flush(self) -> None:
        """As :meth:`Storage.flush`."""
        self.inner.flush()

    def resize(self, size: int) -> None:
        """As :meth:`Storage.resize`."""
        self.inner.resize(size)


class ServedDevice:
    """A device made from its specification, and its counters.

    Parameters
    ----------
    spec
        The specification.
    seed
        Seed of an entropy device's bytes; ``None`` uses the operating system's.

    Attributes
    ----------
    device
        The device.
    typed
        Bytes typed into a console.
    """

    def __init__(self, spec: DeviceSpec, seed: int | None = None) -> None:
        self.spec = spec
        self.typed = 0
        self._counters = DeviceCounters()
        self._source = os.urandom if seed is None else random.Random(seed).randbytes
        self._peer = NetworkPeer(PEER_MAC, PEER_IP)
        self.device = self._make()

    def close(self) -> None:
        """Close the file of the image, if there is one."""
        if self.file is not None:
            self.file.close()

    @property
    def file(self) -> FileStorage | None:
        """The file of a disk's image."""
        storage = self.device.storage if isinstance(self.device, BlockDevice) else None
        inner = storage.inner if isinstance(storage, CountedStorage) else storage
        return inner if isinstance(inner, FileStorage) else None

    def note(self, direction: Direction, message: Message) -> None:
        """Count a message to or from the device."""
        self._counters.messages += 1
        if direction is Direction.TO_DRIVER and message.role == "EVENT_CONFIG":
            self._counters.failures += bool(message.number("status") & DeviceStatus.NEEDS_RESET)

    @property
    def counters(self) -> DeviceCounters:
        """The device's counters, up to date."""
        device, counters = self.device, self._counters
        if isinstance(device, BlockDevice):
            counters.requests = sum(device.statuses.values())
            counters.errors = counters.requests - device.statuses[RequestStatus.OK]
        elif isinstance(device, ConsoleDevice):
            counters.bytes_to_driver = self.typed - device.waiting
        elif isinstance(device, NetworkDevice):
            counters.requests = device.sent + device.received
            counters.dropped = {reason.value: count for reason, count in device.drops.items()}
        return counters

    def _make(self) -> VirtioDevice:
        kind, counters = self.spec.kind, self._counters
        if kind == "rng":
            return EntropyDevice(source=self._random)
        if kind == "blk":
            disk = BlockDevice(storage=None if self.spec.image is None else self.spec.open())
            disk.storage = CountedStorage(disk.storage, counters)
            return disk
        if kind == "console":
            console = ConsoleDevice()
            console.output_observers.append(self._printed)
            return console
        return NetworkDevice(wire=self._wire)

    def _random(self, size: int) -> bytes:
        data = self._source(size)
        self._counters.requests += 1
        self._counters.bytes_to_driver += len(data)
        return data

    def _printed(self, data: bytes) -> None:
        self._counters.requests += 1
        self._counters.bytes_from_driver += len(data)

    def _wire(self, frame: bytes) -> list[bytes]:
        answers = self._peer.answer(frame)
        self._counters.bytes_from_driver += len(frame)
        self._counters.bytes_to_driver += sum(map(len, answers))
        return answers


class ServedDevices:
    """All served devices, by place.

    Parameters
    ----------
    specs
        The initial devices; numbered from 0 on each FIFO, in their order.
    num_fifos
        Number of FIFOs of the endpoint.
    seed
        As in :class:`ServedDevice`.
    """

    def __init__(self, specs: Iterable[DeviceSpec], num_fifos: int, seed: int | None) -> None:
        self._seed = seed
        self._devices: dict[Place, ServedDevice] = {}
        self._removed: deque[dict[str, Any]] = deque(maxlen=MOST_REMOVED)
        self._by_fifo: list[dict[int, VirtioDevice]] = [{} for _ in range(num_fifos)]
        for spec in specs:
            devices = self._by_fifo[spec.fifo]
            served = self.make(spec)
            self.add((spec.fifo, len(devices)), served)
            devices[len(devices)] = served.device

    @property
    def by_fifo(self) -> list[dict[int, VirtioDevice]]:
        """For each FIFO the initial devices."""
        return self._by_fifo

    def make(self, spec: DeviceSpec) -> ServedDevice:
        """Make a device without adding it; raises as :class:`FileStorage`."""
        return ServedDevice(spec, self._seed)

    def add(self, place: Place, served: ServedDevice) -> None:
        """Add a device at ``place``."""
        self._devices[place] = served

    def remove(self, place: Place, served: ServedDevice) -> None:
        """Remove ``served`` from ``place``, which another device may occupy already."""
        if self._devices.get(place) is served:
            del self._devices[place]
        served.close()
        # Keep the report, not the device, whose memory is freed.
        self._removed.append(_report(place, served, is_present=False))

    def get(self, place: Place) -> ServedDevice | None:
        """The device at ``place``."""
        return self._devices.get(place)

    def places(self, fifo: int) -> list[int]:
        """Numbers of the devices behind ``fifo``."""
        return sorted(number for device_fifo, number in self._devices if device_fifo == fifo)

    def consoles(self) -> Iterator[tuple[Place, ServedDevice, ConsoleDevice]]:
        """Yield the place and the device of every console."""
        for place, served in self._devices.items():
            if isinstance(served.device, ConsoleDevice):
                yield place, served, served.device

    def note(self, direction: Direction, fifo: int, message: Message) -> None:
        """Count a message for the device that sent it or receives it."""
        served = None if message.bus else self._devices.get((fifo, message.dev_num))
        if served is not None:
            served.note(direction, message)

    def report(self) -> list[dict[str, Any]]:
        """The counters of each device, the removed ones first."""
        present = sorted(self._devices.items(), key=_place)
        return [
            *self._removed,
            *(_report(place, served, is_present=True) for place, served in present),
        ]


def _report(place: Place, served: ServedDevice, *, is_present: bool) -> dict[str, Any]:
    fifo, number = place
    return {
        "fifo": fifo,
        "dev_num": number,
        "device": str(served.spec),
        "here": is_present,
        **asdict(served.counters),
        "text": str(served.counters),
    }


def counted(number: int, noun: str) -> str:
    """``number`` and ``noun``, in the plural unless ``number`` is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def place_name(place: Place, num_fifos: int) -> str:
    """Name of the device at ``place``, with the place as a command writes it."""
    fifo, number = place
    return f"device {number}" if num_fifos == 1 else f"device {fifo}:{number}"


def _place(item: tuple[Place, ServedDevice]) -> Place:
    return item[0]
