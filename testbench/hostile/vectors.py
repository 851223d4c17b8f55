# SPDX-License-Identifier: BSD-2-Clause
"""When the interrupt of a FIFO must come, may come, and must not."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import HostileFailure


@dataclass(slots=True)
class Vector:
    """What is known of an interrupt.

    Parameters
    ----------
    name
        For messages.
    raises
        Messages since it was last known to be quiet: as many interrupts may come, no more.
    owed
        A message was taken after which no interrupt came.
    dropped
        How many messages may have been dropped by then.
    blocked
        None may come: masked, disabled or without bus mastering, and nothing on its way.
    """

    name: str
    raises: int = 0
    owed: bool = False
    dropped: int = 0
    blocked: bool = False

    def raised(self, *, certain: bool, dropped: int) -> None:
        """A message was taken; ``certain`` if it is known to have been for a queue that still is.

        Parameters
        ----------
        certain
            Whether it is known to go into the queue.
        dropped
            How many of that queue's messages may have been dropped by now.
        """
        self.raises += 1
        if certain:
            self.owed, self.dropped = True, dropped

    def came(self) -> None:
        """The interrupt came."""
        if self.blocked:
            raise HostileFailure(f"{self.name} came although it is held back")
        if not self.raises:
            raise HostileFailure(f"{self.name} came, and there was no message for it")
        self.raises -= 1
        self.owed = False

    def check(self, pending: int, *, may_send: bool, dropped: int) -> None:
        """At rest, the pending bit reads so.

        Parameters
        ----------
        pending
            0 or 1.
        may_send
            Whether nothing holds the vector back.
        dropped
            As for :meth:`raised`: a store to head may have come even after a message's last beat.
        """
        if pending and may_send:
            raise HostileFailure(f"{self.name} is pending and may be sent")
        if self.owed and self.dropped >= dropped and not pending:
            raise HostileFailure(f"{self.name} is lost, and there is a message for it")
        if pending and not self.raises:
            raise HostileFailure(f"{self.name} is pending, and there was no message")
        self.raises, self.owed, self.blocked = pending, bool(pending), not may_send
