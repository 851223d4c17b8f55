# SPDX-License-Identifier: BSD-2-Clause
"""The demo's scenario, which runs inside the simulator and writes the events to print.

An independent PCIe root complex enumerates the gateware; a driver for each FIFO brings up the
devices behind it and transfers data. Drivers get data only from BAR1, after an MSI-X write, or from
host memory; devices only from ``m_axis_msg`` or through the DMA window.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb

from models.bus import Direction
from models.config_space import bar_offset
from models.devices import ConsoleDevice, EntropyDevice
from models.driver import NoDeviceError, RemoteDevice
from models.drivers import VirtioDriver
from models.layout import SPSC_PAGES
from models.messages import DeviceState, MessageKind, describe
from models.shell import AMP_PCI
from models.virtio import device_name
from testbench.parameters import parameters
from testbench.system import GatewareSystem
from testbench.trace import TraceEntry

from . import data
from .data import DemoDevices, Totals
from .events import EventWriter

EVENTS = "DEMO_EVENTS"
"""Environment variable: the file of events, one JSON object per line."""
REVISION = "DEMO_REVISION"
"""Environment variable: the wire revision."""
TRACE_JSON = "trace.jsonl"
TRACE_TEXT = "trace.txt"
PAYLOAD_SIZE = 256
EVENT_TIMEOUT_US = 1000.0


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def demo(dut: Any) -> None:
    """All chapters, then a comparison of the messages at both ends, then the figures."""
    build = parameters()
    events = EventWriter(Path(os.environ[EVENTS]))
    seed = int(os.environ["COCOTB_RANDOM_SEED"])
    demo_devices = [DemoDevices(seed + fifo) for fifo in range(build.num_fifos)]
    devices_by_fifo = [devices_of_fifo.devices for devices_of_fifo in demo_devices]
    revision = os.environ[REVISION]
    system = GatewareSystem(
        dut,
        devices_by_fifo,
        revision=revision,
        root_complex=True,
        max_payload_size=PAYLOAD_SIZE,
    )
    system.trace.on_entry = lambda entry: _write_message(events, entry)
    received: list[tuple[Direction, int, bytes]] = []
    for bus in system.buses:
        bus.observers.append(lambda *seen: received.append(seen))

    events.chapter("Enumeration", "A root complex finds the PCI function and assigns its BARs.")
    # Drivers consume interrupts: wait for the same event before they do.
    for fifo in range(build.num_fifos):
        system.runtime.spawn(_write_interrupts(events, system, fifo))
    await system.start()
    enumerated = await _enumeration(system)
    events.write("enumerated", **enumerated)

    devices: list[dict[str, Any]] = []
    totals = Totals()
    for fifo in range(build.num_fifos):
        devices += await _run_fifo(events, system, fifo, demo_devices[fifo], totals)
    await system.finish()
    _compare_ends(system, received)

    folder = Path.cwd()
    system.trace.write_json_lines(folder / TRACE_JSON)
    system.trace.write_text(folder / TRACE_TEXT)
    events.write(
        "figures",
        num_fifos=build.num_fifos,
        data_width=build.data_width,
        revision=revision,
        enumerated=enumerated,
        devices=devices,
        messages_to_device=system.trace.count(Direction.TO_DEVICE),
        messages_to_driver=system.trace.count(Direction.TO_DRIVER),
        interrupts=sum(system.host.interrupts.values()),
        **data.figures(system, totals),
        tlps_checked=system.monitor.completions + system.monitor.requests,
        cycles=system.cycles,
        sim_time_ns=system.time_ns,
    )


async def _run_fifo(
    events: EventWriter,
    system: GatewareSystem,
    fifo: int,
    devices_of_fifo: DemoDevices,
    totals: Totals,
) -> list[dict[str, Any]]:
    driver = system.drivers[fifo]
    where = f" on FIFO {fifo}" if len(system.drivers) > 1 else ""
    events.chapter(
        f"Discovery{where}",
        "The driver requests the list of devices from the bus; the response is a bitmap.",
    )
    numbers = await driver.discover()
    found: list[dict[str, Any]] = []
    drivers: dict[int, VirtioDriver] = {}
    for number in numbers:
        device = await driver.device(number)
        name = device_name(device.info.device_id) or "unknown"
        found.append(
            {"fifo": fifo, "dev_num": number, "device_id": device.info.device_id, "name": name}
        )
        events.write("device", **found[-1], max_vqs=device.info.max_vqs)
    for entry in found:
        events.chapter(
            f"Bring-up of device {entry['dev_num']}, {entry['name']}{where}",
            "Reset, acknowledge, negotiate features, set up each queue, DRIVER_OK.",
        )
        probe = data.DRIVERS[entry["dev_num"]].probe
        drivers[entry["dev_num"]] = await probe(driver, entry["dev_num"], system.host.memory)
    await _config_change(events, system, fifo, drivers[data.CONSOLE].device, where)
    await data.DataChapters(events, system, devices_of_fifo, fifo, where, totals).run(drivers)
    for driver_of_device in drivers.values():
        driver_of_device.stop()
    if driver.dialect.has("BUS_EVENT_DEVICE", MessageKind.EVENT):
        await _hot_plug(events, system, fifo, where)
    return found


async def _hot_plug(events: EventWriter, system: GatewareSystem, fifo: int, where: str) -> None:
    driver = system.drivers[fifo]
    events.chapter(
        f"Hot-plug{where}",
        "A device is plugged, and EVENT_DEVICE reports it; the driver brings it up. Then it is "
        "unplugged.",
    )
    number = await system.device_side.plug(fifo, EntropyDevice())
    assert await driver.wait_device(DeviceState.ADDED, EVENT_TIMEOUT_US) == number
    device = await driver.probe(number)
    name = device_name(device.info.device_id)
    events.write(
        "note", text=f"device {number} added: {name}, up with status {await device.status():#04x}"
    )
    await system.device_side.unplug(fifo, number)
    assert await driver.wait_device(DeviceState.REMOVED, EVENT_TIMEOUT_US) == number
    try:
        await device.status()
        raise AssertionError("a removed device answered")
    except NoDeviceError:
        events.write("note", text=f"device {number} removed: requests to it fail at once")


async def _config_change(
    events: EventWriter, system: GatewareSystem, fifo: int, console: RemoteDevice, where: str
) -> None:
    transport = system.device_side.transports[fifo]
    device = transport.devices[data.CONSOLE]
    assert isinstance(device, ConsoleDevice)

    events.chapter(
        f"Events{where}",
        "The console's window changes size while the interrupt is masked: the interrupt stays "
        "pending, and is sent when the mask is cleared.",
    )
    size_before = await console.read_config(0, 4)

    vector = AMP_PCI.vector_of(fifo, len(system.drivers))
    mask = AMP_PCI.msix_control(vector)
    await system.host.bar_write(AMP_PCI.msix_bar, mask, b"\1\0\0\0")
    # Posted: only the completion of a later read shows that the vector is masked.
    assert await system.host.bar_read(AMP_PCI.msix_bar, mask, 4) == b"\1\0\0\0"
    device.resize(132, 43)
    await transport.notify_config(data.CONSOLE)
    await system.settle()
    pending = await system.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 8)
    assert int.from_bytes(pending, "little") == 1 << vector, "the masked interrupt is not pending"
    events.write("note", text=f"vector {vector} is masked; its pending bit is set")
    await system.host.bar_write(AMP_PCI.msix_bar, mask, b"\0\0\0\0")

    assert await console.wait_config(EVENT_TIMEOUT_US) is not None, "EVENT_CONFIG did not arrive"
    size = await console.read_config(0, 4)
    assert size != size_before and size == b"\x84\0\x2b\0"
    events.write("note", text="the driver reads the new size: 132 columns, 43 rows")


async def _write_interrupts(events: EventWriter, system: GatewareSystem, fifo: int) -> None:
    vector = AMP_PCI.vector_of(fifo, len(system.drivers))
    event = system.host.interrupt(vector)
    while True:
        await event.wait()
        event.clear()
        events.write("interrupt", time_ns=system.time_ns, vector=vector)


def _write_message(events: EventWriter, entry: TraceEntry) -> None:
    events.write(
        "message",
        time_ns=entry.time_ns,
        direction=entry.direction,
        fifo=entry.fifo,
        text=entry.description if entry.message is None else describe(entry.message, brief=True),
    )


async def _enumeration(system: GatewareSystem) -> dict[str, Any]:
    """The function as the root complex enumerated it."""
    function = system.host.function
    bars = []
    for bar, window in enumerate(function.bar_window):
        if window is not None:
            flags = await function.config_read_dword(bar_offset(bar))
            bars.append(
                {
                    "bar": bar,
                    "size": window.size,
                    "address": function.bar_addr[bar],
                    "prefetchable": bool(flags & 8),
                }
            )
    return {
        "vendor_id": function.vendor_id,
        "device_id": function.device_id,
        "class_code": function.class_code,
        "pcie_id": str(function.pcie_id),
        "bars": bars,
        "msix_vectors": system.host.vectors,
    }


def _compare_ends(system: GatewareSystem, received: list[tuple[Direction, int, bytes]]) -> None:
    """Check that each end received all messages of the other, complete and in order."""
    slot = SPSC_PAGES.queue.slot_size
    for fifo in range(len(system.drivers)):
        for direction in Direction:
            at_host = [
                raw.ljust(slot, b"\0") for d, f, raw in received if (d, f) == (direction, fifo)
            ]
            at_device = [
                entry.raw.ljust(slot, b"\0")
                for entry in system.trace.entries
                if (entry.direction, entry.fifo) == (direction, fifo)
            ]
            assert at_host == at_device, f"FIFO {fifo}: the messages at the two ends differ"
