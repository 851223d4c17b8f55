# SPDX-License-Identifier: BSD-2-Clause
"""TLPs that a port has handed over and that the hard block has not confirmed yet."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CONFIRMATIONS", "ConfirmationQueue", "ConfirmationSerializer"]

CONFIRMATIONS = 32
"""Maximum number of TLPs that the hard block holds; one more waits at the port."""


class ConfirmationQueue(wiring.Component):
    """Stores a mark for each TLP handed over, until the hard block confirms its departure.

    Parameters
    ----------
    depth : int
        Maximum number of TLPs, a power of two of 2 or more.

    Attributes
    ----------
    accepted : In(1)
        One-cycle pulse: a TLP is handed over. Only with ``has_space``.
    mark : In(1)
        Mark of that TLP.
    has_space : Out(1)
        One more TLP may be handed over. Once high, it stays high until that happens.
    confirmed : In(1)
        One-cycle pulse: the oldest TLP departed. Ignored while the queue is empty.
    marked : Out(1)
        A TLP with a mark is confirmed in this cycle.
    empty : Out(1)
        Every TLP handed over has departed.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or less than 2.
    """

    def __init__(self, depth: int = CONFIRMATIONS):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth is {depth}: must be a power of two of 2 or more")
        self._depth = depth
        super().__init__(
            {
                "accepted": In(1),
                "mark": In(1),
                "has_space": Out(1, init=1),
                "confirmed": In(1),
                "marked": Out(1),
                "empty": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.marks = marks = memory.Memory(shape=1, depth=self._depth, init=[])
        store, look_up = marks.write_port(), marks.read_port(domain="comb")
        newest = Signal(range(self._depth))
        oldest = Signal(range(self._depth))
        level = Signal(range(self._depth + 1))
        next_level = Signal.like(level)
        departs = Signal()
        m.d.comb += [
            departs.eq(self.confirmed & ~self.empty),
            self.marked.eq(departs & look_up.data),
            store.addr.eq(newest),
            store.data.eq(self.mark),
            store.en.eq(self.accepted),
            look_up.addr.eq(oldest),
            next_level.eq(level + Mux(self.accepted ^ departs, Mux(self.accepted, 1, -1), 0)),
        ]
        m.d.sync += [
            newest.eq(newest + self.accepted),
            oldest.eq(oldest + departs),
            level.eq(next_level),
            self.empty.eq(next_level == 0),
            self.has_space.eq(~next_level[-1]),
        ]
        return m


class ConfirmationSerializer(wiring.Component):
    """Spreads confirmations of several ports to one per cycle, each after the end of its TLP.

    A block may confirm a TLP before it has received the end. A confirmation without a TLP is
    dropped.

    Parameters
    ----------
    ports : int
        Maximum number of confirmations per cycle, 1 or more.

    Attributes
    ----------
    i : In(ports)
        A one-cycle pulse for each confirmation.
    beat : In(1)
        A beat of a TLP is handed over. At most :data:`CONFIRMATIONS` TLPs are unconfirmed.
    last : In(1)
        With ``beat``: it is the last of its TLP.
    o : Out(1)
        A one-cycle pulse for each confirmation, in the same cycle if none is pending.

    Raises
    ------
    ValueError
        ``ports`` is less than 1.
    """

    def __init__(self, ports: int):
        if ports < 1:
            raise ValueError(f"ports is {ports}: must be 1 or more")
        super().__init__({"i": In(ports), "beat": In(1), "last": In(1), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        pending = Signal(range(CONFIRMATIONS + 2))
        # TLPs handed over in full and not confirmed.
        whole = Signal(range(CONFIRMATIONS + 1))
        in_progress = Signal()
        arrivals = sum(self.i[port] for port in range(len(self.i)))
        total = pending + arrivals - self.o
        next_whole = whole + (self.beat & self.last) - self.o
        next_in_progress = Mux(self.beat, ~self.last, in_progress)
        limit = next_whole + next_in_progress
        m.d.comb += self.o.eq((self.i.any() | pending.any()) & whole.any())
        m.d.sync += [
            in_progress.eq(next_in_progress),
            whole.eq(next_whole),
            pending.eq(Mux(total > limit, limit, total)),
        ]
        return m
