# SPDX-License-Identifier: BSD-2-Clause
"""The simulated endpoint as a :class:`~sim.vm.bridge.function.PciFunction`: accesses become TLPs.

The bridge is the root complex. It has places for the BARs of its own, since a guest's may move
while software sizes them, and it fills in the MSI-X table with addresses of its own: what is
written there is an interrupt, everything else goes to the guest's memory. What software writes into
configuration space goes to the gateware as it is, and what the bridge must know of it, it reads
back from there.
"""

from __future__ import annotations

import itertools
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import cocotb

from models.config_space import (
    COMMAND,
    CONFIG_DWORDS,
    DEVICE_CONTROL,
    INITIATE_FLR,
    MAX_PAYLOAD_SIZE,
    MEMORY_SPACE_ENABLE,
    POWER_D0,
    POWER_STATE,
    bar_offset,
    coded_size,
)
from models.devices import VirtioDevice
from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE
from testbench.host.requester import HostError, split
from testbench.system import CLOCK_PERIOD_NS, GatewareSystem

from .bus_master import BusMaster, msix_message
from .function import FunctionAccessError
from .guest_memory import GuestMemory
from .simulation import SimulationReadiness

_T = TypeVar("_T")

READS_AT_ONCE = 32
"""Reads of configuration space that are under way together."""
MOST_WAITING_WRITES = 64
"""Posted writes that may wait for the gateware before the next one waits with them."""
DWORD = 4
BAR_FLAGS = 0xF
"""Bits of a memory BAR that are no address."""
RESET_CYCLES = 100
"""What function-level reset is given; software waits far longer (PCI Express Base 6.6.2)."""


class GatewareFunction:
    """Implements :class:`~sim.vm.bridge.function.PciFunction`; make it inside a cocotb test.

    Parameters
    ----------
    dut
        The design's top, an endpoint.
    devices_by_fifo
        For each FIFO the devices behind it, by number.
    revision
        Wire revision.

    Attributes
    ----------
    system
        The gateware and its device side.
    readiness
        Waits for files as long as the gateware has nothing to do.
    bus_master
        Serves the gateware's own requests.
    """

    def __init__(
        self,
        dut: Any,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        *,
        revision: str = "v1",
    ) -> None:
        self.system = system = GatewareSystem(
            dut, devices_by_fifo, revision=revision, drivers=False, max_payload_size=128
        )
        # Whoever drives a guest wants to see it all the same, and to go on.
        system.monitor.fatal = False
        self.host = system.host
        self.memory = GuestMemory()
        self.bus_master = BusMaster(self.host, self.memory)
        self.bus_master.on_interrupt.append(lambda vector: self.on_interrupt(vector))
        self.config_size = DWORD * CONFIG_DWORDS
        self.bar_sizes: Mapping[int, int] = {}
        self.vectors = 0
        self.on_interrupt: Callable[[int], None] = lambda vector: None
        self.readiness = SimulationReadiness(
            clock_period_ns=CLOCK_PERIOD_NS, busy=self._busy, signs=self._signs
        )
        self._open: frozenset[int] = frozenset()

    async def start(self) -> None:
        """Reset the gateware, see what it is, and be as after power-up.

        Raises
        ------
        HostError
            What answers is no endpoint with MSI-X.
        """
        await self.system.start(msix=False, bus_master=False)
        function = self.host.function
        if not function.msix_vectors:
            raise HostError("the function has no MSI-X capability")
        self.bar_sizes = function.bar_sizes
        self.vectors = function.msix_vectors
        self._places = dict(self.host.bars)
        await self.restart()

    async def config_read(self, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.config_read`."""
        data = b""
        with _refusals(f"read of {size} bytes at {offset:#x} of configuration space"):
            # A look at the whole space is a thousand reads: as many at once as there are tags.
            for group in _groups(_dwords(offset, size), READS_AT_ONCE):
                reads = [cocotb.start_soon(self._config_read(*piece)) for piece in group]
                for answer in [await read for read in reads]:
                    if isinstance(answer, HostError):
                        raise answer
                    data += answer
        return data

    async def _config_read(self, offset: int, size: int) -> bytes | HostError:
        # Given, not raised: of several that fail together only one would find a taker.
        try:
            return (await self.host.config_read(offset, size)).to_bytes(size, "little")
        except HostError as error:
            return error

    async def config_write(self, offset: int, data: bytes) -> None:
        """As :meth:`PciFunction.config_write`."""
        with _refusals(f"write of {len(data)} bytes at {offset:#x} of configuration space"):
            start = 0
            for at, count in _dwords(offset, len(data)):
                piece = data[start : start + count]
                await self.host.config_write(at, int.from_bytes(piece, "little"), count)
                await self._follow(at, piece)
                start += count

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.bar_read`."""
        with _refusals(f"read of {size} bytes at {offset:#x} of BAR{bar}"):
            return await self.host.bar_read(bar, offset, size)

    async def bar_write(self, bar: int, offset: int, data: bytes, *, posted: bool) -> None:
        """As :meth:`PciFunction.bar_write`."""
        if not posted:
            await self.host.bar_write(bar, offset, data)
            return
        self.host.bar_write_nowait(bar, offset, data)
        if self.host.source.pending > MOST_WAITING_WRITES:
            await self.host.source.drained()

    async def open_vectors(self, vectors: Collection[int]) -> None:
        """As :meth:`PciFunction.open_vectors`."""
        changed = self._open ^ frozenset(vectors)
        if changed:
            self._open = frozenset(vectors)
            with _refusals("access to the MSI-X table"):
                await self._fill_table(changed)

    async def reset(self) -> None:
        """As :meth:`PciFunction.reset`."""
        control = await self.host.config_read(INITIATE_FLR.offset, 2)
        await self.config_write(
            INITIATE_FLR.offset, (control | INITIATE_FLR.mask).to_bytes(2, "little")
        )

    async def restart(self) -> None:
        """As :meth:`PciFunction.restart`: hot reset, and before it one that devices know of."""
        await self.reset()
        # Nothing that the devices send from here on is meant for whoever comes next.
        await self.readiness.settle()
        self.host.requester.abandon()
        self._open = frozenset()
        await self.system.reset()
        await self._arrange()

    async def _arrange(self) -> None:
        """What the bridge needs of a function that was reset: BARs, and the MSI-X table."""
        for bar, place in self._places.items():
            await self.host.config_write(bar_offset(bar), place)
            self.host.bars[bar] = place
        await self._follow_payload()
        await self._fill_table()

    async def _follow(self, offset: int, data: bytes) -> None:
        """See what a write into configuration space, within a dword, has changed."""
        dword = offset & -DWORD
        value = int.from_bytes(data, "little") << 8 * (offset - dword)
        if dword == DEVICE_CONTROL:
            if value & INITIATE_FLR.mask:
                await self.system.settle(RESET_CYCLES)
                await self._arrange()
            else:
                await self._follow_payload()
        elif dword == POWER_STATE.offset:
            # What was to go into the table meanwhile could not.
            await self._fill_table()
        elif dword in map(bar_offset, self.host.bars):
            await self._follow_bars()

    async def _follow_bars(self) -> None:
        for bar in self.host.bars:
            self.host.bars[bar] = await self.host.config_read(bar_offset(bar)) & ~BAR_FLAGS

    async def _follow_payload(self) -> None:
        control = await self.host.config_read(MAX_PAYLOAD_SIZE.offset)
        self.host.max_payload_size = coded_size(MAX_PAYLOAD_SIZE.of(control))

    async def _fill_table(self, vectors: Iterable[int] | None = None) -> None:
        """Write the table's entries of ``vectors``, all of them by default."""
        power = await self.host.config_read(POWER_STATE.offset)
        if POWER_STATE.of(power) != POWER_D0:
            return
        bar, table = self.host.function.msix_table
        async with self._memory_space():
            for vector in range(self.vectors) if vectors is None else vectors:
                address, message = msix_message(vector)
                place = table + MSIX_ENTRY_SIZE * vector
                masked = int(vector not in self._open)
                # Masked while it changes, as the specification wants it (PCI 3.0 section 6.8.3.2).
                for lane, value in (
                    (MSIX_CONTROL_OFFSET, 1),
                    (0, address & 0xFFFF_FFFF),
                    (4, address >> 32),
                    (8, message),
                    (MSIX_CONTROL_OFFSET, masked),
                ):
                    self.host.bar_write_nowait(bar, place + lane, value.to_bytes(4, "little"))
            # The answer says that all of it is done.
            await self.host.bar_read(bar, table, 4)

    @asynccontextmanager
    async def _memory_space(self) -> AsyncIterator[None]:
        """Have memory space enabled for as long as the bridge needs it.

        The BARs may all be at one place meanwhile, where software has not placed them yet: the
        gateware takes the last one that matches, and that is the table's.
        """
        command = await self.host.config_read(COMMAND, 2)
        if MEMORY_SPACE_ENABLE.of(command):
            yield
            return
        await self.host.config_write(COMMAND, command | MEMORY_SPACE_ENABLE.mask, 2)
        try:
            yield
        finally:
            await self.host.config_write(COMMAND, command, 2)

    def _busy(self) -> bool:
        system = self.system
        return bool(
            self.host.source.pending or self.host.requester.outstanding or system.dma.under_way
        )

    def _signs(self) -> Hashable:
        port = self.system.port
        return (self.host.sink.received, port.sink.received, port.source.pending)


def _dwords(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Pieces of ``size`` bytes from ``offset`` that each lie within a dword."""
    return split(offset, size, DWORD)


def _groups(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """``items`` by ``size`` and ``size``."""
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group


@contextmanager
def _refusals(access: str) -> Iterator[None]:
    try:
        yield
    except HostError as error:
        raise FunctionAccessError(f"{access}: {error}") from None
