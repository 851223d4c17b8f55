# SPDX-License-Identifier: BSD-2-Clause
"""The bounded queue of events; a simulation that sleeps and is woken."""

import os
import threading

from sim.vm.bridge.files import run_alone
from sim.vm.bridge.simulation import IDLE_CYCLES, SimulationReadiness
from sim.vm.serve.events import EventChannel


def test_dropped_events_are_counted():
    events = EventChannel(capacity=3)
    for number in range(5):
        events.put({"kind": "note", "number": number})
    assert events.get()["number"] == 0
    events.put({"kind": "note", "number": 5})
    events.end()
    kinds = [(event["kind"], event.get("messages", event.get("number"))) for event in events]
    assert kinds == [("note", 1), ("note", 2), ("omitted", 2), ("note", 5)]
    assert events.get() is None and list(events) == []


def test_end_wakes_reader():
    events = EventChannel()
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(events))
    reader.start()
    events.put({"kind": "note"})
    events.end()
    reader.join(5)
    assert seen == [{"kind": "note"}]


class Cycles:
    """Replaces cocotb's timer: time passes at once, and is counted."""

    passed = 0

    def __init__(self, cycles):
        self.cycles = cycles

    def __await__(self):
        Cycles.passed += self.cycles
        return iter(())


def test_simulation_runs_until_idle_and_after_each_listener():
    reading, writing = os.pipe()
    pipe_read, pipe_write = os.pipe()
    activity = [0]
    readiness = SimulationReadiness(
        Cycles, busy=lambda: False, activity=lambda: tuple(activity), poll_cycles=4
    )
    passed = []

    def listen():
        os.read(pipe_read, 1)
        passed.append(Cycles.passed)
        # An effect that only this listener sees, and that needs the simulation to run.
        if len(passed) < 3:
            os.write(pipe_write, b"x")
        else:
            os.write(writing, b"x")

    readiness.watch(pipe_read, listen)
    Cycles.passed = 0
    timer = threading.Timer(0.2, os.write, (pipe_write, b"x"))
    timer.start()
    run_alone(readiness.readable(reading))
    timer.join()
    # It slept after its quiet cycles, was woken, and ran again after each listener.
    assert passed[0] == IDLE_CYCLES
    assert Cycles.passed > passed[0]
    # A file that was waited for also starts the simulation.
    before = Cycles.passed
    threading.Timer(0.2, os.write, (writing, b"x")).start()
    os.read(reading, 1)
    run_alone(readiness.readable(reading))
    assert Cycles.passed - before == IDLE_CYCLES
    for file in (reading, writing, pipe_read, pipe_write):
        os.close(file)
