# SPDX-License-Identifier: BSD-2-Clause
"""Commands change devices of the served gateware, and notify its drivers."""

import asyncio
import socket

import pytest
from builds import build_configuration
from served_events import serving
from vfio_host import with_host

from models.devices.block import SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.drivers.block import BlockError
from models.messages import DeviceState
from sim.vm.serve.server import RefusedCommandError, ServeError, Server

EVENT_US = 10_000.0


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(bytes(64 * SECTOR))
    return path


@pytest.fixture(scope="module", params=["v1", "r1"])
def revision(request):
    return request.param


@pytest.fixture(scope="module")
def served(revision, image, tmp_path_factory):
    devices = ["rng", f"blk={image}", "console", "net", "1:console"]
    with serving(devices, tmp_path_factory.mktemp("serve"), revision=revision) as served:
        yield served
    assert not [event for event in served.drain() if event["kind"] == "error"]


@pytest.fixture
def run(served, revision):
    """Runs a program on a new client of the server."""
    served.discard_events()
    return lambda program: with_host(served, program, revision)


async def done(call, *arguments):
    """Run a blocking call in a thread, so that the driver's tasks continue."""
    return await asyncio.to_thread(call, *arguments)


def test_resize_notifies_block_driver(served, run, image):
    async def program(host, driver):
        disk = await BlockDriver.probe(driver, 1, host.memory)
        sectors = await disk.sectors()
        text = await done(served.server.command, f"!resize 1 {sectors + 64}")
        assert text.startswith(f"device 0:1 has {sectors + 64} sectors, its image ")
        event = await disk.device.wait_config(EVENT_US)
        before = event.number("generation")
        assert await disk.sectors() == sectors + 64
        await disk.write(sectors + 63, b"x" * SECTOR)
        assert await disk.read(sectors + 63, 1) == b"x" * SECTOR
        await done(served.server.command, "!resize 1 8")
        event = await disk.device.wait_config(EVENT_US)
        assert event.number("generation") == before + 1
        assert await disk.sectors() == 8
        with pytest.raises(BlockError, match="status is 1"):
            await disk.read(8, 1)
        await done(served.server.command, f"!resize 1 {sectors}")

    run(program)
    assert image.stat().st_size > 64 * SECTOR


def test_link_and_size_notify_drivers(served, run):
    async def program(host, driver):
        network = await NetworkDriver.probe(driver, 3, host.memory)
        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        await done(served.server.command, "link 3 down")
        assert await network.device.wait_config(EVENT_US) is not None
        assert not await network.link_up()
        await done(served.server.command, "link 3 up")
        assert await network.device.wait_config(EVENT_US) is not None
        assert await network.link_up()
        await done(served.server.command, "size 2 132x43")
        assert await talk.device.wait_config(EVENT_US) is not None
        assert await talk.device.read_config(0, 4) == b"\x84\0\x2b\0"

    run(program)


def test_plug_and_unplug_notify_driver(served, run, revision):
    async def program(host, driver):
        before = await driver.discover()
        text = await done(served.server.command, "plug rng")
        number = int(text.split()[1].split(":")[1])
        if revision == "r1":
            assert await driver.wait_device(DeviceState.ADDED, EVENT_US) == number
        assert await driver.discover() == [*before, number]
        entropy = await EntropyDriver.probe(driver, number, host.memory)
        assert len(await entropy.read(64)) == 64
        await done(served.server.command, f"unplug {number}")
        if revision == "r1":
            assert await driver.wait_device(DeviceState.REMOVED, EVENT_US) == number
        assert await driver.discover() == before

    run(program)
    ending = {"r1": "is rng", "v1": "v1 has no event for this: the driver is not notified"}
    while " is rng" not in (text := served.next("answer")["text"]):
        pass
    assert text.endswith(ending[revision])


def test_plugged_console_transfers_text(served, run):
    async def program(host, driver):
        text = await done(served.server.command, "plug console")
        number = int(text.split()[1].split(":")[1])
        talk = await ConsoleDriver.probe(driver, number, host.memory)
        await talk.write(b"out\n")
        event = await done(served.next, "console")
        assert (event["fifo"], event["dev_num"], event["text"]) == (0, number, "out\n")
        served.server.type("in\n")
        assert await talk.read_line() == b"in\n"
        await done(served.server.command, f"unplug {number}")

    run(program)


def test_console_lines_and_prompts_are_joined(served, run):
    """Pieces as Linux sends them. A busy machine may exceed the limit between two of them."""
    line = ("temperature: 21 °C and falling, " * 5 + "\n").encode()

    async def program(host, driver):
        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        for at in range(0, len(line), 16):
            await talk.write(line[at : at + 16])
        texts = []
        while not "".join(texts).endswith("\n"):
            texts.append((await done(served.next, "console"))["text"])
        assert "".join(texts) == line.decode() and len(texts) <= 3
        await talk.write(b"login: ")
        assert (await done(served.next, "console"))["text"] == "login: "
        await talk.write(b"unfinished")

    run(program)
    # After a disconnect the unfinished line is shown.
    assert served.next("console")["text"] == "unfinished"


@pytest.mark.parametrize("line", ["!format 1", "!resize 1", "!unplug 77", "!resize 1 0", "!"])
def test_refused_command_is_one_line(served, line):
    with pytest.raises(RefusedCommandError, match="must be"):
        served.server.command(line)
    # An answer of an earlier test may arrive late.
    while (answer := served.next("answer"))["done"]:
        pass
    assert "must be" in answer["text"] and "\n" not in answer["text"]
    assert "!unplug" in served.server.command("!help")


def test_control_socket_executes_commands(served, run):
    async def program(host, driver):
        network = await NetworkDriver.probe(driver, 3, host.memory)
        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        lines = ("!link 3 down", "!link 9 up", "typed", "!!mark", "!link 3 up")
        answers = await done(served.script, *lines)
        assert [answer.split()[0] for answer in answers] == ["ok", "error", "ok", "ok", "ok"]
        assert answers[0] == "ok the link of device 0:3 is down"
        for _ in range(2):
            assert await network.device.wait_config(EVENT_US) is not None
        assert await talk.read_line() == b"typed\n"
        assert await talk.read_line() == b"!mark\n"

    run(program)
    # The operator sees the answers to scripts' commands.
    while served.next("answer")["done"]:
        pass
    assert served.next("answer")["text"] == "the link of device 0:3 is up"


def test_idle_control_client_does_not_block_others(served):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served.control))
        assert served.script("!size 2 80x25")[0].startswith("ok device 0:2 has 80 columns")


def test_command_without_running_server_raises_error(served):
    """Also after the end of its simulation."""
    idle = Server(build_configuration(), served.path, ["rng"])
    with pytest.raises(ServeError, match="nothing is served"):
        idle.command("!help")
    idle.send_command("!help")
