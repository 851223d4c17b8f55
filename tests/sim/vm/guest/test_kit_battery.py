# SPDX-License-Identifier: BSD-2-Clause
"""The battery with a fake machine: which tests run, what fails, and what follows a failure."""

from __future__ import annotations

import hashlib
import io

import pytest
from kit_fakes import RELEASE, FakeMachine, FakeServer
from rich.console import Console

from sim.vm.guest.kit import battery as battery_module
from sim.vm.guest.kit import tests as kit_tests
from sim.vm.guest.kit.battery import Battery
from sim.vm.guest.kit.lengths import LONG, SHORT
from sim.vm.guest.kit.machine import Answer, GuestTimeoutError, MachineError
from sim.vm.guest.kit.results import Result, print_failure_details, print_table
from sim.vm.serve.devices import DeviceSpec
from sim.vm.serve.server import RefusedCommandError

OK = Answer()
FAILED = Answer(1, ["dd: no", "the bytes read are not those written"])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(battery_module, "SETTLE_S", 0.0)
    monkeypatch.setattr(kit_tests, "KILLED_AFTER_S", 0.0)
    monkeypatch.setattr(kit_tests, "EVENT_S", 0)


@pytest.fixture
def run(tmp_path):
    """Runs tests with answers of the guest; returns the battery, its machines and its server."""

    def run(answers, names=(), devices=("rng", "blk", "console", "net"), revision="v1", **options):
        machines: list[FakeMachine] = []
        server = FakeServer()
        image = tmp_path / "disk"
        image.write_bytes(bytes(1 << 16))
        specs = [DeviceSpec(kind, image=str(image) if kind == "blk" else None) for kind in devices]

        def start(on_console):
            machine = FakeMachine({"test_sectors": sectors, "test_console": typed, **answers})
            machine.on_console = on_console
            machines.append(machine)
            return machine

        def typed(size, seconds):
            count = size // 32
            lines = "".join(f"console line {line:018d}\n" for line in range(1, count + 1))
            battery.watch._printed += lines
            return Answer(facts=[("typed", hashlib.md5(server.typed.encode()).hexdigest())])

        battery = Battery(
            server,
            specs,
            start,
            length=SHORT,
            revision=revision,
            folder=tmp_path,
            terminal=Console(file=io.StringIO(), width=100),
            **options,
        )
        battery.fake_machines, battery.fake_server = machines, server
        try:
            battery.run(names)
        finally:
            battery.end_machine()
            server.stop()
            battery.close()
        return battery

    return run


def sectors() -> Answer:
    return Answer(facts=[("sectors", "4096")])


def by_name(battery) -> dict[str, Result]:
    return {result.test: result for result in battery.results}


def test_every_test_passes_on_good_guest(run):
    battery = run({}, revision="r1", soak_s=60)
    assert {name: result.ok for name, result in by_name(battery).items()} == dict.fromkeys(
        kit_tests.NAMES, True
    )
    assert battery.kernel_release == RELEASE
    # A second machine after the first was killed.
    assert len(battery.fake_machines) == 2 and all(item.ended for item in battery.fake_machines)
    calls = [call for machine in battery.fake_machines for call in machine.calls]
    assert ("test_devices", 120, 4, 2, 3, 1) in calls
    assert battery.fake_server.commands == [
        *("!resize 0:1 6144", "!resize 0:1 4096", "!size 0:2 132x43", "!size 0:2 80x25"),
        *("!link 0:3 down", "!link 0:3 up", "!plug rng", "!unplug 4"),
    ]


def test_tests_that_cannot_run_have_a_reason(run):
    battery = run({}, devices=("rng",))
    results = by_name(battery)
    assert results["block_large"].ok is None
    assert results["block_large"].finding == "no device blk"
    assert results["hotplug"].finding == "v1 has no EVENT_DEVICE"
    assert results["soak"].finding == "requested by --soak"
    assert results["entropy"].ok is True


def test_failure_is_explained_and_next_test_gets_new_machine(run, tmp_path):
    battery = run({"test_block_large": lambda sectors: FAILED}, ["block_large", "entropy"])
    assert [item.test for item in battery.results] == ["load", "devices", "entropy", "block_large"]
    result = by_name(battery)["block_large"]
    assert not result.ok and result.finding == "the bytes read are not those written"
    assert result.details.guest == FAILED.lines
    assert result.details.stopped == "the guest stopped first: it has sent no message"
    battery = run({"test_entropy": lambda size: FAILED}, ["block_large", "entropy"])
    first, second = battery.fake_machines
    assert first.ended and ("test_load", "driver") in second.calls
    assert by_name(battery)["block_large"].ok is True


def test_hang_prints_waiting_tasks(run):
    def hang(*arguments):
        raise GuestTimeoutError("not done within 150 s")

    battery = run({"test_filesystem": hang}, ["filesystem"])
    assert by_name(battery)["filesystem"].finding == "the guest hangs: not done within 150 s"
    assert ("test_blocked",) in battery.fake_machines[0].calls


@pytest.mark.parametrize("status", [0, 137])
def test_kernel_log_is_finding_although_test_passes(run, status):
    def oops(size):
        machine = battery_machines[-1]
        machine.on_console(b"line\nOops: 0002 [#1]\nCall Trace:\n")
        return Answer(status)

    battery_machines = []
    original = FakeMachine.wait_ready

    def wait_ready(self, timeout_s):
        battery_machines.append(self)
        return original(self, timeout_s)

    FakeMachine.wait_ready = wait_ready
    try:
        result = by_name(run({"test_entropy": oops}, ["entropy"]))["entropy"]
    finally:
        FakeMachine.wait_ready = original
    assert result.ok is False and result.finding == "kernel log, oops: Oops: 0002 [#1]"
    assert result.details.log == ["line", "Oops: 0002 [#1]", "Call Trace:"]


def test_warning_of_start_is_finding_of_load_only(run):
    """A driver that always warns when it is loaded fails one test, not all."""
    machines = []

    def warn(name):
        if name == "driver":
            machines[-1].on_console(b"WARNING: CPU: 0\n")
        return OK

    original = FakeMachine.wait_ready

    def wait_ready(self, timeout_s):
        machines.append(self)
        return original(self, timeout_s)

    FakeMachine.wait_ready = wait_ready
    try:
        results = by_name(run({"test_load": warn}, ["entropy"]))
    finally:
        FakeMachine.wait_ready = original
    assert {name: result.ok for name, result in results.items()} == {
        "load": False,
        "devices": True,
        "entropy": True,
    }


def test_error_of_server_is_finding(run, monkeypatch):
    # Before and after load; before devices, after its start and after it.
    taken = iter([[], [], [], [], ["unmapped memory: MRd is refused"]])
    monkeypatch.setattr(
        "sim.vm.guest.kit.watch.ServerWatch.take_errors", lambda self: next(taken, [])
    )
    results = by_name(run({}, ["entropy"]))
    assert results["devices"].finding == "server: unmapped memory: MRd is refused"


def test_image_with_other_bytes_is_finding(run):
    def large(count, good=True):
        digest = hashlib.md5(bytes(512) if good else b"").hexdigest()
        return Answer(facts=[("disk", f"1024 512 {digest}"), ("bytes", "512")])

    result = by_name(run({"test_block_large": large}, ["block_large"]))["block_large"]
    assert result.ok is True and result.bytes_per_s > 0
    bad = {"test_block_large": lambda count: large(count, False)}
    result = by_name(run(bad, ["block_large"]))["block_large"]
    assert result.finding == "the image has other bytes at 1024 than the guest wrote"


def test_refused_command_is_finding(run, monkeypatch):
    def refuse(self, text):
        raise RefusedCommandError("sectors is 1: no")

    monkeypatch.setattr(FakeServer, "command", refuse)
    results = by_name(run({}, ["config_block"]))
    assert results["config_block"].finding == "sectors is 1: no"


def test_lost_typed_text_is_finding(run):
    answers = {"test_console": lambda size, seconds: Answer(facts=[("typed", "00")])}
    result = by_name(run(answers, ["console"]))["console"]
    assert result.finding == "the typed text arrived in the guest with other bytes"

    def silent(size, seconds):
        text = kit_tests.typed_text(size)
        return Answer(facts=[("typed", hashlib.md5(text.encode()).hexdigest())])

    result = by_name(run({"test_console": silent}, ["console"]))["console"]
    assert result.finding == "the lines that the guest wrote did not arrive at the console"


def test_devices_that_are_found_are_tested(run):
    lines = ["virtio0: id 4, driver virtio_rng", "virtio1: id 2, driver ", "not those within"]
    battery = run({"test_devices": lambda *arguments: Answer(1, lines)}, ["entropy", "console"])
    results = by_name(battery)
    assert results["devices"].ok is False and battery.expected == [4]
    assert results["entropy"].ok is True
    assert results["console"].finding == "no device console"


def test_nothing_runs_without_devices(run):
    battery = run({"test_devices": lambda *arguments: Answer(1, ["no driver is bound"])})
    results = by_name(battery)
    assert results["unbind_bind"].finding == "no device is found"
    assert {result.ok for name, result in results.items() if name != "devices"} == {True, None}


def test_machine_that_does_not_come_up_ends_battery(run):
    def end(*arguments):
        raise MachineError("the machine has ended")

    results = by_name(run({"test_load": end}))
    assert results["load"].finding == "the machine has ended"
    assert results["devices"].finding == "the machine has ended"
    assert results["killed_while_writing"].finding == "the machine does not come up"


def test_debugger_has_no_time_limits(run):
    assert run({}, ["load"], debugged=True).limit_s(5) is None
    assert run({}, ["load"]).limit_s(5) == 5


def test_failure_and_table_are_printed_without_control_characters():
    terminal = io.StringIO()
    console = Console(file=terminal, width=120, force_terminal=True, no_color=True)
    details = battery_module.Details("the guest stopped first", ["\x1b[2J"], ["log"], ["m"], ["a"])
    result = Result("console", False, 1.5, None, 3, 4, "[bold]\x1b no", details)
    print_failure_details(console, result)
    print_table(console, [result, Result("load", True, 2.0, 1234.5)])
    text = terminal.getvalue()
    assert "\\x1b[2J" in text and "[bold]\\x1b no" in text and "\x1b[2J" not in text
    assert "1,234" in text or "1,235" in text
    json_keys = {"test", "ok", "seconds", "bytes_per_s", "interrupts", "messages", "finding"}
    assert Result("load", True).to_json().keys() == json_keys
    assert result.to_json()["details"]["stopped"] == "the guest stopped first"


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_work_fits_disk_and_console(length):
    assert length.console_bytes % 32 == 0
    end = 64 + max(length.large_sectors, length.writers * length.writer_sectors)
    assert end <= length.disk_sectors
    assert max(length.ping_sizes) <= 1472 and all(count % 2 for count in length.odd_sectors)
