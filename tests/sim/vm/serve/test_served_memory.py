# SPDX-License-Identifier: BSD-2-Clause
"""The memory of a long-running server does not grow."""

import contextlib
import gc
import os
import socket
import tracemalloc
from types import SimpleNamespace

import pytest

from models.bus import Direction
from models.layout import SPSC_PAGES
from models.messages import V1, MessageKind
from models.shell import AMP_PCI
from models.system import ModelSystem
from models.virtual_time import run
from sim.vm.bridge.files import BlockingReadiness
from sim.vm.serve.devices import parse_devices
from sim.vm.serve.events import EventChannel
from sim.vm.serve.served import MOST_REMOVED, ServedDevices
from sim.vm.serve.service import Service
from sim.vm.vfio_user.session import Verb
from testbench.tlp.traffic import Traffic
from testbench.trace import MessageTrace

ROUNDS, STEPS = 3, 500
SLACK = 100_000
"""Bytes of allowed variation: caches, the table of a grown dictionary."""


class Bench:
    """A service with a fake simulation, which makes many events per second."""

    def __init__(self, folder):
        self.events = EventChannel(capacity=100)
        devices = ServedDevices(parse_devices(["rng", "console"], 1), 1, 7)
        pure = ModelSystem(devices.by_fifo)
        self.trace = MessageTrace(now=lambda: 0.0)
        self.monitor = SimpleNamespace(on_violation=None, completions=0, requests=0)
        self.bus_master = SimpleNamespace(
            on_interrupt=[], on_refused=None, interrupts=0, traffic=Traffic()
        )
        system = SimpleNamespace(
            trace=self.trace,
            monitor=self.monitor,
            device_side=pure.device_side,
            parameters=SimpleNamespace(shell=AMP_PCI, layout=SPSC_PAGES, num_fifos=1),
            time_ns=0.0,
            cycles=0,
        )
        self.readiness = BlockingReadiness()
        function = SimpleNamespace(
            system=system,
            bus_master=self.bus_master,
            readiness=self.readiness,
            bar_sizes={},
            config_size=4096,
        )
        sockets = socket.socketpair()
        line = SimpleNamespace(
            fileno=sockets[0].fileno,
            send_event=lambda kind, **facts: self.events.put({"kind": kind, **facts}),
            sockets=sockets,
        )
        self.files = [(folder / name).open("w") for name in ("trace", "accesses")]
        self.service = Service(
            function,
            devices,
            sockets[1],
            line,
            trace=self.files[0],
            accesses=self.files[1],
        )
        self.console = devices.get((0, 1)).device
        self.devices = devices
        self.function = function

    def step(self, number):
        """One event of each kind that a guest or an operator can cause."""
        token = number & 0xFFFF
        ask_devices = V1.message("BUS_GET_DEVICES", token=token, offset=0, num=32).wire()
        found = V1.message(
            "BUS_GET_DEVICES",
            MessageKind.RESPONSE,
            token=token,
            offset=0,
            num=32,
            next_offset=0,
            bitmap=b"\3\0\0\0",
        ).wire()
        for direction, raw in (
            (Direction.TO_DEVICE, ask_devices.ljust(64, b"\0")),
            (Direction.TO_DRIVER, found),
            (Direction.TO_DEVICE, os.urandom(64)),
            (Direction.TO_DEVICE, b"\0\2\0\0" + token.to_bytes(2, "little") + b"\x08\0"),
        ):
            self.trace.record(direction, 0, raw)
        self.service._access(Verb.WRITE, 1, 0x1000 + number % 4000, bytes(8))
        self.service._access(Verb.READ, 1, 0x1000, bytes(2))
        self.service._access(Verb.READ, 7, number % 4000, bytes(4))
        for listener in self.bus_master.on_interrupt:
            listener(0)
        self.bus_master.on_refused("a read of nothing")
        self.service._server.on_error(f"error {number}")
        self.monitor.on_violation(f"violation {number}")
        self.console._print(b"text %d, and on without end " % number)
        self.service._type(f"typed {number}\n")
        if number % 100 == 0:
            self.service._client("disconnected", "")

    def close(self):
        for file in self.files:
            file.close()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def test_memory_does_not_grow_while_serving(bench):
    """Messages, accesses, interrupts, errors, refusals, console output, typed text, hints."""
    sizes = []
    tracemalloc.start()
    with contextlib.ExitStack() as stack:
        stack.callback(tracemalloc.stop)
        number = 0
        for _ in range(1 + ROUNDS):
            for _ in range(STEPS):
                bench.step(number)
                number += 1
            sizes.append(_kept())
    growth = [size - sizes[0] for size in sizes[1:]]
    # The console device keeps its latest output, up to its own limit.
    kept = len(bench.console.output)
    assert max(growth) < SLACK + 2 * kept, growth
    assert len(bench.readiness._timers) <= 2


def test_removed_devices_free_their_memory(bench):
    """Including the memory of a disk in memory."""

    async def main():
        sizes = []
        for number in range(300):
            text = await bench.service._commands.run("plug blk")
            place = text.split()[1]
            await bench.service._commands.run(f"resize {place} 4096")
            await bench.service._commands.run("plug console")
            await bench.service._commands.run(f"unplug {place}")
            await bench.service._commands.run(f"unplug {bench.devices.places(0)[-1]}")
            if number % 100 == 0:
                sizes.append(_kept())
        return sizes

    tracemalloc.start()
    try:
        sizes = run(main())
    finally:
        tracemalloc.stop()
    assert max(sizes) - sizes[0] < SLACK, sizes
    assert len(bench.service.report()["devices"]) == 2 + MOST_REMOVED
    assert len(bench.service._texts) == 1


def _kept():
    """Bytes of all Python objects after garbage collection."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
