# SPDX-License-Identifier: BSD-2-Clause
"""Tags of a requester's outstanding reads, derived from its packets.

Sources: PCI Express Base 4.0 sections 2.2.6.2 (a tag is unique among outstanding requests), 2.3.2
(completion of a request), 2.8 (completion timeout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import Tlp
from .rules import Outstanding, advance, continues_read


@dataclass(slots=True)
class OutstandingRead:
    """An outstanding read of the requester.

    Parameters
    ----------
    pending
        The request and its progress.
    sent_ns
        Simulation time at which it was sent.
    """

    pending: Outstanding
    sent_ns: float


class OutstandingReads:
    """Outstanding reads of a requester, by tag.

    Parameters
    ----------
    timeout_ns
        Simulated ns after which the requester may abort a read and reuse its tag; ``None`` for
        never.
    now
        Returns the simulation time in ns.
    """

    def __init__(self, timeout_ns: float | None, now: Callable[[], float]) -> None:
        self._timeout_ns = timeout_ns
        self._now = now
        self._reads: dict[int, OutstandingRead] = {}

    def clear(self) -> None:
        """Drop all reads."""
        self._reads.clear()

    def in_use(self, tag: int) -> bool:
        """Whether ``tag`` belongs to an outstanding read that has not timed out."""
        read = self._reads.get(tag)
        if read is None:
            return False
        return self._timeout_ns is None or self._now() < read.sent_ns + self._timeout_ns

    def sent(self, request: Tlp) -> None:
        """Record a read; it replaces an earlier one with the same tag."""
        self._reads[request.tag] = OutstandingRead(Outstanding(request, set()), self._now())

    def completed(self, completion: Tlp, *, broken: bool = False) -> None:
        """Record a completion; one with an unused tag is ignored.

        Poisoned data counts as data, and the read continues. After an error status, a completion
        that does not match the read, or one that the hard block reports as ``broken``, the
        requester may end the read, but need not: the tag is free from then on.
        """
        read = self._reads.get(completion.tag)
        if read is None:
            return
        if (
            broken
            or not continues_read(completion, read.pending)
            or advance(completion, read.pending)
        ):
            del self._reads[completion.tag]
