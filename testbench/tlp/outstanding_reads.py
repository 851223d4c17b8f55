# SPDX-License-Identifier: BSD-2-Clause
"""Which tags a requester's own reads hold, as one knows who watches its packets.

Sources: PCI Express Base 4.0 sections 2.2.6.2 (a tag is unique among requests without an answer),
2.3.2 (what ends a request), 2.8 (completion timeout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import Tlp
from .rules import Outstanding, advance, in_place


@dataclass(slots=True)
class OwnRead:
    """A read of the requester.

    Parameters
    ----------
    pending
        What is still to come.
    sent_ns
        Simulation time when it left.
    """

    pending: Outstanding
    sent_ns: float


class OwnReads:
    """Reads without a complete answer, by tag.

    Parameters
    ----------
    timeout_ns
        Simulated ns after which the requester may give a read up and use its tag again; ``None``
        for never.
    now
        Simulation time in ns.
    """

    def __init__(self, timeout_ns: float | None, now: Callable[[], float]) -> None:
        self._timeout_ns = timeout_ns
        self._now = now
        self._reads: dict[int, OwnRead] = {}

    def clear(self) -> None:
        """Forget them all."""
        self._reads.clear()

    def in_use(self, tag: int) -> bool:
        """Whether a read holds ``tag`` whose time has not run out."""
        read = self._reads.get(tag)
        if read is None:
            return False
        return self._timeout_ns is None or self._now() < read.sent_ns + self._timeout_ns

    def sent(self, request: Tlp) -> None:
        """A read left; what held its tag before is forgotten."""
        self._reads[request.tag] = OwnRead(Outstanding(request, set()), self._now())

    def answered(self, answer: Tlp, *, broken: bool = False) -> None:
        """A completion came; one for which no read waits changes nothing.

        Poisoned data is data: the rest of it is still to come. An error status, an answer that does
        not fit the read, and one that the hard block calls ``broken`` let the requester end the
        read; it need not.
        """
        read = self._reads.get(answer.tag)
        if read is None:
            return
        if broken or not in_place(answer, read.pending) or advance(answer, read.pending):
            del self._reads[answer.tag]
