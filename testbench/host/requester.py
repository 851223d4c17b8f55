# SPDX-License-Identifier: BSD-2-Clause
"""State of a requester: tags, split completions, and timeouts.

Sources: PCI Express Base 4.0 sections 2.2.6.2 (tags), 2.3.2 (completion handling), 2.8 (completion
timeout).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.runtime import Event, sleep

from ..runtime import CocotbRuntime, TimedRuntime
from ..tlp import MEMORY_READS, CplStatus, Tlp
from ..tlp.packets import more_to_come, request_bytes


class HostError(RuntimeError):
    """An access of the host failed."""


class TlpTimeout(HostError):
    """A request timed out; the text has the request and the number of completions received."""


class CompletionError(HostError):
    """A request was completed with a status other than success.

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
        super().__init__(f"{request} was completed with {name}")


class UnexpectedTlp(HostError):
    """The design sent a packet that matches no request or that the host does not support."""


@dataclass(slots=True, eq=False)
class Pending:
    """An outstanding request.

    Parameters
    ----------
    request
        The request with its tag.
    deadline_ns
        Simulation time at which it fails.
    done
        Set when it is complete or has timed out.
    completions
        Completions received so far.
    timed_out
        Whether it has timed out.
    """

    request: Tlp
    deadline_ns: float
    done: Event
    completions: list[Tlp] = field(default_factory=list)
    timed_out: bool = False

    async def answers(self) -> list[Tlp]:
        """Wait for all completions of the request.

        Raises
        ------
        TlpTimeout
            The request timed out.
        """
        await self.done.wait()
        if self.timed_out:
            raise TlpTimeout(
                f"{self.request} timed out with {len(self.completions)} completions received"
            )
        return self.completions


def split(address: int, size: int, limit: int) -> Iterator[tuple[int, int]]:
    """Split ``size`` bytes from ``address`` into requests.

    Parameters
    ----------
    address, size
        Bytes.
    limit
        Longest request in bytes, a power of two up to 4,096. Requests end at its multiples, so none
        is longer and none crosses 4 KiB.

    Yields
    ------
    tuple
        Address and size of a request; a single one of size 0 if ``size`` is 0.
    """
    end = address + size
    while True:
        stop = min(end, (address // limit + 1) * limit)
        yield address, stop - address
        address = stop
        if address >= end:
            return


def read_data(request: Tlp, size: int, answers: list[Tlp]) -> bytes:
    """The ``size`` bytes of data in the completions ``answers`` of the read ``request``.

    Raises
    ------
    CompletionError
        A completion is not successful.
    HostError
        The number of dwords differs from that of the request.
    """
    for answer in answers:
        if answer.status != CplStatus.SC:
            raise CompletionError(request, answer)
    payload = b"".join(answer.payload for answer in answers)
    if len(payload) != 4 * request.length:
        raise HostError(f"{request} was completed with {len(payload)} bytes")
    lead = request_bytes(request)[0] & 3
    return payload[lead : lead + size]


class Requester:
    """Allocates tags and matches completions with requests.

    Parameters
    ----------
    tags
        Maximum number of outstanding requests, 1 to 256.
    timeout_us
        Completion timeout in simulated microseconds.
    runtime
        Tasks, events and time; those of cocotb by default.
    """

    def __init__(
        self, *, tags: int = 32, timeout_us: float = 100.0, runtime: TimedRuntime | None = None
    ) -> None:
        if not 1 <= tags <= 256:
            raise ValueError(f"tags is {tags}: must be 1 to 256")
        self.timeout_us = timeout_us
        self._runtime = CocotbRuntime() if runtime is None else runtime
        # Least recently used tag first, so that a late completion does not match a new request.
        self._free = deque(range(tags))
        self._freed = self._runtime.event()
        self._pending: dict[int, Pending] = {}
        self._expiring = False

    @property
    def outstanding(self) -> int:
        """Number of outstanding requests, including timed-out ones."""
        return len(self._pending)

    async def open(self, request: Tlp) -> Pending:
        """Wait for a free tag, set it in ``request`` and register the request."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        request.tag = self._free.popleft()
        deadline_ns = self._runtime.now_ns + 1000 * self.timeout_us
        pending = Pending(request, deadline_ns, self._runtime.event())
        self._pending[request.tag] = pending
        if not self._expiring:
            self._expiring = True
            self._runtime.spawn(self._expire_requests())
        return pending

    def receive(self, answer: Tlp) -> None:
        """Accept a completion.

        Raises
        ------
        UnexpectedTlp
            It matches no outstanding request.
        """
        pending = self._pending.get(answer.tag)
        if pending is None:
            raise UnexpectedTlp(f"no outstanding request for {answer}")
        pending.completions.append(answer)
        if pending.request.kind in MEMORY_READS and more_to_come(answer):
            return
        del self._pending[answer.tag]
        self._free.append(answer.tag)
        self._freed.set()
        pending.done.set()

    def abandon(self) -> None:
        """Fail all outstanding requests and free their tags: a reset has dropped them."""
        for tag, pending in self._pending.items():
            pending.timed_out = True
            pending.done.set()
            self._free.append(tag)
        self._pending.clear()
        self._freed.set()

    async def _expire_requests(self) -> None:
        # One timer for all requests: a timer for each costs more than the request itself. A
        # timed-out request keeps its tag until its completion, which no other request may receive.
        while any(not pending.timed_out for pending in self._pending.values()):
            await sleep(self._runtime, max(self.timeout_us / 2, 0.001))
            now = self._runtime.now_ns
            for pending in self._pending.values():
                if now >= pending.deadline_ns:
                    pending.timed_out = True
                    pending.done.set()
        self._expiring = False
