# SPDX-License-Identifier: BSD-2-Clause
"""A small vfio-user client for tests and measurements, which can also violate the protocol."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import wire
from .channel import FILE
from .wire import ClientMessage, Command, Flags, IrqSetFlags, MapFlags

CAPABILITIES = {
    "max_msg_fds": wire.MOST_FILES,
    "max_data_xfer_size": wire.MOST_DATA,
    "write_multiple": True,
}


class RefusedError(Exception):
    """The server replied with an error.

    Attributes
    ----------
    code
        The reply's errno.
    """

    def __init__(self, command: Command, code: int) -> None:
        super().__init__(f"{command.name} was refused: {os.strerror(code)}")
        self.code = code


class Client:
    """A connection to a server; waits for each reply.

    Parameters
    ----------
    path
        The server's socket.
    timeout_s
        Seconds until a missing reply is an error.
    negotiate
        Negotiate the version at once.

    Attributes
    ----------
    socket
        The connection, for data that violates the protocol.
    capabilities
        The negotiated capabilities.
    """

    def __init__(
        self, path: Path | str, *, timeout_s: float = 30.0, negotiate: bool = True
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        self.capabilities: dict[str, Any] = {}
        self._id = 0
        self._ids: list[int] = []
        if negotiate:
            self.capabilities = self.version()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(
        self,
        command: int,
        payload: bytes = b"",
        *,
        files: Sequence[int] = (),
        flags: int = 0,
    ) -> int:
        """Send a request without waiting; returns its id."""
        self._id = self._id + 1 & 0xFFFF
        data = ClientMessage(id=self._id, command=command, flags=flags, payload=payload).pack()
        self.send_raw(data, files)
        return self._id

    def send_raw(self, data: bytes, files: Sequence[int] = ()) -> None:
        """Send any bytes, and files with the first of them."""
        packed = b"".join(FILE.pack(file) for file in files)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)] if files else []
        sent = self.socket.sendmsg([data], ancillary)
        # Even an empty send fails if the server has replied and closed the connection.
        if data[sent:]:
            self.socket.sendall(data[sent:])

    def receive(self) -> ClientMessage:
        """Wait for the next reply.

        Raises
        ------
        ConnectionError
            The server closed the connection.
        TimeoutError
            No reply arrived in time.
        """
        number, command, size, flags, error = wire.HEADER.unpack(
            self._receive_bytes(wire.HEADER.size)
        )
        payload = self._receive_bytes(size - wire.HEADER.size)
        return ClientMessage(id=number, command=command, flags=flags, error=error, payload=payload)

    def request(self, command: Command, payload: bytes = b"", files: Sequence[int] = ()) -> bytes:
        """Send a request and wait for its reply; returns the payload.

        Raises
        ------
        RefusedError
            The server replied with an error.
        """
        number = self.send(command, payload, files=files)
        return self.reply_to(number, command)

    def reply_to(self, number: int, command: Command) -> bytes:
        """The payload of the next reply, which must be the one to request ``number``; raises as
        :meth:`request`."""
        reply = self.receive()
        if (reply.id, reply.command) != (number, command) or not reply.flags & Flags.REPLY:
            raise ConnectionError(f"not a reply to {command.name} {number}: {reply}")
        if reply.flags & Flags.ERROR:
            raise RefusedError(command, reply.error)
        return reply.payload

    def version(
        self, major: int = wire.MAJOR, minor: int = wire.MINOR, capabilities: Any = None
    ) -> dict[str, Any]:
        """Propose a version; returns the negotiated capabilities."""
        proposed = CAPABILITIES if capabilities is None else capabilities
        data = json.dumps({"capabilities": proposed}).encode() + b"\0"
        reply = self.request(Command.VERSION, wire.VERSION.pack(major, minor) + data)
        agreed = json.loads(reply[wire.VERSION.size :].rstrip(b"\0"))
        return dict(agreed["capabilities"])

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Read ``count`` bytes at ``offset`` of a region."""
        access = wire.REGION_ACCESS.pack(offset, region, count)
        return self.request(Command.REGION_READ, access)[wire.REGION_ACCESS.size :]

    def write(self, region: int, offset: int, data: bytes, *, posted: bool = False) -> None:
        """Write ``data`` at ``offset`` of a region; ``posted`` does not wait."""
        access = wire.REGION_ACCESS.pack(offset, region, len(data)) + data
        if posted:
            self.send(Command.REGION_WRITE, access, flags=Flags.NO_REPLY)
        else:
            self.request(Command.REGION_WRITE, access)

    def read32(self, region: int, offset: int) -> int:
        """Read the little-endian dword at ``offset`` of a region."""
        return int.from_bytes(self.read(region, offset, 4), "little")

    def write32(self, region: int, offset: int, value: int) -> None:
        """Write a little-endian dword at ``offset`` of a region."""
        self.write(region, offset, value.to_bytes(4, "little"))

    def write_many(self, writes: Sequence[tuple[int, int, bytes]]) -> int:
        """Send writes of (region, offset, 8 bytes at most) as one message; returns the number of
        writes done."""
        payload = wire.WRITE_COUNT.pack(len(writes)) + b"".join(
            wire.WRITE_OF_MANY.pack(offset, region, len(data), data)
            for region, offset, data in writes
        )
        reply = self.request(Command.REGION_WRITE_MULTI, payload)
        return int(wire.WRITE_COUNT.unpack(reply)[0])

    def map(
        self,
        file: int | None,
        address: int,
        size: int,
        *,
        offset: int = 0,
        flags: int = MapFlags.READABLE | MapFlags.WRITABLE,
    ) -> None:
        """Map part of a file as memory of the device."""
        payload = wire.DMA_MAP.pack(wire.DMA_MAP.size, flags, offset, address, size)
        self.request(Command.DMA_MAP, payload, [] if file is None else [file])

    def unmap(self, address: int, size: int, flags: int = 0) -> None:
        """Unmap memory."""
        payload = wire.DMA_UNMAP.pack(wire.DMA_UNMAP.size, flags, address, size)
        self.request(Command.DMA_UNMAP, payload)

    def region_info(self, index: int) -> tuple[int, int]:
        """Flags and size of a region."""
        payload = wire.REGION_INFO.pack(wire.REGION_INFO.size, 0, index, 0, 0, 0)
        reply = wire.REGION_INFO.unpack(self.request(Command.DEVICE_GET_REGION_INFO, payload))
        return reply[1], reply[4]

    def irq_info(self, index: int) -> tuple[int, int]:
        """Flags and count of an interrupt type."""
        payload = wire.IRQ_INFO.pack(wire.IRQ_INFO.size, 0, index, 0)
        reply = wire.IRQ_INFO.unpack(self.request(Command.DEVICE_GET_IRQ_INFO, payload))
        return reply[1], reply[3]

    def set_irqs(
        self,
        flags: int,
        start: int,
        count: int,
        *,
        index: int = wire.Irq.MSIX,
        files: Sequence[int] = (),
        data: bytes = b"",
    ) -> None:
        """Request an action on interrupts."""
        size = wire.IRQ_SET.size + len(data) + FILE.size * len(files)
        payload = wire.IRQ_SET.pack(size, flags, index, start, count) + data
        self.request(Command.DEVICE_SET_IRQS, payload, files)

    def assign(self, start: int, files: Sequence[int]) -> None:
        """Assign eventfds to MSI-X vectors from ``start`` on."""
        flags = IrqSetFlags.DATA_EVENTFD | IrqSetFlags.ACTION_TRIGGER
        self.set_irqs(flags, start, len(files), files=files)

    def reset(self) -> None:
        """Reset the device."""
        self.request(Command.DEVICE_RESET)

    def capabilities_of(self) -> Iterator[tuple[int, int]]:
        """Yield id and offset of each capability in configuration space."""
        (offset,) = self.read(wire.CONFIG_REGION, 0x34, 1)
        while offset:
            capability_id, next_offset = struct.unpack(
                "BB", self.read(wire.CONFIG_REGION, offset, 2)
            )
            yield capability_id, offset
            offset = next_offset

    def _receive_bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data
