# SPDX-License-Identifier: BSD-2-Clause
"""The items of the queues as the host and the engines define them, for the benches."""

from dataclasses import dataclass


@dataclass
class Doorbell:
    """A doorbell, and the head that it samples.

    Attributes
    ----------
    cycle : int
        Cycle of the doorbell.
    head : int
        The head as the host had written it before that cycle.
    turns : int
        Cycles since then in which it, or the doorbell of another FIFO, was selected.
    due : int or None
        From this cycle on it has taken effect.
    """

    cycle: int
    head: int
    turns: int = 0
    due: int | None = None


class DriverModel:
    """The messages of the driver queues.

    A doorbell takes effect some time after two cycles; until then, ``has_one`` and ``has_two`` are
    those of an earlier one. The model keeps all doorbells that may be the last one in effect.

    Parameters
    ----------
    fifos, capacity : int

    Attributes
    ----------
    tails : list
        Tails in this cycle.
    """

    def __init__(self, fifos, capacity):
        self._fifos, self._capacity = fifos, capacity
        self.tails = [0] * fifos
        self.clear()

    def clear(self):
        """The host's words are zero, and no doorbell has been rung."""
        self._written = [0] * self._fifos
        self.forget()

    def forget(self):
        """No doorbell has been rung."""
        # By FIFO. The head in effect is that of one of `_current`, numbers of `_doorbells`; -1 is
        # that before them, None where there are no messages.
        self._former = [None] * self._fifos
        self._doorbells = [[] for _ in range(self._fifos)]
        self._current = [{-1} for _ in range(self._fifos)]

    def write_head(self, fifo, index):
        """The host writes a head in this cycle."""
        self._written[fifo] = index

    def ring(self, fifo, cycle):
        """A doorbell in this cycle."""
        self._doorbells[fifo].append(Doorbell(cycle, self._written[fifo]))

    def rewrite(self, fifo, index, written):
        """A tail that the host wrote in cycle ``written`` takes effect at the end of this cycle:
        the doorbells before are void."""
        self.tails[fifo] = index
        self._former[fifo] = None
        self._doorbells[fifo] = [
            doorbell for doorbell in self._doorbells[fifo] if doorbell.cycle > written
        ]
        self._current[fifo] = {-1}

    def advance(self, fifo):
        """The engine takes a message at the end of this cycle."""
        self.tails[fifo] = (self.tails[fifo] + 1) % self._capacity

    def select(self, cycle, delay):
        """In this cycle a doorbell is selected, round robin; it takes effect ``delay`` later."""
        for doorbells in self._doorbells:
            for doorbell in doorbells:
                if doorbell.cycle < cycle:
                    doorbell.turns += 1
                    if doorbell.turns == self._fifos:
                        doorbell.due = cycle + delay

    def _items(self, fifo, number):
        head = self._former[fifo] if number < 0 else self._doorbells[fifo][number].head
        return 0 if head is None else (head - self.tails[fifo]) % self._capacity

    def check(self, cycle, has_one, has_two):
        """Check the messages that the component reports in this cycle."""
        for fifo in range(self._fifos):
            doorbells = self._doorbells[fifo]
            taken = min(self._current[fifo])
            possible = set(self._current[fifo])
            for number, doorbell in enumerate(doorbells):
                if number > taken and doorbell.cycle + 2 <= cycle:
                    possible.add(number)
                if doorbell.due is not None and doorbell.due <= cycle:
                    possible = {each for each in possible if each >= number}
            found = (has_one >> fifo & 1, has_two >> fifo & 1)
            counts = {number: self._items(fifo, number) for number in possible}
            current = {
                number for number, items in counts.items() if found == (items >= 1, items >= 2)
            }
            assert current, (
                f"FIFO {fifo}: has_one, has_two are {found}, with messages {counts} of {doorbells}"
            )
            # Forget the doorbells that another one has followed.
            first = min(current)
            if first >= 0:
                self._former[fifo] = doorbells[first].head
                del doorbells[: first + 1]
            self._current[fifo] = {number - max(first + 1, 0) for number in current}

    def settled(self):
        """Whether the last doorbell of each FIFO is in effect."""
        return not any(self._doorbells)

    def heads(self):
        """The heads in effect, once :meth:`settled`."""
        return list(self._former)


class DeviceModel:
    """The free slots of the device queues.

    ``has_one`` and ``has_two`` follow an advance at once. They follow a tail that the host writes
    one cycle after the index; a head clears them for that cycle.

    Parameters
    ----------
    fifos, capacity : int

    Attributes
    ----------
    heads, tails : list
        Indices in this cycle.
    """

    def __init__(self, fifos, capacity):
        self._fifos, self._capacity = fifos, capacity
        self.heads, self.tails = [0] * fifos, [0] * fifos
        self.clear()

    def clear(self):
        """No slot is free until :meth:`cleared`."""
        # Tails as they are counted; None where no slot is free.
        self._counted = [None] * self._fifos
        self._uncounted = None

    def cleared(self):
        """Every index is zero, and every slot is free."""
        assert not any(self.heads + self.tails)
        self._counted = [0] * self._fifos

    def free(self, fifo):
        """Free slots by the indices."""
        return (self.tails[fifo] - self.heads[fifo] - 1) % self._capacity

    def expected(self):
        """``has_one`` and ``has_two`` in this cycle."""
        has_one = has_two = 0
        for fifo, tail in enumerate(self._counted):
            items = 0 if tail is None else (tail - self.heads[fifo] - 1) % self._capacity
            has_one |= (items >= 1) << fifo
            has_two |= (items >= 2) << fifo
        return has_one, has_two

    def uncounted(self, fifo):
        """Whether a host write has taken effect in the cycle before, which is not counted yet."""
        return self._uncounted == fifo

    def step(self, update, advance):
        """End a cycle in which ``update``, an end, a FIFO and an index, takes effect and the engine
        takes a slot of FIFO ``advance``; each may be None."""
        if self._uncounted is not None:
            self._counted[self._uncounted] = self.tails[self._uncounted]
        self._uncounted = None
        if advance is not None:
            self.heads[advance] = (self.heads[advance] + 1) % self._capacity
        if update is not None:
            end, fifo, index = update
            self._uncounted = fifo
            if end == "head":
                self.heads[fifo] = index
                self._counted[fifo] = None
            else:
                self.tails[fifo] = index
