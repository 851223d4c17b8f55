# SPDX-License-Identifier: BSD-2-Clause
"""A served build of the gateware for the tests of this folder, on the selected simulators."""

import pytest
from builds import build_configuration, first_simulator, require_simulator
from vfio_host import SEED, socket_folder, socket_in

from models import config_space as space
from models.devices.block import SECTOR
from sim import toolchain
from sim.vm.serve.server import COCOTB, NATIVE, Server, engine_of
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client

CONFIG = wire.CONFIG_REGION


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(bytes(64 * SECTOR))
    return path


def pytest_generate_tests(metafunc):
    if "server" not in metafunc.fixturenames:
        return
    engines = [(NATIVE, "verilator"), *((COCOTB, name) for name in toolchain.SIMULATORS)]
    # The others cross-check the first; only --regress runs every test on all.
    everything = metafunc.config.getoption("--regress")
    if not everything and metafunc.function.__name__ != "test_all_devices_transfer_data":
        simulator = first_simulator()
        engines = [(engine_of(None, simulator), simulator)]
    names = ["-".join(engine) for engine in engines]
    metafunc.parametrize("server", engines, ids=names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(request, image, tmp_path_factory):
    engine, simulator = request.param
    require_simulator(simulator)
    devices = ["rng", f"blk={image}", "console", "net", "1:console"]
    folder = tmp_path_factory.mktemp("serve")
    with (
        socket_folder() as name,
        Server(
            build_configuration(simulator=simulator),
            socket_in(name),
            devices,
            folder=folder,
            seed=SEED,
            engine=engine,
        ) as server,
    ):
        yield server
        server.stop()
        events = list(server.events())
    # The monitors found no violation, and every event was counted.
    server.check()
    assert server.report["tlps_checked"] > 0
    assert server.report["interrupts"] == sum(event["kind"] == "interrupt" for event in events)
    messages = server.report["messages_to_device"] + server.report["messages_to_driver"]
    assert messages == sum(event["kind"] == "message" for event in events)


@pytest.fixture
def client(server):
    with Client(server.path) as connected:
        yield connected


@pytest.fixture
def enabled(client):
    """A client with memory space and bus mastering enabled."""
    command = space.MEMORY_SPACE_ENABLE.mask | space.BUS_MASTER_ENABLE.mask
    client.write(CONFIG, space.COMMAND, command.to_bytes(2, "little"))
    return client
