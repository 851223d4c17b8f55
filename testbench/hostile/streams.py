# SPDX-License-Identifier: BSD-2-Clause
"""Pauses and stalls of all streams of the host and of the device side."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ..queue_bench import QueueBench
from ..stream import pacing


class StreamControl:
    """Paces and stalls the streams of a bench.

    Parameters
    ----------
    bench
        The bench.

    Attributes
    ----------
    sinks, sources
        All streams from the design and to it, those of the device side first.
    host_sinks
        The streams from the design to the host.
    max_pause
        Longest pause in cycles between two beats of a stream that is not stalled.
    """

    def __init__(self, bench: QueueBench) -> None:
        self._bench = bench
        self.host_sinks = list(bench.host.sinks.values())
        self.sinks = [bench.sink, *self.host_sinks]
        self.sources = [bench.source, bench.host.source]
        self.max_pause = 0

    @property
    def stalled(self) -> bool:
        """Whether any stream from the design is stalled."""
        return any(sink.paused for sink in self.sinks)

    def pace(self, *, seed: int, longest: int) -> None:
        """Set random pauses of up to ``longest`` cycles on all streams; 0 for no pauses."""
        rng = random.Random(seed)
        self.max_pause = max(self.max_pause, longest)

        def pauses() -> Iterator[int] | None:
            return pacing.randomly(rng.getrandbits(32), 0.5, longest) if longest else None

        for sink in self.sinks:
            sink.set_stall(pauses())
        for source in self.sources:
            source.set_idle(pauses())

    def pause_device(self, cycles: int) -> None:
        """Pause the device side for ``cycles`` before every beat; 0 for no pauses."""
        self.max_pause = max(self.max_pause, cycles)
        self._bench.source.set_idle(pacing.every([cycles]) if cycles else None)

    def release(self) -> None:
        """Remove all pauses and stalls; a pause in progress continues."""
        for sink in self.sinks:
            sink.resume()
            sink.set_stall(None)
        for source in self.sources:
            source.set_idle(None)

    async def drain_pauses(self) -> None:
        """Remove all pauses and stalls, and wait for a pause in progress to end."""
        self.release()
        await self._bench.settle(self.max_pause)
        self.max_pause = 0
