# SPDX-License-Identifier: BSD-2-Clause
"""Memory of the thin host as completer of the design's requests.

Writes take effect on arrival, reads when they are due, so that a read returns every earlier write
(PCI Express Base 4.0 section 2.4.1). Completions of one read stay in address order; completions of
different reads interleave and overtake each other according to their latencies.

The module is independent of the simulator: :class:`testbench.host.thin.TlpHost` supplies the time
and transfers the packets.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat

from ..tlp import MEMORY_WRITES, CplStatus, Tlp
from ..tlp.packets import completion
from ..tlp.traffic import Traffic
from .faults import Fault
from .memory_store import SparseMemory
from .read_completions import BOUNDARIES, Split, read_answers

MEMORY_BASE = 0x1000_0000
"""Default address of the first allocation; far below the BARs."""


def latencies(
    seed: int,
    *,
    shortest_ns: float = 100.0,
    longest_ns: float = 400.0,
    tail: float = 0.1,
    tail_ns: float = 3000.0,
) -> Iterator[float]:
    """Pseudo-random latencies: mostly short, with a long tail.

    Parameters
    ----------
    seed
        Seed of the generator.
    shortest_ns, longest_ns
        Range of most latencies in simulated ns, uniform.
    tail
        Probability of a longer latency, 0 to 1.
    tail_ns
        Longest latency in simulated ns.
    """
    if not 0 <= tail <= 1:
        raise ValueError(f"tail is {tail}: must be 0 to 1")
    if not 0 <= shortest_ns <= longest_ns <= tail_ns:
        raise ValueError(
            f"latencies are {shortest_ns:g}, {longest_ns:g} and {tail_ns:g} ns: must not decrease"
        )
    generator = random.Random(seed)
    while True:
        if generator.random() < tail:
            yield generator.uniform(longest_ns, tail_ns)
        else:
            yield generator.uniform(shortest_ns, longest_ns)


@dataclass(order=True, slots=True)
class PendingRead:
    """A read in flight.

    Parameters
    ----------
    due_ns
        Simulation time of the next step.
    number
        Order among reads due at the same time.
    request
        The read.
    max_payload_size
        Bytes of the longest completion.
    answers
        Completions still to send; ``None`` before the memory is read.
    """

    due_ns: float
    number: int
    request: Tlp = field(compare=False)
    max_payload_size: int = field(compare=False)
    answers: list[Tlp] | None = field(compare=False, default=None)


class MemoryCompleter(SparseMemory):
    """Host memory that completes memory requests; host software accesses it directly.

    Parameters
    ----------
    send
        Called with each completion when it is due.
    completer_id
        16 bits.
    base
        As :class:`~testbench.host.memory_store.SparseMemory`.
    latency
        Latencies of completions in simulated ns, such as :func:`latencies`: for the first
        completion of a read from its request, for further ones from the previous completion.
        ``None`` completes at once.
    split
        Where to split completions.
    read_completion_boundary
        64 or 128 bytes.
    seed
        Seed of random splits.

    Attributes
    ----------
    faults
        Faults to inject (:mod:`testbench.host.faults`); the first that applies to a request is
        used.
    traffic
        The design's reads and writes, including refused ones.
    refused_reads, refused_writes
        Requests outside any allocation, and poisoned writes; oldest first.
    """

    def __init__(
        self,
        send: Callable[[Tlp], None],
        *,
        completer_id: int = 0,
        base: int = MEMORY_BASE,
        latency: Iterable[float] | None = None,
        split: Split = Split.LARGEST,
        read_completion_boundary: int = 64,
        seed: int = 1,
    ) -> None:
        if read_completion_boundary not in BOUNDARIES:
            raise ValueError(
                f"read_completion_boundary is {read_completion_boundary}: must be 64 or 128"
            )
        super().__init__(base=base)
        self.completer_id = completer_id
        self.split = split
        self.read_completion_boundary = read_completion_boundary
        self.faults: list[Fault] = []
        self.traffic = Traffic()
        self.refused_reads: list[Tlp] = []
        self.refused_writes: list[Tlp] = []
        self._send = send
        self._generator = random.Random(seed)
        self._reads: list[PendingRead] = []
        self._number = 0
        self.set_latency(latency)

    def set_latency(self, latency: Iterable[float] | None) -> None:
        """Replace the latencies; ``None`` completes at once."""
        self._latency = iter(repeat(0.0) if latency is None else latency)

    @property
    def outstanding(self) -> int:
        """Number of reads without all completions sent."""
        return len(self._reads)

    def abandon(self) -> None:
        """Drop all reads in flight: the design was reset."""
        self._reads.clear()

    def take(self, request: Tlp, now_ns: float, max_payload_size: int) -> None:
        """Accept a memory read or write; :meth:`run` completes reads.

        Parameters
        ----------
        request
            The request.
        now_ns
            Simulation time.
        max_payload_size
            Bytes of the longest completion.
        """
        self.traffic.count(request)
        if request.kind in MEMORY_WRITES:
            if request.ep or not self.store(request):
                self.refused_writes.append(request)
            return
        self._number += 1
        due = now_ns + next(self._latency, 0.0)
        heapq.heappush(self._reads, PendingRead(due, self._number, request, max_payload_size))

    def run(self, now_ns: float) -> float | None:
        """Run all steps due at ``now_ns``; return the time of the next step, or ``None``."""
        while self._reads and self._reads[0].due_ns <= now_ns:
            self._step(heapq.heappop(self._reads))
        return self._reads[0].due_ns if self._reads else None

    def _step(self, read: PendingRead) -> None:
        if read.answers is None:
            fault = self._matching_fault(read.request)
            read.answers = self._completions(read)
            if fault is not None:
                read.answers = list(fault.change(read.request, read.answers))
                read.due_ns += fault.after_ns
                heapq.heappush(self._reads, read)
                return
        if read.answers:
            self._send(read.answers.pop(0))
        if read.answers:
            read.due_ns += next(self._latency, 0.0)
            heapq.heappush(self._reads, read)

    def _matching_fault(self, request: Tlp) -> Fault | None:
        return next((fault for fault in self.faults if fault.applies_to(request)), None)

    def _completions(self, read: PendingRead) -> list[Tlp]:
        data = self.load(read.request)
        if data is None:
            self.refused_reads.append(read.request)
            return [completion(read.request, self.completer_id, status=CplStatus.UR)]
        return read_answers(
            read.request,
            data,
            completer_id=self.completer_id,
            max_payload_size=read.max_payload_size,
            boundary=self.read_completion_boundary,
            split=self.split,
            generator=self._generator,
        )
