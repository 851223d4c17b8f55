# SPDX-License-Identifier: BSD-2-Clause
"""Network device, virtio 5.1: queue 0 receives, queue 1 transmits, no offloads.

There are no mergeable buffers and no control queue. A frame takes one buffer.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

from ..virtio import DeviceId
from ..virtqueue import Chain, DeviceVirtqueue
from .base import VirtioDevice

F_MAC = 1 << 5
F_STATUS = 1 << 16
LINK_UP = 1
"""Bit of the status word in configuration space."""
CONFIG = struct.Struct("<6sHHH")
"""mac, status, max_virtqueue_pairs, mtu."""
STATUS_OFFSET = 6
HEADER = struct.Struct("<BBHHHHH")
"""``struct virtio_net_hdr``: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset,
num_buffers. VERSION_1 adds the last (5.1.6)."""
ONE_BUFFER = HEADER.pack(0, 0, 0, 0, 0, 0, 1)
SHORTEST_FRAME = 14
MTU = 1500
"""Bytes of the longest payload (5.1.4)."""
VLAN_TAG = 4
VLAN_TYPES = (b"\x81\x00", b"\x88\xa8")
"""EtherTypes of a VLAN tag: customer and service (IEEE 802.1Q)."""
MAX_VLAN_TAGS = 2
LONGEST_FRAME = SHORTEST_FRAME + MTU + MAX_VLAN_TAGS * VLAN_TAG
"""Most bytes of a frame with all tags, from destination address to payload."""
RECEIVE, TRANSMIT = 0, 1
"""Queue numbers, named from the driver's side."""
WAITING_FRAMES = 64
"""Most frames kept while the driver has no buffers; further ones are dropped."""


def frame_fits(frame: bytes) -> bool:
    """Whether an Ethernet frame has a header and at most :data:`MTU` bytes of payload.

    The frame has no frame check sequence. VLAN tags belong to the header (IEEE 802.1Q).
    """
    header = SHORTEST_FRAME
    for _ in range(MAX_VLAN_TAGS):
        if frame[header - 2 : header] in VLAN_TYPES:
            header += VLAN_TAG
    return header <= len(frame) <= header + MTU


class FrameDrop(StrEnum):
    """Reason for which a frame is dropped."""

    SIZE = "too short or too long"
    LINK_DOWN = "link down"
    NO_BUFFER = "no driver buffer"
    SMALL_BUFFER = "buffer too small"
    OFFLOAD = "offload not negotiated"


class NetworkDevice(VirtioDevice):
    """Network card.

    Parameters
    ----------
    mac
        MAC address, 6 bytes.
    wire
        Called with each frame that the driver sends; the frames it returns are delivered to the
        driver, for instance :meth:`models.ethernet.NetworkPeer.answer`. None means no peer.
    queue_size
        Maximum size of each queue; a power of two.

    Raises
    ------
    ValueError
        ``mac`` is not 6 bytes.

    Attributes
    ----------
    sent
        Number of frames that the driver sent.
    received
        Number of frames that the driver received.
    drops
        Number of dropped frames, by reason.
    """

    device_id = DeviceId.NET.value

    def __init__(
        self,
        *,
        mac: bytes = b"\x02\0\0\0\0\x01",
        wire: Callable[[bytes], list[bytes]] | None = None,
        queue_size: int = 64,
    ) -> None:
        if len(mac) != 6:
            raise ValueError(f"mac is {len(mac)} bytes: must be 6")
        super().__init__(
            features=F_MAC | F_STATUS,
            config=CONFIG.pack(mac, LINK_UP, 1, MTU),
            queue_sizes=(queue_size, queue_size),
        )
        self.sent = 0
        self.received = 0
        self.drops: Counter[FrameDrop] = Counter()
        self._wire = wire
        self._frames: deque[bytes] = deque()

    @property
    def dropped(self) -> int:
        """Number of dropped frames, for all reasons."""
        return self.drops.total()

    @property
    def link_up(self) -> bool:
        """Whether the link is up."""
        return bool(self._config[STATUS_OFFSET] & LINK_UP)

    def set_link(self, up: bool) -> None:
        """Set the link up or down. ``Transport.notify_config`` notifies the driver."""
        self.update_config(STATUS_OFFSET, struct.pack("<H", up * LINK_UP))

    def deliver(self, frame: bytes) -> None:
        """Receive a frame from the wire."""
        reason = self._drop_reason(frame)
        if reason is None and len(self._frames) == WAITING_FRAMES:
            reason = FrameDrop.NO_BUFFER
        if reason is not None:
            self.drops[reason] += 1
            return
        self._frames.append(bytes(frame))
        self.wake(RECEIVE)

    def reset(self) -> None:
        """Reset the device and drop pending frames."""
        super().reset()
        self._frames.clear()

    async def serve(self, index: int, queue: DeviceVirtqueue) -> None:
        """Send transmitted frames; fill receive buffers, one frame per buffer."""
        if index == TRANSMIT:
            await super().serve(index, queue)
            return
        while self._frames and (chain := await queue.next_chain()) is not None:
            packet = ONE_BUFFER + self._frames.popleft()
            if len(packet) > chain.writable_size:
                self.drops[FrameDrop.SMALL_BUFFER] += 1
                await queue.complete(chain, 0)
                continue
            await queue.write(chain, packet)
            await queue.complete(chain, len(packet))
            self.received += 1

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Send the frame of a chain."""
        size = chain.readable_size - HEADER.size
        packet = await queue.read(chain) if 0 < size <= LONGEST_FRAME else b""
        frame = packet[HEADER.size :]
        reason = self._drop_reason(frame)
        if reason is not None:
            self.drops[reason] += 1
            return 0
        flags, offload, *_ = HEADER.unpack_from(packet)
        if flags or offload:
            # Both are undefined without the negotiated features.
            self.drops[FrameDrop.OFFLOAD] += 1
            return 0
        self.sent += 1
        for answer in self._wire(frame) if self._wire else ():
            self.deliver(answer)
        return 0

    def _drop_reason(self, frame: bytes) -> FrameDrop | None:
        """Reason to drop ``frame``, in either direction, or None."""
        if not frame_fits(frame):
            return FrameDrop.SIZE
        return None if self.link_up else FrameDrop.LINK_DOWN
