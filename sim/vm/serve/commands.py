# SPDX-License-Identifier: BSD-2-Clause
"""Operator commands that change served devices: ``!resize 1 4096``, ``!unplug 2``.

The server's terminal and its control socket accept the same lines. A line that is refused changes
nothing, and its answer names the word and its limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from models.device_bus import DeviceBus
from models.devices import BlockDevice, ConsoleDevice, NetworkDevice, VirtioDevice
from models.devices.storage import SECTOR
from models.limits import span
from models.messages import Dialect, MessageKind
from models.virtio import DeviceStatus

from .devices import KINDS, DeviceSpec
from .served import Place, ServedDevice, ServedDevices, counted, place_name

MARK = "!"
"""Prefix of a command line."""
LARGEST_IN_MEMORY = 1 << 30
"""Bytes of the largest disk without an image."""
LARGEST_IN_FILE = (1 << 63) - SECTOR
"""Bytes of the largest disk with an image: the range of file offsets."""
LONGEST_WORD = 60
"""Characters of a word that an answer quotes."""
LONGEST_NUMBER = 20
"""Digits of a number."""
LARGEST_SCREEN = 0xFFFF
"""Columns or rows of a console, 16 bits each."""


DeviceT = TypeVar("DeviceT", bound=VirtioDevice)


class CommandError(ValueError):
    """An invalid command; the text names the word and its limit."""


@dataclass(frozen=True)
class _Command:
    arguments: str
    summary: str
    run: Callable[[list[str]], Awaitable[str]]


class DeviceCommands:
    """Executes commands.

    Parameters
    ----------
    side
        The device side of the endpoint.
    devices
        The devices behind it; updated by plug and unplug.
    dialect
        The wire revision, which may have an event for devices that are added and removed.
    folder
        Folder of relative image names.

    Attributes
    ----------
    on_plugged
        Called with the place of each added device, and the device.
    on_unplugged
        Called with each removed device.
    """

    def __init__(
        self,
        side: DeviceBus,
        devices: ServedDevices,
        dialect: Dialect,
        *,
        folder: str = "",
    ) -> None:
        self.on_plugged: Callable[[Place, ServedDevice], None] = lambda place, served: None
        self.on_unplugged: Callable[[ServedDevice], None] = lambda served: None
        self._side = side
        self._devices = devices
        self._folder = folder
        self._num_fifos = len(side.transports)
        self._has_device_event = dialect.has("BUS_EVENT_DEVICE", MessageKind.EVENT)
        self._revision = dialect.revision
        target = "[FIFO:]N"
        self._commands: Mapping[str, _Command] = {
            "resize": _Command(f"{target} SECTORS", "a disk's size", self._resize),
            "size": _Command(f"{target} COLUMNSxROWS", "a console's size", self._size),
            "link": _Command(f"{target} up|down", "a network device's link", self._link),
            "plug": _Command(f"[FIFO:]{'|'.join(KINDS)}", "add a device", self._plug),
            "unplug": _Command(target, "remove a device", self._unplug),
            "help": _Command("", "show this", self._help),
        }

    async def run(self, line: str) -> str:
        """Execute ``line``, with or without its mark; returns the answer.

        Raises
        ------
        CommandError, DeviceError, StorageError, TransportError
            The command is refused; nothing has changed.
        """
        name, rest = [*line.strip().removeprefix(MARK).split(None, 1), "", ""][:2]
        command = self._commands.get(name)
        if command is None:
            raise CommandError(f"command is {_quoted(name)}: must be {' or '.join(self._commands)}")
        # The name of an image may contain spaces.
        arguments = [rest.strip()] if name == "plug" else rest.split()
        if len(arguments) != len(command.arguments.split()):
            usage = f"{MARK}{name} {command.arguments}".strip()
            raise CommandError(f"{name} has {counted(len(arguments), 'argument')}: must be {usage}")
        return await command.run(arguments)

    async def _help(self, arguments: list[str]) -> str:
        rows = [
            (f"{MARK}{name} {command.arguments}", command.summary)
            for name, command in self._commands.items()
        ]
        rows.append((f"{MARK}{MARK}TEXT", f"to the consoles: {MARK}TEXT"))
        return "\n".join(f"{usage:<32}{summary}" for usage, summary in rows)

    async def _resize(self, arguments: list[str]) -> str:
        place, served = self._find(arguments[0])
        device = _of_kind(served.device, BlockDevice, "resize", "blk")
        limit = LARGEST_IN_MEMORY // SECTOR if served.file is None else LARGEST_IN_FILE // SECTOR
        sectors = _number("sectors", arguments[1], 1, limit)
        device.resize(sectors)
        text = f"{self._name(place)} has {counted(sectors, 'sector')}"
        if served.file is not None:
            text += f", its image {counted(served.file.length, 'byte')}"
        return text + await self._notify(place, device)

    async def _size(self, arguments: list[str]) -> str:
        place, served = self._find(arguments[0])
        device = _of_kind(served.device, ConsoleDevice, "size", "console")
        columns, _, rows = arguments[1].partition("x")
        size = (
            _number("columns", columns, 1, LARGEST_SCREEN),
            _number("rows", rows, 1, LARGEST_SCREEN),
        )
        device.resize(*size)
        text = f"{self._name(place)} has {size[0]} columns and {size[1]} rows"
        return text + await self._notify(place, device)

    async def _link(self, arguments: list[str]) -> str:
        place, served = self._find(arguments[0])
        device = _of_kind(served.device, NetworkDevice, "link", "net")
        if arguments[1] not in ("up", "down"):
            raise CommandError(f"link is {_quoted(arguments[1])}: must be up or down")
        device.set_link(arguments[1] == "up")
        text = f"the link of {self._name(place)} is {arguments[1]}"
        return text + await self._notify(place, device)

    async def _plug(self, arguments: list[str]) -> str:
        spec = DeviceSpec.parse(arguments[0], self._folder)
        spec.check(self._num_fifos)
        served = self._devices.make(spec)
        try:
            place = spec.fifo, await self._side.plug(spec.fifo, served.device)
        except ValueError:
            served.close()
            raise
        self._devices.add(place, served)
        self.on_plugged(place, served)
        return f"{self._name(place)} is {spec}{self._event_note()}"

    async def _unplug(self, arguments: list[str]) -> str:
        place, served = self._find(arguments[0])
        await self._side.unplug(*place)
        self._devices.remove(place, served)
        self.on_unplugged(served)
        return f"{self._name(place)}, {served.spec}, is removed{self._event_note()}"

    def _event_note(self) -> str:
        if self._has_device_event:
            return ""
        return f"; {self._revision} has no event for this: the driver is not notified"

    async def _notify(self, place: Place, device: VirtioDevice) -> str:
        if not device.status & DeviceStatus.DRIVER_OK:
            return "; no driver has set DRIVER_OK"
        fifo, number = place
        await self._side.transports[fifo].notify_config(number)
        return ""

    def _find(self, text: str) -> tuple[Place, ServedDevice]:
        """The device that ``[FIFO:]N`` names."""
        fifo_text, colon, number_text = text.rpartition(":")
        limit = self._num_fifos - 1
        fifo = _number("FIFO", fifo_text, 0, limit) if colon else 0
        number = _number("device", number_text, 0, LARGEST_SCREEN)
        served = self._devices.get((fifo, number))
        if served is None:
            numbers = ", ".join(map(str, self._devices.places(fifo))) or "none"
            raise CommandError(
                f"device is {number}: must be one of those behind FIFO {fifo}: {numbers}"
            )
        return (fifo, number), served

    def _name(self, place: Place) -> str:
        return place_name(place, self._num_fifos)


def _of_kind(device: VirtioDevice, kind: type[DeviceT], command: str, name: str) -> DeviceT:
    if not isinstance(device, kind):
        raise CommandError(f"{command} is for {name}: the device is of another kind")
    return device


def _number(name: str, text: str, low: int, high: int) -> int:
    # Python refuses to convert very long numbers.
    if not text.isascii() or not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise CommandError(f"{name} is {_quoted(text)}: must be a number, {span(low, high)}")
    if not low <= int(text) <= high:
        raise CommandError(f"{name} is {int(text)}: must be {span(low, high)}")
    return int(text)


def _quoted(word: str) -> str:
    return repr(word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}…")
