# SPDX-License-Identifier: BSD-2-Clause
"""``make guest DRIVER=DIR``: build a driver, boot it, run the battery, report."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from models.devices.storage import SECTOR

from .... import toolchain
from ....build import BuildConfiguration
from ....command import print_failure
from ....console import list_files, print_plain
from ....run import SimulationError
from ...serve.devices import DEFAULT, parse_devices
from ...serve.server import Server
from ..errors import GuestError
from ..fetch import userland as fetch_userland
from ..fetch.qemu import Qemu
from ..fetch.store import Store
from ..options import GuestOptions
from ..qemu import BASE_APPEND, Guest, print_gdb_usage
from ..terminal import KEYS, Terminal
from . import image
from .battery import ACCESSES, TRACE, Battery
from .bounded_file import BoundedFile
from .driver import find_driver
from .kernel import GuestKernel, find_kernel
from .lengths import HUNG_TASK_S, LONG, SHORT
from .machine import Machine, MachineError
from .modules import Module, load_order
from .results import Result, print_failure_details, print_table, summary

BASE_MODULES = ("virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "ext4")
"""Modules of the kernel that the tests use."""
# Linux gives its process 1 the parameters that it does not know as environment.
KIT_APPEND = f"{BASE_APPEND} sysrq_always_enabled=1 log_buf_len=1M HUNG_TASK_S={HUNG_TASK_S}"
MEMORY_MB = 512


@dataclass(frozen=True)
class KitOptions:
    """Options of the kit.

    Attributes
    ----------
    driver
        The user's directory.
    make
        Assignments for make's command line.
    headers, modules
        Folders of the headers and of the modules of the user's kernel.
    tests
        Names of the tests to run; all by default.
    long
        Run them at their long length.
    soak_s
        Duration of a soak; 0 for none.
    keep
        Leave the guest at a shell afterwards.
    """

    driver: Path
    make: Sequence[str] = ()
    headers: Path | None = None
    modules: Path | None = None
    tests: Sequence[str] = ()
    long: bool = False
    soak_s: int = 0
    keep: bool = False


def run_kit(
    configuration: BuildConfiguration,
    qemu: Qemu,
    store: Store,
    kit: KitOptions,
    options: GuestOptions,
    *,
    kernel: Path | None,
    initrd: Path | None,
    seed: int,
    folder: Path,
    terminal: Console,
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """Run the battery and print its results; returns the report.

    Parameters
    ----------
    configuration
        The build of the endpoint.
    qemu, store
        QEMU, and the store of other downloads.
    kit, options
        Options.
    kernel, initrd
        The user's kernel, and an archive to unpack before the kit's; both optional.
    seed
        Seed of the devices' random bytes.
    folder
        Folder of all files.
    terminal
        Where results are printed.
    notify
        Called with a line of text about each download.

    Raises
    ------
    GuestError
        The driver cannot be built or a file is missing.
    """
    if initrd is not None and not initrd.is_file():
        raise GuestError(f"INITRD is {initrd}: there is no such file")
    guest_kernel = find_kernel(
        store, notify, image=kernel, headers=kit.headers, modules=kit.modules
    )
    modules = find_driver(kit.driver, guest_kernel, folder, kit.make)
    print_plain(
        terminal,
        f"Linux {guest_kernel.release or guest_kernel.image}, driver of {kit.driver}: "
        f"{', '.join(module.name for module in modules)}",
    )
    if options.gdb or options.wait:
        print_gdb_usage(terminal, wait=options.wait)
    base, driver = _ordered(modules, guest_kernel)
    archive = folder / "initramfs"
    archive.write_bytes(
        image.archive(
            configuration,
            fetch_userland.find(store, notify),
            base,
            driver,
            under=b"" if initrd is None else initrd.read_bytes(),
        )
    )
    length = LONG if kit.long else SHORT
    devices = options.devices or _default_devices(folder / "disk.img", length.disk_sectors)
    with contextlib.ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amp-guest-")))
        trace, accesses = (
            stack.enter_context(BoundedFile(sockets / name, folder / name))
            for name in (TRACE, ACCESSES)
        )
        server = Server(
            configuration,
            sockets / "socket",
            devices=devices,
            folder=folder,
            seed=seed,
            revision=options.revision,
            trace=trace.pipe,
            accesses=accesses.pipe,
            control=sockets / "control",
            engine=options.engine,
            window_us=options.window_us,
        )

        def start(on_console: Callable[[bytes], None]) -> Machine:
            return Machine(
                qemu,
                lambda paths, log: Guest(
                    kernel=guest_kernel.image,
                    initrd=archive,
                    append=options.appended(KIT_APPEND),
                    device=server.device_argument,
                    memory_mb=options.memory_mb or MEMORY_MB,
                    gdb=options.gdb,
                    wait=options.wait,
                    processors=options.processors,
                    reboots=True,
                    sockets=paths,
                    log=log,
                    arguments=options.qemu_arguments,
                ),
                sockets,
                folder / "console.log",
                on_console,
            )

        with server:
            battery = Battery(
                server,
                parse_devices(devices, configuration.num_fifos),
                start,
                length=length,
                revision=options.revision,
                folder=folder,
                terminal=terminal,
                soak_s=kit.soak_s,
                debugged=options.gdb or options.wait,
            )
            try:
                results = battery.run(kit.tests)
                if kit.keep:
                    _keep(battery, server, terminal)
            finally:
                battery.end_machine()
                server.stop()
                battery.close()
        problems = _problems(results, server)
    waves = None if server.outcome is None else server.outcome.waves
    _print_results(results, folder, waves, terminal)
    return {
        "ok": not problems,
        "problems": problems,
        "kernel": battery.kernel_release,
        "driver": str(kit.driver),
        "modules": [module.name for module in driver],
        "revision": options.revision,
        "length": length.name,
        "simulator": toolchain.find(configuration.simulator).name,
        "num_fifos": configuration.num_fifos,
        "data_width": configuration.data_width,
        "seed": seed,
        **summary(results),
        "battery": [result.to_json() for result in results],
        "server": server.report,
    }


def _keep(battery: Battery, server: Server, terminal: Console) -> None:
    print_plain(terminal, f"The guest is at a shell; exit ends it. {KEYS}")
    try:
        battery.keep(Terminal(server.type))
    except MachineError as error:
        print_failure(terminal, "The guest is not at a shell:", str(error))


def _print_results(
    results: Sequence[Result], folder: Path, waves: Path | None, terminal: Console
) -> None:
    """Print the failures, the table and the files."""
    for result in results:
        if result.ok is False:
            print_failure_details(terminal, result)
    print_table(terminal, results)
    list_files(
        terminal,
        {
            "console": folder / "console.log",
            "message trace": folder / TRACE,
            "accesses": folder / ACCESSES,
            "waves": waves,
            "report": folder / "report.json",
        },
    )


def _ordered(modules: Sequence[Module], kernel: GuestKernel) -> tuple[list[Module], list[Module]]:
    """The kernel's modules and the driver's, each in load order."""
    index = kernel.modules
    own = {module.name for module in modules}
    base = [index.read(name) for name in BASE_MODULES if index.has(name) and name not in own]
    ordered = load_order([*base, *modules], index)
    return (
        [module for module in ordered if module.name not in own],
        [module for module in ordered if module.name in own],
    )


def _default_devices(disk: Path, sectors: int) -> list[str]:
    """One device of each kind; the disk has an image, which the tests compare."""
    disk.write_bytes(b"")
    with disk.open("r+b") as file:
        file.truncate(sectors * SECTOR)
    return [f"blk={disk}" if kind == "blk" else kind for kind in DEFAULT]


def _problems(results: Sequence[Result], server: Server) -> list[str]:
    problems = [f"{result.test}: {result.finding}" for result in results if result.ok is False]
    if not any(result.ok for result in results):
        problems.append("no test passed")
    try:
        server.check()
    except SimulationError as error:
        problems.append(str(error))
    return problems
