# SPDX-License-Identifier: BSD-2-Clause
"""A requester's bookkeeping: tags, answers that come in pieces, and timeouts.

Sources: PCI Express Base 4.0 sections 2.2.6.2 (tags), 2.3.2 (handling completions), 2.8 (completion
timeout).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import Event, Timer
from cocotb.utils import get_sim_time

from ..tlp import MEMORY_READS, CplStatus, Tlp
from ..tlp.packets import more_to_come, request_bytes


class HostError(RuntimeError):
    """An access that the host attempted did not work."""


class TlpTimeout(HostError):
    """A request was not answered in time; the text has the request and what did come."""


class CompletionError(HostError):
    """A request was answered with a status other than success.

    Attributes
    ----------
    status
        The completion's status.
    """

    def __init__(self, request: Tlp, answer: Tlp) -> None:
        self.status = answer.status
        try:
            name = CplStatus(answer.status).name
        except ValueError:
            name = f"status {answer.status}"
        super().__init__(f"{request} was answered with {name}")


class UnexpectedTlp(HostError):
    """The design sent a packet that nobody waits for."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request under way.

    Parameters
    ----------
    request
        The request with its tag.
    deadline_ns
        Simulation time at which it fails.
    completions
        What has come so far.
    """

    request: Tlp
    deadline_ns: float
    completions: list[Tlp] = field(default_factory=list)
    late: bool = False
    done: Event = field(default_factory=Event)

    async def answers(self) -> list[Tlp]:
        """All completions of the request.

        Raises
        ------
        TlpTimeout
            They did not come in time.
        """
        await self.done.wait()
        if self.late:
            raise TlpTimeout(
                f"no complete answer to {self.request}: {len(self.completions)} completions came"
            )
        return self.completions


def split(address: int, size: int, limit: int) -> Iterator[tuple[int, int]]:
    """Pieces of ``size`` bytes from ``address`` that each fit one request.

    Parameters
    ----------
    address, size
        Bytes.
    limit
        Bytes that a request may have, a power of two up to 4,096. Pieces end at its multiples, so
        none is longer and none crosses 4 KiB.

    Yields
    ------
    tuple
        Address and size of a piece; at least one, of size 0 if ``size`` is 0.
    """
    end = address + size
    while True:
        stop = min(end, (address // limit + 1) * limit)
        yield address, stop - address
        address = stop
        if address >= end:
            return


def read_data(request: Tlp, size: int, answers: list[Tlp]) -> bytes:
    """The ``size`` bytes that ``answers`` bring for the read ``request``.

    Raises
    ------
    CompletionError
        One of them is not successful.
    HostError
        They have another number of dwords than the request.
    """
    for answer in answers:
        if answer.status != CplStatus.SC:
            raise CompletionError(request, answer)
    payload = b"".join(answer.payload for answer in answers)
    if len(payload) != 4 * request.length:
        raise HostError(f"{request} was answered with {len(payload)} bytes")
    lead = request_bytes(request)[0] & 3
    return payload[lead : lead + size]


class Requester:
    """Gives out tags and matches completions with requests.

    Parameters
    ----------
    tags
        How many requests may be outstanding, 1 to 256.
    timeout_us
        Simulated microseconds until an unanswered request fails.
    """

    def __init__(self, *, tags: int = 32, timeout_us: float = 100.0) -> None:
        if not 1 <= tags <= 256:
            raise ValueError(f"tags is {tags}: must be 1 to 256")
        self.timeout_us = timeout_us
        # Least recently used first: an answer that comes late meets no new request.
        self._free = deque(range(tags))
        self._freed = Event()
        self._pending: dict[int, Pending] = {}
        self._watching = False

    @property
    def outstanding(self) -> int:
        """Requests without a complete answer."""
        return len(self._pending)

    async def open(self, request: Tlp) -> Pending:
        """Set the tag of ``request``, waiting for a free one, and expect its answer."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        request.tag = self._free.popleft()
        pending = Pending(request, get_sim_time("ns") + 1000 * self.timeout_us)
        self._pending[request.tag] = pending
        if not self._watching:
            self._watching = True
            cocotb.start_soon(self._watch())
        return pending

    def receive(self, answer: Tlp) -> None:
        """Take a completion.

        Raises
        ------
        UnexpectedTlp
            No request waits for it.
        """
        pending = self._pending.get(answer.tag)
        if pending is None:
            raise UnexpectedTlp(f"no request waits for {answer}")
        pending.completions.append(answer)
        if pending.request.kind in MEMORY_READS and more_to_come(answer):
            return
        del self._pending[answer.tag]
        self._free.append(answer.tag)
        self._freed.set()
        pending.done.set()

    def abandon(self) -> None:
        """Fail everything outstanding and free all tags: after a reset nothing more comes."""
        for tag, pending in self._pending.items():
            pending.late = True
            pending.done.set()
            self._free.append(tag)
        self._pending.clear()
        self._freed.set()

    async def _watch(self) -> None:
        # One timer for all requests: a timer for each costs more than the request itself. A late
        # request keeps its tag until its answer comes: no other request must get that answer.
        while any(not pending.late for pending in self._pending.values()):
            await Timer(max(self.timeout_us / 2, 0.001), "us", round_mode="ceil")
            now = get_sim_time("ns")
            for pending in self._pending.values():
                if now >= pending.deadline_ns:
                    pending.late = True
                    pending.done.set()
        self._watching = False
