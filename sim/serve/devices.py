# SPDX-License-Identifier: BSD-2-Clause
"""Which devices stand behind the served endpoint, as people say it: ``rng``, ``blk=disk.img``."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    FileStorage,
    NetworkDevice,
    VirtioDevice,
)
from models.devices.block import SECTOR
from models.ethernet import NetworkPeer

from ..peer import PEER_IP, PEER_MAC

KINDS = ("rng", "blk", "console", "net")
DEFAULT = KINDS
"""Where nobody says otherwise: one of each, on FIFO 0."""


class DeviceError(ValueError):
    """A device that there cannot be; the text says what is allowed."""


@dataclass(frozen=True)
class DeviceSpec:
    """A device to make.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    fifo
        The FIFO that it is behind.
    image
        Of a disk, the file that it is kept in; a disk without one is in memory, and empty.
    """

    kind: str
    fifo: int = 0
    image: str | None = None

    @classmethod
    def parse(cls, text: str) -> DeviceSpec:
        """A device as ``[FIFO:]KIND[=IMAGE]``.

        Raises
        ------
        DeviceError
            That is none.
        """
        what, _, image = text.partition("=")
        fifo, separator, kind = what.rpartition(":")
        if kind not in KINDS:
            raise DeviceError(f"device is {text!r}: must be [FIFO:] and one of {', '.join(KINDS)}")
        if separator and not fifo.isdecimal():
            raise DeviceError(f"FIFO of device {text!r} is {fifo!r}: must be a number")
        if image and kind != "blk":
            raise DeviceError(f"device {text!r}: only blk has an image")
        path = os.path.abspath(image) if image else None
        return cls(kind, int(fifo or 0), path)

    def check(self, num_fifos: int) -> None:
        """Require that it can be made on an endpoint of ``num_fifos`` FIFOs.

        Raises
        ------
        DeviceError
            There is no such FIFO, or its image is no disk.
        """
        if self.fifo >= num_fifos:
            raise DeviceError(
                f"FIFO of device {self.kind} is {self.fifo}: must be below {num_fifos}"
            )
        if self.image is not None:
            _check_image(Path(self.image))

    def make(self, seed: int | None) -> VirtioDevice:
        """The device; ``seed`` is that of its random bytes, the operating system's without one."""
        if self.kind == "rng":
            source = os.urandom if seed is None else random.Random(seed).randbytes
            return EntropyDevice(source=source)
        if self.kind == "blk":
            return BlockDevice(storage=None if self.image is None else FileStorage(self.image))
        if self.kind == "console":
            return ConsoleDevice()
        return NetworkDevice(wire=NetworkPeer(PEER_MAC, PEER_IP).answer)


def by_fifo(
    specs: Iterable[DeviceSpec], num_fifos: int, seed: int | None
) -> list[dict[int, VirtioDevice]]:
    """Make ``specs``: for each FIFO its devices, numbered from 0 in their order."""
    devices: list[dict[int, VirtioDevice]] = [{} for _ in range(num_fifos)]
    for spec in specs:
        behind = devices[spec.fifo]
        behind[len(behind)] = spec.make(seed)
    return devices


def _check_image(path: Path) -> None:
    try:
        # A pipe would have us wait for who reads it.
        if path.exists() and not (path.is_file() or path.is_block_device()):
            raise DeviceError(f"image {path} is no file")
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise DeviceError(f"image {path}: {error.strerror}") from None
    if not size or size % SECTOR:
        raise DeviceError(f"image {path} has {size} bytes: must be a multiple of {SECTOR}")
