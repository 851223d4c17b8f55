# SPDX-License-Identifier: BSD-2-Clause
"""The gateware as a bus master: its memory requests access guest memory or raise interrupts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from testbench.host.read_completions import Split, read_answers
from testbench.host.requester import UnexpectedTlp
from testbench.host.thin import TlpHost
from testbench.tlp import MEMORY_READS, MEMORY_WRITES, CplStatus, Tlp
from testbench.tlp.packets import completion
from testbench.tlp.traffic import Traffic, byte_mask

from .guest_memory import RESERVED, GuestMemory

MSI_STRIDE = 16
MSI_BASE = RESERVED.start
"""Base address of MSI-X writes: vector n writes n to ``MSI_BASE + MSI_STRIDE * n``."""
READ_COMPLETION_BOUNDARY = 64


def msix_message(vector: int) -> tuple[int, int]:
    """Address and data of a vector's MSI-X write."""
    return MSI_BASE + MSI_STRIDE * vector, vector


class BusMaster:
    """Serves the memory requests of a design.

    Parameters
    ----------
    host
        Receives the requests, and sends completions of Max_Payload_Size at most.
    memory
        The guest memory that the requests access.

    Attributes
    ----------
    traffic
        Bytes read and written, refused requests included.
    interrupts
        MSI-X writes so far.
    on_interrupt
        Functions called with the vector of each MSI-X write.
    on_refused
        Called with each refused request, for example to unmapped memory.
    """

    def __init__(self, host: TlpHost, memory: GuestMemory) -> None:
        self.traffic = Traffic()
        self.interrupts = 0
        self.on_interrupt: list[Callable[[int], None]] = []
        self.on_refused: Callable[[Tlp], None] = lambda request: None
        self._host = host
        self._memory = memory
        # Split.LARGEST makes every completion as long as allowed, so nothing is random.
        self._generator = random.Random(0)
        host.on_request = self.serve

    def serve(self, request: Tlp) -> None:
        """Serve a request.

        Raises
        ------
        UnexpectedTlp
            ``request`` is not a memory request.
        """
        self.traffic.count(request)
        if request.kind in MEMORY_WRITES:
            vector = _vector_of(request)
            if vector is not None:
                self.interrupts += 1
                for listener in self.on_interrupt:
                    listener(vector)
            elif request.ep or not self._store(request):
                self.on_refused(request)
        elif request.kind in MEMORY_READS:
            self._complete(request)
        else:
            raise UnexpectedTlp(f"unsupported request: {request}")

    def _store(self, request: Tlp) -> bool:
        return all(
            self._memory.write(request.address + start, request.payload[start:end])
            for start, end in _runs(byte_mask(request))
        )

    def _complete(self, request: Tlp) -> None:
        data = bytearray(4 * request.length)
        # A zero-length read checks that its address is mapped.
        for start, end in _runs(byte_mask(request) or 1):
            data_read = self._memory.read(request.address + start, end - start)
            if data_read is None:
                self.on_refused(request)
                response = completion(request, self._host.requester_id, status=CplStatus.UR)
                self._host.complete_nowait(response)
                return
            data[start:end] = data_read
        for part in read_answers(
            request,
            bytes(data),
            completer_id=self._host.requester_id,
            max_payload_size=self._host.max_payload_size,
            boundary=READ_COMPLETION_BOUNDARY,
            split=Split.LARGEST,
            generator=self._generator,
        ):
            self._host.complete_nowait(part)


def _vector_of(write: Tlp) -> int | None:
    """The vector of an MSI-X write, or ``None`` for any other write."""
    if write.address not in RESERVED or write.first_be != 0xF:
        return None
    vector = (write.address - MSI_BASE) // MSI_STRIDE
    address, data = msix_message(vector)
    message = write.address, write.payload
    return vector if message == (address, data.to_bytes(4, "little")) else None


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """Yield first bit and end of each run of ones in ``mask``."""
    start = 0
    while remaining := mask >> start:
        start += (remaining & -remaining).bit_length() - 1
        shifted = mask >> start
        end = start + (shifted + 1 & ~shifted).bit_length() - 1
        yield start, end
        start = end
