# SPDX-License-Identifier: BSD-2-Clause
"""The tests of the battery: the host's part of each; the guest's part is in ``files/tests``."""

from __future__ import annotations

import hashlib
import random
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.messages import MessageKind, dialect_of
from models.virtio import DeviceId

from .lengths import DEVICES_S, EVENT_S, SHORT, Length
from .machine import Answer, Machine

VIRTIO_IDS = {
    "rng": DeviceId.ENTROPY.value,
    "blk": DeviceId.BLOCK.value,
    "console": DeviceId.CONSOLE.value,
    "net": DeviceId.NET.value,
}
"""Virtio ids of the kinds of ``--device``."""
SCREENS = ((43, 132), (25, 80))
"""Rows and columns that the console's size is set to."""
GROWTH = 2048
"""Sectors that the disk grows by."""
KILLED_AFTER_S = 0.5
"""Time between the start of the writes and the end of the machine."""


class Bench(Protocol):
    """What a test can use.

    Attributes
    ----------
    length
        Amounts of work.
    expected
        Virtio ids of the devices that have drivers.
    revision
        Wire revision.
    soak_s
        Duration of the soak; 0 for none.
    """

    length: Length
    expected: list[int]
    revision: str
    soak_s: int

    @property
    def machine(self) -> Machine:
        """The machine."""

    @property
    def printed(self) -> str:
        """What the consoles got."""

    def call(self, function: str, *arguments: object) -> Answer:
        """Run a function in the guest, within the test's time limit."""

    def limit_s(self, seconds: float) -> float | None:
        """A time limit; ``None`` with a debugger."""

    def command(self, text: str) -> str:
        """Run a command of the server."""

    def type(self, text: str) -> None:
        """Type into the consoles."""

    def place(self, kind: str) -> str | None:
        """The first device of a kind, as commands name it."""

    def reboot(self, function: str) -> None:
        """Let the guest reboot by a function, and wait for its agent."""

    def kill(self) -> None:
        """End the machine at once; start another one."""

    def load(self) -> Answer:
        """Load the modules."""


class TestFailedError(Exception):
    """A test failed at the host; the text says how."""

    __test__ = False


@dataclass(frozen=True)
class BatteryTest:
    """A test.

    Attributes
    ----------
    name
        Its name.
    run
        The host's part; returns the answer of the guest's part.
    kinds
        Kinds of devices that it needs.
    applies
        Returns why it cannot run, or ``None``.
    """

    name: str
    run: Callable[[Bench], Answer]
    kinds: tuple[str, ...] = ()
    applies: Callable[[Bench], str | None] = lambda bench: None


def _load(bench: Bench) -> Answer:
    return bench.load()


def _devices(bench: Bench) -> Answer:
    return bench.call("test_devices", DEVICES_S, *bench.expected)


def _entropy(bench: Bench) -> Answer:
    return bench.call("test_entropy", bench.length.entropy_bytes)


def _odd_sectors(bench: Bench) -> Answer:
    return bench.call("test_block_odd_sectors", *bench.length.odd_sectors)


def _large(bench: Bench) -> Answer:
    return bench.call("test_block_large", bench.length.large_sectors)


def _parallel(bench: Bench) -> Answer:
    return bench.call("test_block_parallel", bench.length.writers, bench.length.writer_sectors)


def _filesystem(bench: Bench) -> Answer:
    return bench.call("test_filesystem", bench.length.files, bench.length.file_bytes)


def _ping(bench: Bench) -> Answer:
    return bench.call("test_network_ping", bench.length.ping_count, *bench.length.ping_sizes)


def _updown(bench: Bench) -> Answer:
    return bench.call("test_network_updown", bench.length.updowns)


def typed_text(size: int) -> str:
    """The text of ``size`` characters that is typed."""
    return "".join(random.Random(size).choices(string.ascii_letters + string.digits, k=size))


def _console(bench: Bench) -> Answer:
    size = bench.length.console_bytes
    text = typed_text(size)
    limit_s = bench.limit_s(bench.length.limit_s)
    number = bench.machine.start("test_console", size, int(bench.length.limit_s / 2))
    bench.machine.wait_mark(number, "typing", limit_s)
    before = len(bench.printed)
    bench.type(text)
    answer = bench.machine.finish(number, limit_s)
    if answer.status:
        return answer
    if answer.fact("typed") != hashlib.md5(text.encode()).hexdigest():
        raise TestFailedError("the typed text arrived in the guest with other bytes")
    lines = [f"console line {line:018d}\n" for line in range(1, size // 32 + 1)]
    _await_text(bench, before, "".join(lines))
    return answer


def _await_text(bench: Bench, start: int, text: str) -> None:
    end = time.monotonic() + EVENT_S
    while text not in bench.printed[max(0, start - len(text)) :]:
        if time.monotonic() > end:
            raise TestFailedError("the lines that the guest wrote did not arrive at the console")
        time.sleep(0.1)


def _config_block(bench: Bench) -> Answer:
    place = bench.place("blk")
    sectors = bench.call("test_sectors").number("sectors")
    for size in (sectors + GROWTH, sectors):
        bench.command(f"!resize {place} {size}")
        answer = bench.call("test_expect_sectors", size, EVENT_S)
        if answer.status:
            break
    return answer


def _config_console(bench: Bench) -> Answer:
    for rows, columns in SCREENS:
        bench.command(f"!size {bench.place('console')} {columns}x{rows}")
        answer = bench.call("test_expect_screen", rows, columns, EVENT_S)
        if answer.status:
            break
    return answer


def _config_network(bench: Bench) -> Answer:
    # Linux reads the link's state when the interface is set up: later changes are those of events.
    answer = bench.call("test_expect_carrier", 1, EVENT_S)
    if answer.status:
        return answer
    for state, carrier in (("down", 0), ("up", 1)):
        bench.command(f"!link {bench.place('net')} {state}")
        answer = bench.call("test_expect_carrier", carrier, EVENT_S)
        if answer.status:
            return answer
    return bench.call("test_network_ping", 1, SHORT.ping_sizes[1])


def _hotplug(bench: Bench) -> Answer:
    # "device 4 is rng".
    number = bench.command("!plug rng").split()[1]
    with_it = [*bench.expected, VIRTIO_IDS["rng"]]
    answer = bench.call("test_expect_devices", EVENT_S, *with_it)
    bench.command(f"!unplug {number}")
    if answer.status:
        return answer
    return bench.call("test_expect_devices", EVENT_S, *bench.expected)


def _has_device_event(bench: Bench) -> str | None:
    if dialect_of(bench.revision).has("BUS_EVENT_DEVICE", MessageKind.EVENT):
        return None
    return f"{bench.revision} has no EVENT_DEVICE"


def _again(function: str) -> Callable[[Bench], Answer]:
    """The host's part of a test after which the devices must work again."""
    return lambda bench: bench.call(function, DEVICES_S, *bench.expected)


def _use(bench: Bench) -> Answer:
    answer = bench.load()
    return answer if answer.status else bench.call("test_use", DEVICES_S, *bench.expected)


def _reboot(function: str) -> Callable[[Bench], Answer]:
    def run(bench: Bench) -> Answer:
        bench.reboot(function)
        return _use(bench)

    return run


def _killed(bench: Bench) -> Answer:
    number = bench.machine.start("test_write_on")
    bench.machine.wait_mark(number, "writing", bench.limit_s(bench.length.limit_s))
    time.sleep(KILLED_AFTER_S)
    bench.kill()
    return _use(bench)


def _soak(bench: Bench) -> Answer:
    number = bench.machine.start("test_soak", bench.soak_s)
    return bench.machine.finish(number, bench.limit_s(bench.soak_s + bench.length.limit_s))


def _soak_requested(bench: Bench) -> str | None:
    return None if bench.soak_s else "requested by --soak"


LOAD = BatteryTest("load", _load)
DEVICES = BatteryTest("devices", _devices)
TESTS = (
    LOAD,
    DEVICES,
    BatteryTest("entropy", _entropy, ("rng",)),
    BatteryTest("block_odd_sectors", _odd_sectors, ("blk",)),
    BatteryTest("block_large", _large, ("blk",)),
    BatteryTest("block_parallel", _parallel, ("blk",)),
    BatteryTest("filesystem", _filesystem, ("blk",)),
    BatteryTest("network_ping", _ping, ("net",)),
    BatteryTest("network_updown", _updown, ("net",)),
    BatteryTest("console", _console, ("console",)),
    BatteryTest("config_block", _config_block, ("blk",)),
    BatteryTest("config_console", _config_console, ("console",)),
    BatteryTest("config_network", _config_network, ("net",)),
    BatteryTest("hotplug", _hotplug, applies=_has_device_event),
    BatteryTest("unbind_bind", _again("test_unbind_bind")),
    BatteryTest("remove_rescan", _again("test_remove_rescan")),
    BatteryTest("reset_unbound", _again("test_reset_unbound")),
    BatteryTest("reset_bound", _again("test_reset_bound")),
    BatteryTest("module_reload", _again("test_module_reload")),
    BatteryTest("soak", _soak, applies=_soak_requested),
    BatteryTest("reboot_shutdown", _reboot("test_reboot")),
    BatteryTest("reboot_reset", _reboot("test_reset_machine")),
    BatteryTest("killed_while_writing", _killed, ("blk",)),
)
"""All tests, in the order in which they run."""
NAMES = tuple(test.name for test in TESTS)
