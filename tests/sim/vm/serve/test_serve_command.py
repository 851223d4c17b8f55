# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim serve`` as a process: its output, its end, the options that it refuses."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builds import BUILDS, COMPLETION_TIMEOUT
from by_hand import answer, ask, wait_until
from vfio_host import socket_folder, socket_in, with_host

from models.bus import Direction
from models.config_space import INITIATE_FLR
from models.devices.block import F_RO, SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.drivers.block import BlockError
from models.shell import AMP_PCI
from sim.__main__ import main
from sim.vm.serve import server
from sim.vm.serve.devices import DeviceError, DeviceSpec, parse_devices
from sim.vm.serve.qemu import device_argument
from sim.vm.serve.served import ServedDevice
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client
from sim.vm.vfio_user.wire import Command as Request
from sim.workload import OWN_IP, PEER_IP

ROOT = Path(__file__).resolve().parents[4]
FIFOS, WIDTH = BUILDS["endpoint"]
BUILD = (
    *("--fifos", str(FIFOS), "--data-width", str(WIDTH)),
    *("--completion-timeout", str(COMPLETION_TIMEOUT)),
)
READY = "Ctrl-C stops it"


@pytest.fixture
def path():
    with socket_folder() as folder:
        yield socket_in(folder)


class Command:
    """The command as a process that leads its own process group."""

    def __init__(self, path, *options, stdin=subprocess.DEVNULL):
        self.path = path
        self.log = path.with_name("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sim", "serve", "--vfio-user", path, *BUILD, *options],
                cwd=ROOT,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self):
        return self.log.read_text()

    def __enter__(self):
        wait_until(lambda: READY in self.text or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.text
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, *signals):
        """Send ``signals`` to the whole group, as a terminal does; returns the exit status."""
        for number in signals:
            os.killpg(self.process.pid, number)
        return self.process.wait(30)


def exchange(path, count=3):
    with Client(path) as client:
        client.write(wire.CONFIG_REGION, 4, b"\6\0")
        for number in range(1, count + 1):
            ask(client, number)
            wait_until(lambda number=number: answer(client)[1] == number)


def processes_of(group):
    """The running processes of a process group."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            state, _, its_group = file.read().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(name))
    return found


def test_output_trace_and_access_file(path, tmp_path):
    trace, accesses = tmp_path / "trace.jsonl", tmp_path / "accesses.txt"
    files = ("--trace", trace, "--accesses", accesses)
    with Command(path, *files, "--device", "rng", "--device", "1:console") as command:
        assert f"-device '{device_argument(path)}'" in command.text
        exchange(path)
        wait_until(lambda: "client disconnected" in command.text)
        exchange(path, 1)
        wait_until(lambda: command.text.count("client disconnected") == 2)
        assert command.end(signal.SIGINT) == 0
        text = command.text
    assert "Traceback" not in text
    assert text.count("BUS_GET_DEVICES") == 8 and text.count("client connected") == 2
    assert "4 messages to devices, 4 to drivers" in " ".join(text.split())
    entries = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [entry["direction"] for entry in entries] == [*Direction] * 4
    assert entries[1]["message"]["bitmap"] == "01000000"
    lines = [" ".join(line.split()[2:]) for line in accesses.read_text().splitlines()]
    doorbell = f"{AMP_PCI.notify(0):#06x}"
    assert lines[0] == "write config 0x0004 2 0600 Command = 0x6"
    assert lines.count(f"write BAR0 {doorbell} 4 01000000 doorbell of FIFO 0") == 4
    head = "BAR1 0x1000 4 03000000 FIFO 0 driver queue head = 3"
    assert f"read {head}" not in lines and f"write {head}" in lines
    slot = "FIFO 0 driver queue slot 2 bytes 0 to 7"
    assert any(line.startswith("write BAR1 0x1100 8 0202") and slot in line for line in lines)
    assert not path.exists()


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM)])
def test_sigterm_ends_server(path, signals):
    """One SIGTERM or two, with a connected client."""
    with Command(path) as command:
        client = Client(path)
        assert command.end(*signals) == 0
        assert "Traceback" not in command.text
        with pytest.raises(ConnectionError):
            client.read(wire.CONFIG_REGION, 0, 4)
        client.close()
        assert not path.exists() and not processes_of(command.process.pid)


@pytest.mark.parametrize("delay_s", [0.5, 0.8, 1.0, 1.3])
def test_sigterm_during_start_ends_server(path, delay_s):
    """The signal is sent to the command only, not to its group."""
    with contextlib.ExitStack() as stack:
        # Not entered: __enter__ would wait until the command serves.
        command = Command(path)
        stack.push(command)
        time.sleep(delay_s)
        command.process.terminate()
        # Before the handler is installed, the signal ends Python itself.
        assert command.process.wait(20) in (0, 130, -signal.SIGTERM), command.text
        wait_until(lambda: not processes_of(command.process.pid))
        assert not path.exists()


def test_sigint_ends_server_during_long_request(path):
    """One message with a megabyte of function-level resets, which takes minutes."""
    offset = INITIATE_FLR.offset + 1
    reset = wire.WRITE_OF_MANY.pack(offset, wire.CONFIG_REGION, 1, b"\x80".ljust(8, b"\0"))
    count = (wire.MOST_DATA - 64) // len(reset)
    with Command(path) as command, Client(path) as client:
        client.send(Request.REGION_WRITE_MULTI, wire.WRITE_COUNT.pack(count) + reset * count)
        time.sleep(0.3)
        started = time.monotonic()
        assert command.end(signal.SIGINT) == 0
        assert time.monotonic() - started < 5
        assert not processes_of(command.process.pid)


def test_full_disk_closes_trace_and_server_continues(path):
    with Command(path, "--trace", "/dev/full", "--accesses", "/dev/full") as command:
        exchange(path)
        wait_until(lambda: "client disconnected" in command.text)
        assert command.end(signal.SIGINT) == 0
        assert command.text.count("No space left on device; the file is closed") == 2


def test_simulation_ends_with_killed_command(path):
    with Command(path) as command:
        os.kill(command.process.pid, signal.SIGKILL)
        command.process.wait()
        wait_until(lambda: not processes_of(command.process.pid))
    # The next command replaces the socket that is left.
    with Command(path) as command:
        exchange(path, 1)
        assert command.end(signal.SIGINT) == 0


def test_typed_line_reaches_console(path):
    terminal, tty = pty.openpty()
    with Command(path, "--device", "console", stdin=tty) as command:

        async def program(host, driver):
            talk = await ConsoleDriver.probe(driver, 0, host.memory)
            os.write(terminal, b"typed\n")
            assert await talk.read_line() == b"typed\n"
            await talk.write(b"printed\n")

        with_host(command, program)
        wait_until(lambda: "console 0 printed" in command.text)
        assert command.end(signal.SIGINT) == 0
    os.close(terminal)
    os.close(tty)


def test_typed_line_with_mark_is_command(path):
    terminal, tty = pty.openpty()
    with Command(path, "--device", "console", "--device", "blk", stdin=tty) as command:
        for line, text in (
            (b"!resize 0:1 8\n", "device 0:1 has 8 sectors; no driver has set DRIVER_OK"),
            (b"!resize 0:7 8\n", "device is 7: must be one of those behind FIFO 0: 0, 1"),
            (b"!\x1b\n", "must be resize or size"),
            (b"!help\n", "remove a device"),
            (b"!unplug 1\n", "device 0:1, blk, is removed"),
        ):
            os.write(terminal, line)
            wait_until(lambda text=text: text in " ".join(command.text.split()))
        assert command.process.poll() is None and "\x1b" not in command.text
        assert command.end(signal.SIGINT) == 0
        assert "device 0:1, blk, removed: 0 requests" in command.text
        assert "Traceback" not in command.text
    os.close(terminal)
    os.close(tty)


def test_quiet_prints_no_messages_and_reports_devices_at_end(path, tmp_path):
    image, trace = tmp_path / "disk.img", tmp_path / "trace.jsonl"
    image.write_bytes(bytes(1024))
    devices = ("rng", f"blk={image},ro", "console", "net")
    options = [word for device in devices for word in ("--device", device)]
    with Command(path, "--quiet", "--trace", trace, *options) as command:

        async def program(host, driver):
            entropy = await EntropyDriver.probe(driver, 0, host.memory)
            await entropy.read(600, request_size=300)
            disk = await BlockDriver.probe(driver, 1, host.memory)
            await disk.read(0, 2)
            with pytest.raises(BlockError):
                await disk.write(0, bytes(512))
            talk = await ConsoleDriver.probe(driver, 2, host.memory)
            await talk.write(b"[bold]printed\n")
            network = await NetworkDriver.probe(driver, 3, host.memory)
            await network.resolve(OWN_IP, PEER_IP)
            await network.send(bytes(13))

        with_host(command, program)
        wait_until(lambda: "client disconnected" in command.text)
        assert command.end(signal.SIGINT) == 0
    text = " ".join(command.text.split())
    assert "BUS_" not in text and "MSI-X vector" not in text and "EVENT_" not in text
    assert "console 2 [bold]printed" in text
    assert len(trace.read_text().splitlines()) > 50
    assert "device 0:0, rng: 2 requests, 0 bytes from the driver, 600 to it" in text
    disk = f"device 0:1, blk={image},ro: 2 requests, 0 bytes from the driver, 1,024 to it"
    assert disk in text and "1 error" in text
    assert "device 0:2, console: 1 request, 14 bytes from the driver, 0 to it" in text
    assert "device 0:3, net: 2 requests" in text
    assert "1 frame dropped (too short or too long 1)" in text


@pytest.mark.parametrize(
    "options, text",
    [
        (["--device", "tape"], "device is 'tape': must be"),
        (["--device", "x:rng"], "must be a number"),
        (["--device", "2:rng"], "must be below 2"),
        (["--device", "rng=file"], "only blk has an image"),
        (["--device", "blk=/no/such/image"], "No such file"),
        (["--device", "rng="], "only blk has an image"),
        (["--device", "blk="], "must name an image after ="),
        (["--device", "blk=,ro"], "must name an image after ="),
        (["--device", "blk=/dev/null"], "/dev/null is a character device: must be"),
        (["--device", "blk=/dev,ro"], "image /dev is a directory: must be"),
        (["--device", "blk=/dev/null/x,ro"], "Not a directory"),
        (["--device", f"blk={__file__}"], "must be a multiple of 512"),
        (["--trace", "/no/such/folder/file"], "No such file"),
        (["--accesses", "/dev"], "Is a directory"),
        (["--data-width", "100"], "invalid choice"),
        (["--fifos", "9"], "must be an integer from 1 to 8"),
    ],
)
def test_invalid_options_are_refused(path, options, text, capsys):
    with pytest.raises(SystemExit) if "invalid" in text else contextlib.nullcontext():
        assert main(["serve", "--vfio-user", str(path), *BUILD, *options]) == 1
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not path.exists()


@pytest.mark.parametrize("kind", ["empty", "fifo", "odd"])
def test_invalid_image_is_refused_before_build(kind, path, tmp_path, monkeypatch, capsys):
    image = tmp_path / "image"
    if kind == "fifo":
        os.mkfifo(image)
    else:
        image.write_bytes(bytes({"empty": 0, "odd": 700}[kind]))
    monkeypatch.setattr(server, "build", lambda configuration: pytest.fail("a build was started"))
    assert main(["serve", "--vfio-user", str(path), *BUILD, "--device", f"blk={image}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m sim: image {image} ") and "must be" in line


def test_unwritable_image_is_served_read_only(tmp_path):
    """A running program cannot be opened for writing, even by root."""
    image = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), image)
    os.truncate(image, -(-image.stat().st_size // SECTOR) * SECTOR)
    with subprocess.Popen([image, "60"]) as running:
        try:
            with pytest.raises(DeviceError, match=f"; blk={image},ro serves it read-only"):
                parse_devices([f"blk={image}"], 1)
            (spec,) = parse_devices([f"blk={image},ro"], 1)
            device = ServedDevice(spec).device
            assert device.offered & F_RO and device.storage.read_only and spec.read_only
        finally:
            running.kill()


def test_existing_file_at_socket_path_is_kept(path, capsys):
    path.write_text("a file")
    assert main(["serve", "--vfio-user", str(path), *BUILD]) == 1
    assert "not a socket" in capsys.readouterr().err
    assert path.read_text() == "a file"


def test_device_specifications(tmp_path):
    assert DeviceSpec.parse("rng") == DeviceSpec("rng")
    assert DeviceSpec.parse("3:net") == DeviceSpec("net", 3)
    image = tmp_path / "a=b.img"
    assert DeviceSpec.parse(f"1:blk={image}") == DeviceSpec("blk", 1, str(image))
    assert DeviceSpec.parse(f"blk={image},ro") == DeviceSpec("blk", 0, str(image), read_only=True)
    assert str(DeviceSpec.parse("1:blk=/a,b,ro")) == "blk=/a,b,ro"
    for text in ("", ":", "blk:", "=x", "1:", "-1:rng", "rng:1", "RNG", "blk,ro"):
        with pytest.raises(DeviceError):
            DeviceSpec.parse(text)
