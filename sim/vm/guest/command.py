# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim guest``: fetch QEMU and kernel, boot a guest, check its results, report."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from models.devices.block import SECTOR

from ... import toolchain
from ...build import BUILD_ROOT, BuildConfiguration
from ...command import ReportFolder, print_failure
from ...console import console, list_files
from ...run import SimulationError, new_seed
from ...workload import SECTORS
from ..serve.devices import parse_devices
from ..serve.server import Server
from . import facts, initramfs
from .errors import DownloadError, GuestError, OptionError
from .fetch import kernel as fetch_kernel
from .fetch import qemu as fetch_qemu
from .fetch.qemu import Qemu
from .fetch.store import Store
from .kit.command import KitOptions, run_kit
from .options import GuestOptions
from .own import boot_own
from .program import compile_program
from .report import GuestReport, HostRecord, make_report
from .reporter import GuestReporter
from .session import TIMEOUT_S, GuestSession

STORE = Path(__file__).resolve().parents[3] / ".cache" / "guest"
"""Folder of downloads."""
DEFAULT_OPTIONS = GuestOptions()


def run_guest(
    configuration: BuildConfiguration,
    *,
    kernel: Path | None = None,
    initrd: Path | None = None,
    options: GuestOptions = DEFAULT_OPTIONS,
    kit: KitOptions | None = None,
    seed: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Boot a guest and write ``guest/report.json`` below the build root.

    With ``kit`` it runs the battery on the user's driver; otherwise, with ``kernel`` or ``initrd``,
    it is the user's own guest, on the terminal and without a report. The default is the built-in
    guest.

    Parameters
    ----------
    configuration
        The build of the endpoint.
    kernel, initrd
        Files of the user's own guest. The default kernel is the distribution's.
    options
        Options of the machine.
    kit
        Options of the kit, with the user's driver.
    seed
        Seed of all random numbers; the default is :func:`sim.run.new_seed`.
    timeout_s
        Time limit of the built-in guest.

    Raises
    ------
    OptionError
        The built-in guest cannot follow an option.

    Returns
    -------
    int
        Exit status: 0 on success, :data:`errors.DOWNLOAD_FAILED` after a failed download.
    """
    terminal = console()
    # Checked before anything is fetched or built.
    parse_devices(options.devices, configuration.num_fifos)
    if kit is None and kernel is None and initrd is None:
        check_builtin(options)
    output = ReportFolder(BUILD_ROOT / "guest")
    folder = output.path
    reporter = GuestReporter(terminal)
    store = Store(STORE)
    started = time.monotonic()
    seed = new_seed() if seed is None else seed
    try:
        qemu = fetch_qemu.find(store, reporter.note)
        if kit is not None:
            report = run_kit(
                configuration,
                qemu,
                store,
                kit,
                options,
                kernel=kernel,
                initrd=initrd,
                seed=seed,
                folder=folder,
                terminal=terminal,
                notify=reporter.note,
            )
        elif kernel is not None or initrd is not None:
            if kernel is None:
                kernel = fetch_kernel.find(store, reporter.note).image
            return boot_own(
                configuration,
                qemu,
                options,
                kernel=kernel,
                initrd=initrd,
                seed=seed,
                folder=folder,
                terminal=terminal,
            )
        else:
            report = _run_builtin(
                configuration, qemu, store, reporter, folder, seed, options, timeout_s
            )
    except GuestError as error:
        download_failed = isinstance(error, DownloadError)
        problems = [str(error)]
        output.write(
            {"ok": False, "download_failed": download_failed, "problems": problems, "seed": seed}
        )
        print_failure(terminal, "The guest was not run:", str(error))
        return error.exit_status
    report["qemu"] = qemu.version
    report["wall_s"] = round(time.monotonic() - started, 3)
    status = output.write(report)
    if kit is None:
        _print_result(report, output, reporter, terminal)
    return status


def check_builtin(options: GuestOptions) -> None:
    """Require that the built-in guest can follow the options.

    Raises
    ------
    OptionError
        It cannot; the text names the option.
    """
    for name, is_given in (
        ("--device", bool(options.devices)),
        ("--gdb", options.gdb),
        ("--wait", options.wait),
        (f"--revision {options.revision}", options.revision != facts.DIALECT.revision),
    ):
        if is_given:
            raise OptionError(
                f"{name} is for a driver or a guest of your own: add DRIVER= or KERNEL= INITRD="
            )


def _run_builtin(
    configuration: BuildConfiguration,
    qemu: Qemu,
    store: Store,
    reporter: GuestReporter,
    folder: Path,
    seed: int,
    options: GuestOptions,
    timeout_s: float,
) -> dict[str, Any]:
    kernel = fetch_kernel.find(store, reporter.note)
    simulator = toolchain.find(configuration.simulator).name
    program = compile_program(facts.header(configuration), kernel, folder)
    guest_report, host_record = GuestReport(), HostRecord(configuration, seed)
    # Another seed than the entropy source's, so that the image differs from the random bytes.
    host_record.image = random.Random(seed + 1).randbytes(SECTOR * SECTORS)
    initrd = folder / "initramfs"
    initrd.write_bytes(
        initramfs.archive(
            [
                *(initramfs.folder(name) for name in ("dev", "proc", "sys")),
                initramfs.console(),
                initramfs.file("init", program.init.read_bytes(), executable=True),
                initramfs.file(program.module.name, program.module.read_bytes()),
                initramfs.file("disk.bin", host_record.image),
            ]
        )
    )
    disk = folder / "disk.img"
    disk.write_bytes(bytes(len(host_record.image)))
    reporter.opening(configuration, simulator)
    # A socket's path has a short limit, which a build folder's path may exceed.
    with tempfile.TemporaryDirectory(prefix="amp-guest-") as socket_folder:
        server = Server(
            configuration,
            Path(socket_folder) / "socket",
            devices=["rng", f"blk={disk}", "console", "net"],
            folder=folder,
            seed=seed,
            trace=folder / "trace.jsonl",
            engine=options.engine,
            window_us=options.window_us,
        )
        with server:
            session = GuestSession(
                server, reporter, guest_report, host_record, folder, timeout_s=timeout_s
            )
            session.run(qemu, kernel.image, initrd, options)
        try:
            server.check()
        except SimulationError as error:
            host_record.problems.append(str(error))
    host_record.server = server.report
    host_record.disk = disk.read_bytes()
    return {
        **make_report(guest_report, host_record),
        "simulator": simulator,
        "num_fifos": configuration.num_fifos,
        "data_width": configuration.data_width,
        "boot_s": session.boot_s,
    }


def _print_result(
    report: dict[str, Any], output: ReportFolder, reporter: GuestReporter, terminal: Console
) -> None:
    if report["ok"]:
        reporter.figures(report)
    files = {
        "console": output.path / "console.log",
        "message trace": output.path / "trace.jsonl",
        "report": output.report,
    }
    list_files(terminal, files)
    if not report["ok"]:
        problems = "".join(f"\n  {problem}" for problem in report["problems"])
        print_failure(terminal, "The guest failed,", f"seed {report['seed']}{problems}")
