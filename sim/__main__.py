# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim``: demo, bench, server, guest, fuzzer, any cocotb module on any build."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from hdl.block_options import BlockOptions
from hdl.dma.limits import COMPLETION_TIMEOUT
from hdl.tlp import DATA_WIDTHS
from hdl.verilog import SHIMS, TOPS, default_data_width
from models import __version__
from models.layout import LAYOUTS, SPSC_PAGES
from models.messages import REVISIONS, V1
from models.shell import AMP_PCI, MAX_FIFOS, SHELLS, check_num_fifos

from .build import BUILD_ROOT, BuildConfiguration
from .command import run_command
from .lab.bench.command import run_bench
from .lab.demo.command import run_demo
from .lab.fuzz import configurations, run_fuzz
from .run import simulate
from .toolchain import (
    SIMULATORS,
    WAVE_FORMATS,
    best_wave_format,
    find,
    find_for_fst,
)
from .vm.guest.command import run_guest
from .vm.guest.kit.command import KitOptions
from .vm.guest.kit.lengths import SOAK_S
from .vm.guest.kit.tests import NAMES as BATTERY
from .vm.guest.options import GuestOptions
from .vm.serve.command import run_serve
from .vm.serve.devices import KINDS
from .vm.serve.server import ENGINES

DEVICE = "[FIFO:]" + "|".join(KINDS)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--sim", choices=SIMULATORS, help="default: Verilator if installed")
    common.add_argument("--fifos", type=int, metavar=f"1..{MAX_FIFOS}")
    common.add_argument("--data-width", type=int, choices=DATA_WIDTHS)
    common.add_argument("--seed", type=lambda text: int(text, 0), help="default: random")
    recording = argparse.ArgumentParser(add_help=False, parents=[common])
    recording.add_argument(
        "--waves",
        nargs="?",
        const="auto",
        choices=("auto", *WAVE_FORMATS),
        help="record waves; default format: FST if the simulator can write it, else VCD",
    )

    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument(
        "--engine",
        choices=ENGINES,
        help="compiled code alone, or cocotb; default: native unless --sim is icarus",
    )
    engine.add_argument(
        "--wave-window",
        type=_window,
        metavar="FIRST:LAST",
        help="with --waves, record only these microseconds of simulated time (native engine)",
    )

    timeout = argparse.ArgumentParser(add_help=False)
    timeout.add_argument(
        "--completion-timeout", type=int, default=COMPLETION_TIMEOUT, metavar="CYCLES"
    )

    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", parents=[recording], help="the main job, step by step")
    demo.add_argument("--revision", choices=REVISIONS, default=V1.revision, help="wire revision")
    run = commands.add_parser("run", parents=[recording, timeout], help="run cocotb modules")
    run.add_argument(
        "modules",
        nargs="+",
        metavar="module",
        help="import path, such as tests.regressions.exchange",
    )
    run.add_argument("--test", help="run only this test")
    run.add_argument("--top", choices=sorted(TOPS | SHIMS), default="endpoint")
    run.add_argument("--no-dma", action="store_true", help="the gateware without its DMA window")
    BlockOptions.add_arguments(run)
    run.add_argument("--shell", choices=SHELLS, default=AMP_PCI.name)
    run.add_argument("--layout", choices=LAYOUTS, default=SPSC_PAGES.name)
    serve = commands.add_parser(
        "serve",
        parents=[recording, timeout, engine],
        help="a PCI device for virtual machines, on a socket",
    )
    serve.add_argument("--vfio-user", type=Path, required=True, metavar="SOCKET")
    serve.add_argument(
        "--device",
        action="append",
        metavar=DEVICE,
        help="blk=IMAGE stores sectors in a file or block device, blk=IMAGE,ro is read-only; "
        "default: one of each",
    )
    serve.add_argument("--revision", choices=REVISIONS, default=V1.revision, help="wire revision")
    serve.add_argument("--trace", type=Path, metavar="FILE", help="every message, as JSON lines")
    serve.add_argument(
        "--accesses", type=Path, metavar="FILE", help="every guest access, a line of text each"
    )
    serve.add_argument(
        "--control",
        type=Path,
        metavar="SOCKET",
        help="accepts from scripts the commands that can be typed",
    )
    serve.add_argument("--quiet", action="store_true", help="do not print messages and interrupts")
    guest = commands.add_parser(
        "guest", parents=[recording, engine], help="a Linux guest on QEMU drives the gateware"
    )
    _add_guest_arguments(guest)
    bench = commands.add_parser("bench", help="cycles against their bounds, and simulation speed")
    bench.add_argument(
        "--sim", choices=SIMULATORS, help="counts the cycles; default: the best installed"
    )
    bench.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="parallel measurements"
    )
    fuzz = commands.add_parser(
        "fuzz",
        parents=[common],
        help="hostile histories, on several builds in turn unless one is selected",
    )
    fuzz.add_argument("--seconds", type=float, default=60.0, help="default: %(default)g")
    fuzz.add_argument("--top", choices=sorted(TOPS))
    return parser


def _add_guest_arguments(guest: argparse.ArgumentParser) -> None:
    guest.add_argument("--kernel", type=Path, metavar="FILE", help="boot your own kernel")
    guest.add_argument(
        "--initrd", type=Path, metavar="FILE", help="initial RAM disk of your own guest"
    )
    machine = guest.add_argument_group("machine")
    machine.add_argument("--append", default="", metavar="TEXT", help="further kernel parameters")
    machine.add_argument("--smp", type=int, default=1, metavar="N", help="processors; default: 1")
    machine.add_argument("--memory", type=int, metavar="MB", help="guest memory, in MiB")
    machine.add_argument(
        "--qemu-args", default="", metavar="TEXT", help="further arguments of QEMU, as in a shell"
    )
    own = guest.add_argument_group("your own driver or guest")
    own.add_argument("--device", action="append", default=[], metavar=DEVICE, help="as in serve")
    own.add_argument("--revision", choices=REVISIONS, default=V1.revision, help="wire revision")
    own.add_argument("--gdb", action="store_true", help="QEMU listens for gdb")
    own.add_argument("--wait", action="store_true", help="as --gdb, and start when gdb continues")
    driver = guest.add_argument_group("your own driver")
    driver.add_argument(
        "--driver", type=Path, metavar="DIR", help="build its modules, and run a battery of tests"
    )
    driver.add_argument(
        "--make",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="variable for the build, such as CONFIG_VIRTIO_MSG=m",
    )
    driver.add_argument(
        "--headers", type=Path, metavar="DIR", help="folder to build modules for --kernel in"
    )
    driver.add_argument(
        "--modules", type=Path, metavar="DIR", help="modules of --kernel; default: --headers"
    )
    driver.add_argument(
        "--only", action="append", default=[], choices=BATTERY, metavar="TEST", help="run this test"
    )
    driver.add_argument("--long", action="store_true", help="the tests at their long length")
    driver.add_argument(
        "--soak",
        nargs="?",
        type=int,
        const=SOAK_S,
        default=0,
        metavar="SECONDS",
        help=f"use all devices at once; default: {SOAK_S} s",
    )
    driver.add_argument("--keep", action="store_true", help="leave the guest at a shell")


def _guest(options: argparse.Namespace, configuration: BuildConfiguration) -> int:
    for name, low in (("smp", 1), ("memory", 1), ("soak", 0)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise ValueError(f"--{name} is {value}: must be {low} or more")
    kit = None
    if options.driver is not None:
        kit = KitOptions(
            options.driver,
            make=options.make,
            headers=options.headers,
            modules=options.modules,
            tests=options.only,
            long=options.long,
            soak_s=options.soak,
            keep=options.keep,
        )
    else:
        for name in ("make", "headers", "modules", "only", "long", "soak", "keep"):
            if getattr(options, name):
                raise ValueError(f"--{name} is for a driver of your own: add DRIVER=")
    return run_guest(
        configuration,
        kernel=options.kernel,
        initrd=options.initrd,
        options=GuestOptions(
            append=options.append,
            devices=options.device,
            gdb=options.gdb,
            wait=options.wait,
            revision=options.revision,
            processors=options.smp,
            memory_mb=options.memory or 0,
            qemu_arguments=shlex.split(options.qemu_args),
            engine=options.engine,
            window_us=options.wave_window,
        ),
        kit=kit,
        seed=options.seed,
    )


def _configuration(options: argparse.Namespace) -> BuildConfiguration:
    waves = getattr(options, "waves", None)
    simulator = find_for_fst(options.sim) if waves == "fst" else find(options.sim)
    if waves == "auto":
        waves = best_wave_format(simulator)
    top = getattr(options, "top", None) or "endpoint"
    return BuildConfiguration(
        top=top,
        num_fifos=1 if options.fifos is None else check_num_fifos(options.fifos),
        data_width=options.data_width or default_data_width(top),
        completion_timeout=getattr(options, "completion_timeout", COMPLETION_TIMEOUT),
        shell=getattr(options, "shell", AMP_PCI.name),
        layout=getattr(options, "layout", SPSC_PAGES.name),
        dma=not getattr(options, "no_dma", False),
        block=BlockOptions.of(options),
        simulator=simulator.name,
        waves=waves,
    )


def _window(text: str) -> tuple[float, float]:
    """Argument of ``--wave-window``."""
    first, colon, last = text.partition(":")
    try:
        window = float(first or 0), float(last or "inf")
    except ValueError:
        window = (0.0, -1.0)
    if not colon or not 0 <= window[0] <= window[1]:
        raise argparse.ArgumentTypeError(f"{text} is not FIRST:LAST in microseconds, FIRST first")
    return window


def _run(options: argparse.Namespace, configuration: BuildConfiguration) -> int:
    first, *others = options.modules
    # The names of all modules together can exceed the file system's limit.
    folder = BUILD_ROOT / "run" / (f"{first}+{len(others)}" if others else first)
    outcome = simulate(
        configuration, options.modules, folder, testcase=options.test, seed=options.seed
    )
    print(f"{outcome.tests} passed, seed {outcome.seed}, log {outcome.log}")
    if outcome.waves is not None:
        print(f"waves {outcome.waves}")
    return 0


def _fuzz(options: argparse.Namespace, configuration: BuildConfiguration) -> int:
    is_selected = options.top or options.data_width or options.fifos is not None
    builds = [configuration] if is_selected else configurations(configuration.simulator)
    return run_fuzz(builds, seconds=options.seconds, seed=options.seed)


def _execute(options: argparse.Namespace) -> int:
    if options.command == "bench":
        return run_bench(simulator=options.sim, jobs=options.jobs)
    configuration = _configuration(options)
    if options.command == "demo":
        return run_demo(configuration, revision=options.revision, seed=options.seed)
    if options.command == "guest":
        return _guest(options, configuration)
    if options.command == "serve":
        return run_serve(
            configuration,
            options.vfio_user,
            devices=options.device,
            seed=options.seed,
            revision=options.revision,
            trace=options.trace,
            accesses=options.accesses,
            control=options.control,
            quiet=options.quiet,
            engine=options.engine,
            window_us=options.wave_window,
        )
    if options.command == "fuzz":
        return _fuzz(options, configuration)
    return _run(options, configuration)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the command. Returns the exit status."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _execute(options))


if __name__ == "__main__":
    sys.exit(main())
