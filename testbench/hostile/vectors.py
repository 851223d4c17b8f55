# SPDX-License-Identifier: BSD-2-Clause
"""Required, allowed and forbidden interrupts of a FIFO."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import HostileFailure


@dataclass(slots=True)
class Vector:
    """State of an interrupt vector.

    Parameters
    ----------
    name
        Name for error texts.
    raises
        Maximum number of interrupts allowed: one for each message since the last check.
    owed
        Whether an interrupt is required: a message was accepted since the last interrupt.
    dropped
        Number of messages that may have been dropped when ``owed`` was set.
    blocked
        Whether no interrupt may arrive: the vector is masked, MSI-X disabled or bus mastering off,
        and none is in flight.
    """

    name: str
    raises: int = 0
    owed: bool = False
    dropped: int = 0
    blocked: bool = False

    def raised(self, *, certain: bool, dropped: int) -> None:
        """Record an accepted message.

        Parameters
        ----------
        certain
            Whether the message certainly goes into the queue.
        dropped
            Number of the queue's messages that may have been dropped so far.
        """
        self.raises += 1
        if certain:
            self.owed, self.dropped = True, dropped

    def came(self) -> None:
        """Handle an interrupt."""
        if self.blocked:
            raise HostileFailure(f"{self.name} arrived although it is blocked")
        if not self.raises:
            raise HostileFailure(f"{self.name} arrived without a message")
        self.raises -= 1
        self.owed = False

    def check(self, pending: int, *, may_send: bool, dropped: int) -> None:
        """Check the pending bit when quiescent.

        Parameters
        ----------
        pending
            Pending bit, 0 or 1.
        may_send
            Whether the vector is not blocked.
        dropped
            As :meth:`raised`; larger if a store to head followed a message's last beat.
        """
        if pending and may_send:
            raise HostileFailure(f"{self.name} is pending although it may be sent")
        if self.owed and self.dropped >= dropped and not pending:
            raise HostileFailure(f"{self.name} is missing after a message")
        if pending and not self.raises:
            raise HostileFailure(f"{self.name} is pending without a message")
        self.raises, self.owed, self.blocked = pending, bool(pending), not may_send
