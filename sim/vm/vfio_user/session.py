# SPDX-License-Identifier: BSD-2-Clause
"""One client's session: checks, executes and answers every request.

A refused request has no effect and gets an error reply, unless it requests no reply; it is reported
to :attr:`ClientSession.on_error` in either case. Only a message with an invalid length ends the
session, since the start of the next message is unknown.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.limits import span

from ..bridge.files import Readiness
from ..bridge.function import FunctionAccessError, PciFunction
from ..bridge.guest_memory import Mapping, MappingError
from . import wire
from .capabilities import negotiate, pack_capabilities
from .channel import Channel, FramingError, close_all
from .checks import (
    RequestError,
    VersionError,
    check_argsz,
    command_name,
    error_code,
    exact_fields,
    fields,
    is_one_bit,
    query_fields,
    unknown_bits,
)
from .interrupts import ClientInterrupts
from .wire import ClientMessage, Command, Flags

LONGEST_ERROR = 300
"""Characters of the longest error text, which may contain a client's data."""


class Verb(StrEnum):
    """Direction of an access."""

    READ = "read"
    WRITE = "write"


OnAccess = Callable[[Verb, int, int, bytes], None]


@dataclass
class SessionStatistics:
    """Counters of sessions.

    Parameters
    ----------
    requests
        Messages of clients.
    reads, writes
        Successful accesses to regions.
    errors
        Refused requests.
    """

    requests: int = 0
    reads: int = 0
    writes: int = 0
    errors: int = 0


class ClientSession:
    """Serves a function to one client.

    Parameters
    ----------
    channel
        The connection.
    function
        The served function. The session maps its memory and receives its interrupts.
    readiness
        Serves other listeners between two requests.
    statistics
        Counters to update.

    Attributes
    ----------
    on_access
        Called for each successful access to a region, in order: verb, region, offset and the data
        read or written.
    on_error
        Called with one line of text for each refused request.
    """

    def __init__(
        self,
        channel: Channel,
        function: PciFunction,
        readiness: Readiness,
        statistics: SessionStatistics,
    ) -> None:
        self.statistics = statistics
        self.on_access: OnAccess = lambda verb, region, offset, data: None
        self.on_error: Callable[[str], None] = lambda text: None
        self._channel = channel
        self._function = function
        self._readiness = readiness
        self._interrupts = ClientInterrupts(function)
        self._negotiated = False
        self._max_data = wire.MOST_DATA
        self._sizes = {**function.bar_sizes, wire.CONFIG_REGION: function.config_size}
        self._handlers: dict[int, Callable[[ClientMessage], Awaitable[bytes]]] = {
            Command.VERSION: self._version,
            Command.DMA_MAP: self._map,
            Command.DMA_UNMAP: self._unmap,
            Command.DEVICE_GET_INFO: self._device_info,
            Command.DEVICE_GET_REGION_INFO: self._region_info,
            Command.DEVICE_GET_IRQ_INFO: self._irq_info,
            Command.DEVICE_SET_IRQS: self._set_irqs,
            Command.REGION_READ: self._read,
            Command.REGION_WRITE: self._write,
            Command.REGION_WRITE_MULTI: self._write_multi,
            Command.DEVICE_RESET: self._reset,
        }

    async def run(self) -> None:
        """Serve until the session ends.

        Raises
        ------
        ChannelClosedError
            The client closed the connection.
        FramingError, VersionError
            The client sent an invalid message, and has got an error reply.
        """
        while True:
            self._readiness.poll_listeners()
            try:
                message = await self._channel.receive()
            except FramingError as error:
                number, command = error.header
                self.statistics.errors += 1
                await self._refuse(ClientMessage(id=number, command=command), errno.EINVAL)
                raise
            try:
                await self._answer(message)
            finally:
                close_all(message.files)

    def close(self) -> None:
        """Release the client's memory and eventfds, and close the connection."""
        self._function.memory.clear()
        self._interrupts.close()
        self._channel.close()

    async def _answer(self, message: ClientMessage) -> None:
        self.statistics.requests += 1
        try:
            payload = await self._execute(message)
        except (RequestError, MappingError, FunctionAccessError) as error:
            self.statistics.errors += 1
            self.on_error(f"{command_name(message.command)}: {error}"[:LONGEST_ERROR])
            if message.wants_reply:
                await self._refuse(message, error_code(error))
            if isinstance(error, VersionError):
                raise
            return
        if message.wants_reply:
            await self._channel.send(
                ClientMessage(
                    id=message.id, command=message.command, flags=Flags.REPLY, payload=payload
                )
            )

    async def _refuse(self, message: ClientMessage, code: int) -> None:
        await self._channel.send(
            ClientMessage(
                id=message.id, command=message.command, flags=Flags.REPLY | Flags.ERROR, error=code
            )
        )

    async def _execute(self, message: ClientMessage) -> bytes:
        if unknown_bits(message.flags, Flags.NO_REPLY):
            raise RequestError(f"flags are {message.flags:#x}: must be 0 or {Flags.NO_REPLY:#x}")
        handler = self._handlers.get(message.command)
        if handler is None:
            raise RequestError("not supported", errno.ENOTSUP)
        if not self._negotiated and message.command != Command.VERSION:
            raise VersionError("the first message must be VERSION")
        if message.lost_files:
            raise RequestError("the message has more files than the limit", errno.EMFILE)
        return await handler(message)

    async def _version(self, message: ClientMessage) -> bytes:
        if self._negotiated:
            raise RequestError("the version is negotiated already")
        (major, minor), data = fields(message, wire.VERSION)
        if major != wire.MAJOR:
            raise VersionError(f"major is {major}: must be {wire.MAJOR}", errno.ENOTSUP)
        capabilities = negotiate(data)
        self._negotiated = True
        self._max_data = capabilities.get("max_data_xfer_size", wire.MOST_DATA)
        # A client that proposes no capabilities may not accept any.
        text = pack_capabilities(capabilities) if data else b""
        return wire.VERSION.pack(wire.MAJOR, min(minor, wire.MINOR)) + text

    async def _map(self, message: ClientMessage) -> bytes:
        _, flags, offset, address, size = exact_fields(message, wire.DMA_MAP)
        if unknown_bits(flags, wire.MapFlags.READABLE | wire.MapFlags.WRITABLE):
            raise RequestError(f"flags are {flags:#x}: must be within 0x3")
        if len(message.files) > 1:
            raise RequestError(f"the message has {len(message.files)} files: must be one at most")
        file = message.files[0] if message.files else None
        self._function.memory.map(
            Mapping(
                address=address,
                size=size,
                offset=offset,
                file=file,
                readable=bool(flags & wire.MapFlags.READABLE),
                writable=bool(flags & wire.MapFlags.WRITABLE),
            )
        )
        message.files.clear()
        return b""

    async def _unmap(self, message: ClientMessage) -> bytes:
        _, flags, address, size = exact_fields(message, wire.DMA_UNMAP)
        if unknown_bits(flags, wire.UNMAP_ALL):
            raise RequestError(f"flags are {flags:#x}: must be 0 or {wire.UNMAP_ALL:#x}")
        if not flags:
            self._function.memory.unmap(address, size)
        elif address or size:
            raise RequestError(f"address is {address:#x}, size {size:#x}: must be 0 to unmap all")
        else:
            self._function.memory.clear()
        return message.payload

    async def _device_info(self, message: ClientMessage) -> bytes:
        query_fields(message, wire.DEVICE_INFO)
        flags = wire.DeviceFlags.RESET | wire.DeviceFlags.PCI
        return wire.DEVICE_INFO.pack(wire.DEVICE_INFO.size, flags, wire.REGIONS, len(wire.Irq))

    async def _region_info(self, message: ClientMessage) -> bytes:
        index = query_fields(message, wire.REGION_INFO)[2]
        if index >= wire.REGIONS:
            raise RequestError(f"index is {index}: must be below {wire.REGIONS}")
        size = self._sizes.get(index, 0)
        flags = wire.RegionFlags.READ | wire.RegionFlags.WRITE if size else 0
        return wire.REGION_INFO.pack(wire.REGION_INFO.size, flags, index, 0, size, 0)

    async def _irq_info(self, message: ClientMessage) -> bytes:
        index = query_fields(message, wire.IRQ_INFO)[2]
        if index >= len(wire.Irq):
            raise RequestError(f"index is {index}: must be below {len(wire.Irq)}")
        flags, count = self._interrupts.info(index)
        return wire.IRQ_INFO.pack(wire.IRQ_INFO.size, flags, index, count)

    async def _set_irqs(self, message: ClientMessage) -> bytes:
        (argsz, flags, index, start, count), data = fields(message, wire.IRQ_SET)
        # With eventfds argsz also counts the message's files, so only a minimum is required.
        check_argsz(argsz, wire.IRQ_SET)
        limit = self._interrupts.info(index)[1] if index < len(wire.Irq) else 0
        if index >= len(wire.Irq) or start + count > limit:
            raise RequestError(
                f"index is {index}, start {start}, count {count}: type {index} has {limit}"
            )
        data_flag, action = flags & wire.IRQ_DATA, flags & wire.IRQ_ACTION
        surplus = unknown_bits(flags, wire.IRQ_DATA | wire.IRQ_ACTION)
        if surplus or not is_one_bit(data_flag) or not is_one_bit(action):
            raise RequestError(f"flags are {flags:#x}: must be one kind of data and one action")
        expected = count if data_flag == wire.IrqSetFlags.DATA_BOOL else 0
        if len(data) != expected:
            raise RequestError(f"{len(data)} bytes of data: must be {expected}")
        if data_flag != wire.IrqSetFlags.DATA_EVENTFD and message.files:
            raise RequestError(f"the message has {len(message.files)} files: must be none")
        if data_flag == wire.IrqSetFlags.DATA_EVENTFD:
            await self._set_eventfds(message, index, action, start, count)
            return b""
        vectors = list(range(start, start + count))
        if data_flag == wire.IrqSetFlags.DATA_BOOL:
            vectors = [vector for vector, is_set in zip(vectors, data, strict=True) if is_set]
        if action == wire.IrqSetFlags.ACTION_TRIGGER:
            if count:
                self._interrupts.trigger(index, vectors)
            elif data_flag == wire.IrqSetFlags.DATA_NONE:
                await self._interrupts.disable(index)
        elif not self._interrupts.info(index)[0] & wire.IrqFlags.MASKABLE:
            raise RequestError(f"interrupts of type {index} cannot be masked", errno.ENOTSUP)
        else:
            await self._interrupts.mask(vectors, action == wire.IrqSetFlags.ACTION_MASK)
        return b""

    async def _set_eventfds(
        self, message: ClientMessage, index: int, action: int, start: int, count: int
    ) -> None:
        if action != wire.IrqSetFlags.ACTION_TRIGGER:
            raise RequestError("eventfds for mask and unmask are not supported", errno.ENOTSUP)
        if not count:
            raise RequestError("count is 0: must be 1 or more")
        if len(message.files) not in (0, count):
            raise RequestError(
                f"the message has {len(message.files)} files: must be {count} or none"
            )
        files: list[int | None] = [*message.files] or [None] * count
        message.files.clear()
        await self._interrupts.assign(index, start, files)

    async def _read(self, message: ClientMessage) -> bytes:
        region, offset, count = self._access(exact_fields(message, wire.REGION_ACCESS))
        if region == wire.CONFIG_REGION:
            data = await self._function.config_read(offset, count)
        else:
            data = await self._function.bar_read(region, offset, count)
        self.statistics.reads += 1
        self.on_access(Verb.READ, region, offset, data)
        return message.payload + data

    async def _write(self, message: ClientMessage) -> bytes:
        access, data = fields(message, wire.REGION_ACCESS)
        region, offset, count = self._access(access)
        if len(data) != count:
            raise RequestError(f"{len(data)} bytes of data: must be count, {count}")
        await self._store(region, offset, data, posted=not message.wants_reply)
        return message.payload[: wire.REGION_ACCESS.size]

    async def _write_multi(self, message: ClientMessage) -> bytes:
        (count,), data = fields(message, wire.WRITE_COUNT)
        if len(data) != count * wire.WRITE_OF_MANY.size:
            raise RequestError(f"wr_cnt is {count}: the message has {len(data)} bytes of writes")
        writes = []
        for *access, piece in wire.WRITE_OF_MANY.iter_unpack(data):
            region, offset, size = self._access(access)
            if size > len(piece):
                raise RequestError(f"count is {size}: must be {len(piece)} at most")
            writes.append((region, offset, piece[:size]))
        for region, offset, piece in writes:
            self._readiness.poll_listeners()
            await self._store(region, offset, piece, posted=not message.wants_reply)
        return wire.WRITE_COUNT.pack(count)

    async def _store(self, region: int, offset: int, data: bytes, *, posted: bool) -> None:
        if region == wire.CONFIG_REGION:
            await self._function.config_write(offset, data)
        else:
            await self._function.bar_write(region, offset, data, posted=posted)
        self.statistics.writes += 1
        self.on_access(Verb.WRITE, region, offset, data)

    async def _reset(self, message: ClientMessage) -> bytes:
        if message.payload:
            raise RequestError(f"{len(message.payload)} bytes of payload: must be none")
        await self._function.reset()
        return b""

    def _access(self, access: Any) -> tuple[int, int, int]:
        """Region, offset and count of an access, checked."""
        offset, region, count = access
        size = self._sizes.get(region, 0)
        if not size:
            raise RequestError(f"region is {region}: must be one of {sorted(self._sizes)}")
        if not 1 <= count <= self._max_data:
            raise RequestError(f"count is {count}: must be {span(1, self._max_data)}")
        if offset + count > size:
            raise RequestError(f"{count} bytes at {offset:#x} of region {region}: it has {size:#x}")
        return region, offset, count
