# SPDX-License-Identifier: BSD-2-Clause
"""Operator commands and their effect on drivers, on the pure model without a simulation."""

import os
from pathlib import Path

import pytest

from models.device_bus import DeviceBus
from models.drivers import BlockDriver, ConsoleDriver, NetworkDriver
from models.messages import DeviceState, dialect_of
from models.system import ModelSystem
from models.transport import MAX_DEVICES
from models.virtual_time import run
from sim.vm.serve.commands import LARGEST_IN_MEMORY, CommandError, DeviceCommands
from sim.vm.serve.devices import parse_devices
from sim.vm.serve.served import ServedDevices

DEFAULT = ("rng", "blk", "console", "net")
EVENT_US = 1000.0


class Bench:
    """Devices, commands and drivers on the pure model."""

    def __init__(self, texts=DEFAULT, fifos=1, revision="v1", folder=""):
        self.devices = ServedDevices(parse_devices(texts, fifos), fifos, 7)
        self.system = ModelSystem(self.devices.by_fifo, revision=revision)
        side = self.system.device_side
        assert isinstance(side, DeviceBus)
        self.commands = DeviceCommands(side, self.devices, dialect_of(revision), folder=str(folder))
        self.log = []
        self.commands.on_plugged = lambda place, served: self.log.append(("plugged", place))
        self.commands.on_unplugged = lambda served: self.log.append(("unplugged", str(served.spec)))
        self.do = self.commands.run

    async def __aenter__(self):
        await self.system.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.system.__aexit__(*error)

    @property
    def driver(self):
        return self.system.drivers[0]

    async def probe(self, kind, number, fifo=0):
        return await kind.probe(self.system.drivers[fifo], number, self.system.host.memory)


def on_bench(*arguments, **options):
    """Decorates a test that is a coroutine on a bench."""

    def decorate(program):
        def test(tmp_path):
            async def main():
                async with Bench(*arguments, **options, folder=tmp_path) as bench:
                    await program(bench, tmp_path)

            run(main())

        test.__doc__ = program.__doc__
        return test

    return decorate


async def event_config(remote):
    """Wait for the next EVENT_CONFIG, which must arrive in time."""
    event = await remote.wait_config(EVENT_US)
    assert event is not None
    return event


@on_bench()
async def test_resize_of_disk_in_memory(bench, _):
    disk = await bench.probe(BlockDriver, 1)
    assert await disk.sectors() == 2048
    generation = bench.devices.get((0, 1)).device.generation
    assert await bench.do("!resize 1 4096") == "device 1 has 4,096 sectors"
    event = await event_config(disk.device)
    assert event.number("generation") == generation + 1
    assert await disk.sectors() == 4096
    await disk.write(4000, b"x" * 512)
    assert await disk.read(4000, 1) == b"x" * 512
    await bench.do("resize 1 8")
    await event_config(disk.device)
    assert await disk.sectors() == 8
    with pytest.raises(Exception, match="status is 1"):
        await disk.read(8, 1)


def test_resize_grows_image_and_never_truncates_it(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(b"x" * 1024)

    async def main():
        async with Bench((f"blk={image}",)) as bench:
            text = "device 0 has 4 sectors, its image 2,048 bytes; no driver has set DRIVER_OK"
            assert await bench.do("resize 0 4") == text
            disk = await bench.probe(BlockDriver, 0)
            await disk.write(3, b"y" * 512)
            assert await bench.do("resize 0 1") == "device 0 has 1 sector, its image 2,048 bytes"
            assert await disk.sectors() == 1

    run(main())
    assert image.read_bytes() == b"x" * 1024 + bytes(512) + b"y" * 512


def test_resize_of_read_only_image_is_refused(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1024))

    async def main():
        async with Bench((f"blk={image},ro",)) as bench:
            before = bench.devices.get((0, 0)).device.generation
            with pytest.raises(ValueError, match="must be 1024 at most"):
                await bench.do("resize 0 3")
            with pytest.raises(CommandError, match="must be 1 to 18014398509481983"):
                await bench.do("resize 0 18014398509481984")
            device = bench.devices.get((0, 0)).device
            assert device.generation == before and device.storage.size == 1024

    run(main())


@on_bench()
async def test_size_of_console(bench, _):
    talk = await bench.probe(ConsoleDriver, 2)
    text = await bench.do("!size 2 132x43")
    assert text == "device 2 has 132 columns and 43 rows"
    await event_config(talk.device)
    assert await talk.device.read_config(0, 4) == b"\x84\0\x2b\0"


@on_bench()
async def test_link_down_and_up(bench, _):
    network = await bench.probe(NetworkDriver, 3)
    for word, up in (("down", False), ("up", True)):
        assert await bench.do(f" !  link \t 3  {word} ") == f"the link of device 3 is {word}"
        await event_config(network.device)
        assert await network.link_up() is up


@on_bench(revision="r1")
async def test_plug_and_unplug_in_r1(bench, _):
    assert await bench.do("!plug rng") == "device 4 is rng"
    assert await bench.driver.wait_device(DeviceState.ADDED, EVENT_US) == 4
    await bench.driver.probe(4)
    assert await bench.do("!unplug 4") == "device 4, rng, is removed"
    assert await bench.driver.wait_device(DeviceState.REMOVED, EVENT_US) == 4
    assert await bench.driver.discover() == [0, 1, 2, 3]
    assert bench.log == [("plugged", (0, 4)), ("unplugged", "rng")]


@on_bench()
async def test_plug_and_unplug_in_v1(bench, _):
    suffix = "; v1 has no event for this: the driver is not notified"
    assert await bench.do("plug console") == f"device 4 is console{suffix}"
    assert await bench.driver.discover() == [0, 1, 2, 3, 4]
    assert await bench.do("unplug 0") == f"device 0, rng, is removed{suffix}"
    assert await bench.driver.discover() == [1, 2, 3, 4]


@on_bench(("rng", "1:rng"), fifos=2)
async def test_device_of_another_fifo(bench, _):
    assert (await bench.do("plug 1:net")).startswith("device 1:1 is net")
    assert (await bench.do("link 1:1 down")).startswith("the link of device 1:1 is down")
    assert (await bench.do("unplug 1:0")).startswith("device 1:0, rng, is removed")
    assert await bench.system.drivers[1].discover() == [1]
    assert (await bench.do("unplug 0")).startswith("device 0:0, rng, is removed")


@on_bench(("rng",), revision="r1")
async def test_relative_image_is_in_servers_folder(bench, folder):
    """The name may contain spaces; removing the device closes its file."""
    (folder / "my disk.img").write_bytes(bytes(1024))
    before = len(os.listdir("/proc/self/fd"))
    assert await bench.do("plug blk=my disk.img,ro") == f"device 1 is blk={folder}/my disk.img,ro"
    disk = await bench.probe(BlockDriver, 1)
    assert await disk.sectors() == 2
    assert len(os.listdir("/proc/self/fd")) == before + 1
    await bench.do("unplug 1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_plug_on_full_bus_is_refused_and_closes_image(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1024))

    async def main():
        async with Bench(("rng",) * MAX_DEVICES) as bench:
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(ValueError, match="all 32 device numbers are taken"):
                await bench.do(f"plug blk={image}")
            assert len(os.listdir("/proc/self/fd")) == before
            assert bench.devices.places(0) == list(range(MAX_DEVICES))

    run(main())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "command is '': must be resize or size or link or plug or unplug or help"),
        ("!", "command is ''"),
        ("!format 1", "command is 'format': must be"),
        ("!\x1b[2J", r"command is '\\x1b\[2J'"),
        ("!RESIZE 1 2", "command is 'RESIZE'"),
        ("!resize", r"resize has 0 arguments: must be !resize \[FIFO:\]N SECTORS"),
        ("!resize 1", "resize has 1 argument"),
        ("!resize 1 2 3", "resize has 3 arguments"),
        ("!help me", "help has 1 argument: must be !help"),
        ("!resize 1 0", "sectors is 0: must be 1 to"),
        ("!resize 1 -1", "sectors is '-1': must be a number"),
        ("!resize 1 1e3", "sectors is '1e3': must be a number"),
        ("!resize 1 ²", "sectors is '²': must be a number"),
        ("!resize 1 " + "9" * 5000, "must be a number, 1 to"),
        (f"!resize 1 {LARGEST_IN_MEMORY // 512 + 1}", "is 2097153: must be 1 to 2097152"),
        ("!resize 0 8", "resize is for blk"),
        ("!size 1 80x25", "size is for console"),
        ("!link 2 up", "link is for net"),
        ("!size 2 80", "rows is '': must be a number, 1 to 65535"),
        ("!size 2 0x25", "columns is 0: must be 1 to 65535"),
        ("!size 2 80x70000", "rows is 70000: must be 1 to 65535"),
        ("!link 3 sideways", "link is 'sideways': must be up or down"),
        ("!unplug 9", "device is 9: must be one of those behind FIFO 0: 0, 1, 2, 3"),
        ("!unplug x", "device is 'x': must be a number"),
        ("!unplug 1:0", "FIFO is 1: must be 0$"),
        ("!unplug :0", "FIFO is '': must be a number"),
        ("!plug", "device is '': must be"),
        ("!plug tape", "device is 'tape': must be"),
        ("!plug 1:rng", "must be below 1"),
        ("!plug blk=/dev", "is a directory: must be"),
        ("!plug blk=/no/such", "No such file"),
        ("!plug blk=a\0b", "null"),
    ],
)
def test_refused_command_changes_nothing(line, text):
    async def main():
        async with Bench() as bench:
            before = [bench.devices.get((0, n)).device.generation for n in range(4)]
            with pytest.raises(ValueError, match=text) as caught:
                await bench.do(line)
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
            after = [bench.devices.get((0, n)).device.generation for n in range(4)]
            assert after == before and bench.log == []
            assert await bench.driver.discover() == [0, 1, 2, 3]

    run(main())


@on_bench()
async def test_help_lists_every_command(bench, _):
    text = await bench.do("!help")
    lines = text.split("\n")
    for name in ("resize", "size", "link", "plug", "unplug", "help"):
        assert sum(line.startswith(f"!{name}") for line in lines) == 1
    assert "!!TEXT" in text
    guide = (Path(__file__).resolve().parents[4] / "docs" / "guest.md").read_text()
    assert all(f"`{line.split()[0]}" in guide for line in lines if not line.startswith("!!"))


@on_bench()
async def test_command_for_removed_device_is_refused(bench, _):
    await bench.do("unplug 1")
    for line in ("resize 1 8", "unplug 1"):
        with pytest.raises(CommandError, match="must be one of those behind FIFO 0: 0, 2, 3"):
            await bench.do(line)
