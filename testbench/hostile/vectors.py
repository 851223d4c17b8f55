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
    allowed
        Maximum number of interrupts allowed: one for each message since the last check.
    required
        Whether an interrupt is required: a message was accepted since the last interrupt.
    dropped
        Number of messages that may have been dropped when ``required`` was set.
    blocked
        Whether no interrupt may arrive: the vector is masked, MSI-X disabled or bus mastering off,
        and none is in flight.
    """

    name: str
    allowed: int = 0
    required: bool = False
    dropped: int = 0
    blocked: bool = False

    def accepted(self, *, certain: bool, dropped: int) -> None:
        """Record an accepted message.

        Parameters
        ----------
        certain
            Whether the message certainly goes into the queue.
        dropped
            Number of the queue's messages that may have been dropped so far.
        """
        self.allowed += 1
        if certain:
            self.required, self.dropped = True, dropped

    def interrupted(self) -> None:
        """Handle an interrupt."""
        if self.blocked:
            raise HostileFailure(f"{self.name} arrived although it is blocked")
        if not self.allowed:
            raise HostileFailure(f"{self.name} arrived without a message")
        self.allowed -= 1
        self.required = False

    def reset(self) -> None:
        """Record a function reset; interrupts in flight may still arrive."""
        self.required = self.blocked = False

    def check_quiescent(self, pending: int, *, may_send: bool, dropped: int) -> None:
        """Check the pending bit when quiescent.

        Parameters
        ----------
        pending
            Pending bit, 0 or 1.
        may_send
            Whether the vector is not blocked.
        dropped
            As :meth:`accepted`; larger if a store to head followed a message's last beat.
        """
        if pending and may_send:
            raise HostileFailure(f"{self.name} is pending although it may be sent")
        if self.required and self.dropped >= dropped and not pending:
            raise HostileFailure(f"{self.name} is missing after a message")
        if pending and not self.allowed:
            raise HostileFailure(f"{self.name} is pending without a message")
        self.allowed, self.required, self.blocked = pending, bool(pending), not may_send
