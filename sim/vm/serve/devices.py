# SPDX-License-Identifier: BSD-2-Clause
"""Specifications of served devices, as users write them: ``rng``, ``1:blk=disk.img,ro``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.devices import FileStorage, StorageError

KINDS = ("rng", "blk", "console", "net")
DEFAULT = KINDS
"""Default devices: one of each, on FIFO 0."""
READ_ONLY = ",ro"
"""Suffix of an image's name: the disk is read-only."""


class DeviceError(ValueError):
    """An invalid device; the text states what is allowed."""


@dataclass(frozen=True)
class DeviceSpec:
    """Specification of a device.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    fifo
        Number of the device's FIFO.
    image
        File of a disk's sectors; ``None`` for an empty disk in memory.
    read_only
        The driver may only read the image.
    """

    kind: str
    fifo: int = 0
    image: str | None = None
    read_only: bool = False

    def __str__(self) -> str:
        image = "" if self.image is None else f"={self.image}{READ_ONLY if self.read_only else ''}"
        return f"{self.kind}{image}"

    @classmethod
    def parse(cls, text: str, folder: str = "") -> DeviceSpec:
        """Parse ``[FIFO:]KIND[=IMAGE[,ro]]``.

        Parameters
        ----------
        text
            The specification.
        folder
            Folder of relative image names; the process's current folder by default.

        Raises
        ------
        DeviceError
            ``text`` is not a specification.
        """
        location, equals, image = text.partition("=")
        fifo, separator, kind = location.rpartition(":")
        if kind not in KINDS:
            raise DeviceError(f"device is {text!r}: must be [FIFO:] and one of {', '.join(KINDS)}")
        if separator and not fifo.isdecimal():
            raise DeviceError(f"FIFO of device {text!r} is {fifo!r}: must be a number")
        if equals and kind != "blk":
            raise DeviceError(f"device {text!r}: only blk has an image")
        name = image.removesuffix(READ_ONLY)
        if equals and not name:
            raise DeviceError(f"device {text!r}: must name an image after =")
        path = os.path.abspath(os.path.join(folder, name)) if name else None
        return cls(kind, int(fifo or 0), path, name != image)

    def check(self, num_fifos: int) -> None:
        """Require that an endpoint of ``num_fifos`` FIFOs can have this device.

        Raises
        ------
        DeviceError
            The FIFO does not exist, or the image cannot be used as a disk.
        """
        if self.fifo >= num_fifos:
            raise DeviceError(
                f"FIFO of device {self.kind} is {self.fifo}: must be below {num_fifos}"
            )
        if self.image is not None:
            self._check_image()

    def open(self) -> FileStorage:
        """Open the disk's image.

        Raises
        ------
        StorageError
            The image cannot be used as a disk.
        """
        assert self.image is not None, "only a disk with an image is opened"
        return FileStorage(self.image, read_only=self.read_only)

    def _check_image(self) -> None:
        try:
            self.open().close()
        except StorageError as error:
            readable = replace(self, read_only=True)
            try:
                readable.open().close()
            except StorageError:
                raise DeviceError(str(error)) from None
            raise DeviceError(f"{error}; {readable} serves it read-only") from None


def parse_devices(texts: Iterable[str], num_fifos: int) -> list[DeviceSpec]:
    """Parse and check ``texts``.

    Raises
    ------
    DeviceError
        As :meth:`DeviceSpec.parse` and :meth:`DeviceSpec.check`.
    """
    specs = [DeviceSpec.parse(text) for text in texts]
    for spec in specs:
        spec.check(num_fifos)
    return specs
