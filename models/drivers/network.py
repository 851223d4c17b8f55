# SPDX-License-Identifier: BSD-2-Clause
"""Driver for the network device, virtio 5.1, with ARP and ping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..devices.network import (
    CONFIG,
    F_MAC,
    F_STATUS,
    HEADER,
    LINK_UP,
    LONGEST_FRAME,
    RECEIVE,
    TRANSMIT,
)
from ..driver import DriverError
from ..ethernet import arp_request, echo_request, parse_arp_reply, parse_echo_reply
from ..virtqueue import Buffer
from .base import VirtioDriver
from .receiving import ReceiveQueue

BUFFERS = 8
NO_OFFLOAD = bytes(HEADER.size)
MAX_REPLY_FRAMES = 256
"""Most frames that are searched for a reply, so that the wait ends on a busy network too."""
T = TypeVar("T")


class NoReplyError(DriverError):
    """None of the received frames was the reply; the text names the expected reply."""


class NetworkDriver(VirtioDriver):
    """Network interface."""

    FEATURES = F_MAC | F_STATUS
    NUM_QUEUES = 2

    async def start(self) -> None:
        """Post buffers for frames."""
        self._receiver = ReceiveQueue(
            self, RECEIVE, buffers=BUFFERS, size=HEADER.size + LONGEST_FRAME
        )
        await self._receiver.start()

    async def mac(self) -> bytes:
        """Read the MAC address, 6 bytes."""
        return CONFIG.unpack(await self.device.read_config(0, CONFIG.size))[0]

    async def link_up(self) -> bool:
        """Read whether the link is up."""
        status = CONFIG.unpack(await self.device.read_config(0, CONFIG.size))[1]
        return bool(status & LINK_UP)

    async def send(self, frame: bytes) -> None:
        """Send a frame, without frame check sequence.

        Raises
        ------
        DriverError
            The device did not accept the frame in time, or its queue no longer works.
        """
        packet = NO_OFFLOAD + frame
        address = self.allocate(len(packet))
        await self.memory.write(address, packet)
        await self.transfer(TRANSMIT, [Buffer(address, len(packet))], ())
        self.free(address)
        self.statistics.bytes_out += len(frame)

    async def receive(self) -> bytes:
        """Receive the next frame, without frame check sequence.

        Raises
        ------
        DriverError
            No frame arrived in time, or the queue no longer works.
        """
        frame = (await self._receiver.receive())[HEADER.size :]
        self.statistics.bytes_in += len(frame)
        return frame

    async def resolve(self, own_ip: bytes, ip: bytes) -> bytes:
        """Resolve ``ip`` to a MAC address with ARP.

        Raises
        ------
        NoReplyError
            The next frames had no reply.
        DriverError
            As :meth:`receive` does.
        """
        await self.send(arp_request(await self.mac(), own_ip, ip))
        return await self._await_reply("ARP reply", lambda frame: parse_arp_reply(frame, ip))

    async def ping(
        self, own_ip: bytes, mac: bytes, ip: bytes, *, sequence: int = 1, payload: bytes = b""
    ) -> bytes:
        """Send an ICMP echo request, wait for its reply and return the payload of the reply.

        Raises as :meth:`resolve` does.
        """
        own_mac = await self.mac()

        def parse(frame: bytes) -> bytes | None:
            reply = parse_echo_reply(frame, own_mac, own_ip)
            return reply[2] if reply is not None and reply[:2] == (1, sequence) else None

        await self.send(echo_request(own_mac, own_ip, mac, ip, 1, sequence, payload))
        return await self._await_reply(f"reply to echo {sequence}", parse)

    async def _await_reply(self, expected: str, parse: Callable[[bytes], T | None]) -> T:
        for _ in range(MAX_REPLY_FRAMES):
            reply = parse(await self.receive())
            if reply is not None:
                return reply
        raise NoReplyError(
            f"device {self.device.dev_num}: no {expected} among {MAX_REPLY_FRAMES} frames"
        )
