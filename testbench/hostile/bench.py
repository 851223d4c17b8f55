# SPDX-License-Identifier: BSD-2-Clause
"""The parts of a hostile simulation, and the start and end of its histories."""

from __future__ import annotations

from typing import Any, Self

from models.config_space import INITIATE_FLR
from models.layout import PAGE

from ..queue_bench import QueueBench
from .checker import Checker
from .device import HostileDevice
from .host import TAGS, HostileHost
from .observer import Observer
from .oracle import Oracle, Tally
from .quiesce import Quiescer
from .ram_shadow import RamShadow
from .streams import StreamControl

HOST_TIMEOUT_US = 500.0


class HostileBench:
    """A bench whose stimuli and events are all reported to an oracle.

    Create it with :meth:`open`.

    Parameters
    ----------
    queues
        The bench of the design, started.
    ram
        Contents of the FIFO BAR.

    Attributes
    ----------
    queues
        The bench of the design.
    tally
        Counts of checked messages and interrupts.
    oracle
        Checks the endpoint's behaviour.
    checker
        Failures of the current history.
    streams
        Pauses and stalls of the streams.
    host, device
        Stimuli of the host and of the device side.
    quiescer
        Waits until nothing is in flight, and checks the whole state.
    """

    def __init__(self, queues: QueueBench, ram: RamShadow) -> None:
        self.queues = queues
        self.tally = Tally()
        self.oracle = Oracle(queues.layout, queues.parameters.num_fifos, ram, self.tally)
        self.checker = Checker(queues, self.oracle)
        self.streams = StreamControl(queues)
        self.host = HostileHost(queues, self.oracle, self.checker.failures)
        self.device = HostileDevice(queues, self.oracle, self.checker.failures)
        self.quiescer = Quiescer(
            queues,
            self.oracle,
            self.checker,
            streams=self.streams,
            host=self.host,
            device=self.device,
        )
        self._observer = Observer(queues, self.oracle, self.device.ordering, self.checker)
        self._ended_without_failure = False

    @classmethod
    async def open(cls, dut: Any) -> Self:
        """Create the bench of ``dut``, start it and read its RAM."""
        queues = QueueBench(dut, tags=TAGS, timeout_us=HOST_TIMEOUT_US)
        queues.monitor.fatal = False
        await queues.start()
        return cls(queues, await _read_ram(queues))

    async def begin(self) -> None:
        """Start a history: reset everything except the RAM contents."""
        if self._ended_without_failure:
            await self.restart(cycles=2)
        else:
            self.oracle.ignore_events()
            await self.restart(cycles=2)
            self.oracle.begin(await _read_ram(self.queues))
            self.checker.clear()
        self._ended_without_failure = False

    def end(self) -> None:
        """End the history, without a failure."""
        self._ended_without_failure = True

    async def restart(self, *, cycles: int) -> None:
        """Assert ``rst`` for ``cycles`` cycles, then enable the function."""
        bench, rst = self.queues, self.queues.dut.rst
        self.host.abandon()
        self.device.cancel_messages()
        self.streams.release()
        self.streams.max_pause = 0
        # Let sources start with packets queued just now: only then does reset drop them.
        await bench.settle(1)
        rst.value = 1
        if bench.parameters.top == "core":
            bench.host.set_pins(function_reset=0, msix_mask=0)
        await bench.settle(cycles)
        bench.host.requester.abandon()
        bench.host.memory.abandon()
        self.device.ordering.clear()
        self.oracle.abort()
        self.host.unsupported = 0
        rst.value = 0
        await bench.settle(1)
        await self.host.enable()

    async def reset_function(self) -> None:
        """Reset the function (FLR) at any time, and enable it again.

        The host waits for the completion of the request. A hard block passes on all earlier
        requests first, then pulses ``function_reset``.
        """
        bench, host = self.queues, self.queues.host
        # The first sink has the completions: while it is stalled, requests are not accepted.
        self.streams.host_sinks[0].resume()
        if bench.parameters.top == "core":
            await self.checker.wait_until(
                lambda: not host.source.pending, "requests are not accepted"
            )
            host.set_pins(function_reset=1)
            await bench.settle(1)
            host.set_pins(function_reset=0)
            table = host.msix_table(bench.parameters.num_fifos)
            self.host.store_nowait(bench.shell.msix_bar, bench.shell.msix_table_offset, table)
            return
        control = await host.config_read(INITIATE_FLR.offset)
        await host.config_write(INITIATE_FLR.offset, control & 0xFFFF | INITIATE_FLR.mask)
        await bench.settle(2)
        await self.host.enable()


async def _read_ram(bench: QueueBench) -> RamShadow:
    size = bench.shell.bar_sizes(bench.parameters.num_fifos, bench.layout)[bench.shell.fifo_bar]
    content = bytearray(size)
    for page in bench.layout.ram_pages(bench.parameters.num_fifos):
        content[page : page + PAGE] = await bench.host.bar_read(bench.shell.fifo_bar, page, PAGE)
    return RamShadow(bytes(content), bench.parameters.data_width // 8)
