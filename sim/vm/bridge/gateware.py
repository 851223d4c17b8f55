# SPDX-License-Identifier: BSD-2-Clause
"""The simulated endpoint as a :class:`~sim.vm.bridge.function.PciFunction`: accesses become TLPs.

The endpoint runs on either engine, see :class:`GatewareFunction`.

The bridge is the root complex. It assigns its own BAR addresses, since the guest's move while
software sizes the BARs. It fills in the MSI-X table with its own addresses: a write to them is an
interrupt, every other write goes to guest memory. Configuration writes of software reach the
gateware unchanged; the bridge reads the fields that it depends on back from there.
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
)
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

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
from models.runtime import sleep
from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE
from testbench.host.requester import HostError, split
from testbench.timing import CLOCK_PERIOD_NS

from .bus_master import BusMaster, msix_message
from .function import FunctionAccessError
from .guest_memory import GuestMemory
from .simulation import POLL_CYCLES, SimulationReadiness

if TYPE_CHECKING:
    from testbench.system import GatewareSystem

    from ...native.system import NativeSystem

_T = TypeVar("_T")

READS_AT_ONCE = 32
"""Outstanding reads of configuration space."""
MOST_WAITING_WRITES = 64
"""Pending posted writes above which a further one stalls its caller."""
DWORD = 4
BAR_FLAGS = 0xF
"""Bits of a memory BAR that are not part of the address."""
RESET_CYCLES = 100
"""Cycles given to function-level reset; software waits far longer (PCI Express Base 6.6.2)."""


class GatewareFunction:
    """Implements :class:`~sim.vm.bridge.function.PciFunction` with the system of either engine.

    Parameters
    ----------
    system
        The gateware, an endpoint, with its device side and without drivers.
    poll_cycles
        As for :class:`~sim.vm.bridge.simulation.SimulationReadiness`.

    Attributes
    ----------
    system
        The same.
    readiness
        Waits for files while the gateware is idle.
    bus_master
        Serves the gateware's memory requests.
    """

    def __init__(
        self, system: GatewareSystem | NativeSystem, *, poll_cycles: int = POLL_CYCLES
    ) -> None:
        self.system = system
        # A violation is reported, but does not end the simulation of a running guest.
        system.monitor.fatal = False
        self.host: Any = system.host
        self.memory = GuestMemory()
        self.bus_master = BusMaster(self.host, self.memory)
        self.bus_master.on_interrupt.append(lambda vector: self.on_interrupt(vector))
        self.config_size = DWORD * CONFIG_DWORDS
        self.bar_sizes: Mapping[int, int] = {}
        self.vectors = 0
        self.on_interrupt: Callable[[int], None] = lambda vector: None
        self.readiness = SimulationReadiness(
            self._run_cycles, busy=self._busy, activity=self._activity, poll_cycles=poll_cycles
        )
        self._unmasked: frozenset[int] = frozenset()

    async def start(self) -> None:
        """Reset and enumerate the gateware, and restart it.

        Raises
        ------
        HostError
            The function is not an endpoint with MSI-X.
        """
        await self.system.start(msix=False, bus_master=False)
        function = self.host.function
        if not function.msix_vectors:
            raise HostError("the function has no MSI-X capability")
        self.bar_sizes = function.bar_sizes
        self.vectors = function.msix_vectors
        self._bar_addresses = dict(self.host.bars)
        await self.restart()

    async def config_read(self, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.config_read`."""
        data = b""
        with _access_errors(f"read of {size} bytes at {offset:#x} of configuration space"):
            # Reading all of configuration space takes a thousand reads: keep every tag in use.
            for group in _grouped(_dwords(offset, size), READS_AT_ONCE):
                spawn = self.system.runtime.spawn
                reads: list[Any] = [spawn(self._config_read(*piece)) for piece in group]
                for result in [await read for read in reads]:
                    if isinstance(result, HostError):
                        raise result
                    data += result
        return data

    async def _config_read(self, offset: int, size: int) -> bytes | HostError:
        # Returned, not raised: of several tasks that fail, only one exception would be retrieved.
        try:
            return (await self.host.config_read(offset, size)).to_bytes(size, "little")
        except HostError as error:
            return error

    async def config_write(self, offset: int, data: bytes) -> None:
        """As :meth:`PciFunction.config_write`."""
        with _access_errors(f"write of {len(data)} bytes at {offset:#x} of configuration space"):
            start = 0
            for at, count in _dwords(offset, len(data)):
                piece = data[start : start + count]
                await self.host.config_write(at, int.from_bytes(piece, "little"), count)
                await self._track_config_write(at, piece)
                start += count

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.bar_read`."""
        with _access_errors(f"read of {size} bytes at {offset:#x} of BAR{bar}"):
            return await self.host.bar_read(bar, offset, size)

    async def bar_write(self, bar: int, offset: int, data: bytes, *, posted: bool) -> None:
        """As :meth:`PciFunction.bar_write`."""
        if not posted:
            await self.host.bar_write(bar, offset, data)
            return
        self.host.bar_write_nowait(bar, offset, data)
        if self.host.pending > MOST_WAITING_WRITES:
            await self.host.drained()

    async def set_unmasked_vectors(self, vectors: Collection[int]) -> None:
        """As :meth:`PciFunction.set_unmasked_vectors`."""
        changed = self._unmasked ^ frozenset(vectors)
        if changed:
            self._unmasked = frozenset(vectors)
            with _access_errors("access to the MSI-X table"):
                await self._write_table(changed)

    async def reset(self) -> None:
        """As :meth:`PciFunction.reset`."""
        control = await self.host.config_read(INITIATE_FLR.offset, 2)
        await self.config_write(
            INITIATE_FLR.offset, (control | INITIATE_FLR.mask).to_bytes(2, "little")
        )

    async def restart(self) -> None:
        """As :meth:`PciFunction.restart`: function-level reset, which resets the devices as well,
        then hot reset."""
        await self.reset()
        # Drain what the devices still send: it must not reach the next client.
        await self.readiness.settle()
        self.host.requester.abandon()
        self._unmasked = frozenset()
        await self.system.reset()
        await self._set_up()

    async def _set_up(self) -> None:
        """Set up a function after a reset: BARs, payload size and MSI-X table."""
        for bar, address in self._bar_addresses.items():
            await self.host.config_write(bar_offset(bar), address)
            self.host.bars[bar] = address
        await self._track_payload_size()
        await self._write_table()

    async def _track_config_write(self, offset: int, data: bytes) -> None:
        """Update the bridge after a configuration write within one dword."""
        dword = offset & -DWORD
        value = int.from_bytes(data, "little") << 8 * (offset - dword)
        if dword == DEVICE_CONTROL:
            if value & INITIATE_FLR.mask:
                await self.system.settle(RESET_CYCLES)
                await self._set_up()
            else:
                await self._track_payload_size()
        elif dword == POWER_STATE.offset:
            # Table writes are skipped while the function is not in D0.
            await self._write_table()
        elif dword in map(bar_offset, self.host.bars):
            await self._track_bars()

    async def _track_bars(self) -> None:
        for bar in self.host.bars:
            self.host.bars[bar] = await self.host.config_read(bar_offset(bar)) & ~BAR_FLAGS

    async def _track_payload_size(self) -> None:
        control = await self.host.config_read(MAX_PAYLOAD_SIZE.offset)
        self.host.max_payload_size = coded_size(MAX_PAYLOAD_SIZE.of(control))

    async def _write_table(self, vectors: Iterable[int] | None = None) -> None:
        """Write the MSI-X table entries of ``vectors``, by default of all."""
        power = await self.host.config_read(POWER_STATE.offset)
        if POWER_STATE.of(power) != POWER_D0:
            return
        bar, table = self.host.function.msix_table
        async with self._memory_space():
            for vector in range(self.vectors) if vectors is None else vectors:
                message_address, message_data = msix_message(vector)
                address = table + MSIX_ENTRY_SIZE * vector
                masked = int(vector not in self._unmasked)
                # Masked while it changes, as the specification requires (PCI 3.0 section 6.8.3.2).
                for offset, value in (
                    (MSIX_CONTROL_OFFSET, 1),
                    (0, message_address & 0xFFFF_FFFF),
                    (4, message_address >> 32),
                    (8, message_data),
                    (MSIX_CONTROL_OFFSET, masked),
                ):
                    self.host.bar_write_nowait(bar, address + offset, value.to_bytes(4, "little"))
            # The completion of the read shows that all writes are done.
            await self.host.bar_read(bar, table, 4)

    @asynccontextmanager
    async def _memory_space(self) -> AsyncIterator[None]:
        """Enable memory space during the context.

        All BARs may have the same address meanwhile, if software has not assigned them yet. The
        gateware then decodes the last matching BAR, which is the one of the MSI-X table.
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

    async def _run_cycles(self, cycles: int) -> None:
        await sleep(self.system.runtime, cycles * CLOCK_PERIOD_NS / 1000)

    def _busy(self) -> bool:
        host = self.host
        return bool(host.pending or host.requester.outstanding or self.system.dma.under_way)

    def _activity(self) -> Hashable:
        port = self.system.port
        return (self.host.received, port.received, port.pending)


def _dwords(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """``size`` bytes from ``offset``, split at dword boundaries."""
    return split(offset, size, DWORD)


def _grouped(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield ``items`` in groups of ``size``."""
    remaining = iter(items)
    while group := list(itertools.islice(remaining, size)):
        yield group


@contextmanager
def _access_errors(access: str) -> Iterator[None]:
    try:
        yield
    except HostError as error:
        raise FunctionAccessError(f"{access}: {error}") from None
