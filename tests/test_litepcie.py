# SPDX-License-Identifier: BSD-2-Clause
"""LitePCIe's TLP codec, an independent one, at the other end of the 7 series' streams."""

import contextlib
import os
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from hdl.companions import ports_of
from sim import toolchain
from sim.build import (
    BUILD_ROOT,
    TIMESCALE,
    VERILATOR_ARGUMENTS,
    BuildConfiguration,
    builder_environment,
    verilog_file,
)
from sim.run import PYTHON_WARNINGS

pytest.importorskip("litepcie", reason="LitePCIe is not installed: run make setup")

TOP = "litepcie_card"
# Migen uses non-blocking assignments everywhere, and drives valid and ready from one process. With
# both, Icarus never leaves time zero; Verilator treats the assignments as blocking.
SIMULATOR = "verilator"
ARGUMENTS = (*VERILATOR_ARGUMENTS, "-Wno-COMBDLY", "-Wno-UNOPTFLAT")
TESTS = 5


def sources(data_width, folder):
    """Write the Verilog of LitePCIe and the top to ``folder``; return all source files."""
    from litepcie_verilog import join_modules, peer

    configuration = BuildConfiguration(top="xilinx-7", data_width=data_width)
    endpoint = verilog_file(configuration)
    text, ports = peer(data_width)
    module = configuration.module
    generated = {
        "litepcie_peer.v": text,
        f"{TOP}.v": join_modules(
            TOP, (module, ports_of(endpoint.read_text(), module)), ("litepcie_peer", ports)
        ),
    }
    files = [folder / name for name in generated]
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(files, generated.values(), strict=True):
        # Do not touch an unchanged file: a new time stamp makes the simulator build again.
        if not file.exists() or file.read_text() != content:
            file.write_text(content)
    return [endpoint, *files]


@pytest.mark.parametrize(
    "data_width", [64, pytest.param(128, marks=pytest.mark.regress(reason="takes a minute"))]
)
def test_endpoint_with_litepcie_as_host(data_width, regression_seed):
    if SIMULATOR not in toolchain.available():
        pytest.skip("Verilator is not installed, and Icarus cannot run Migen's Verilog")
    folder = BUILD_ROOT / "test" / f"litepcie-w{data_width}"
    files = sources(data_width, folder)
    runner = get_runner(SIMULATOR)
    results, log = folder / "results.xml", folder / "sim.log"
    # Under pytest the runner checks the exit status by itself, and nothing else.
    pytest_test = os.environ.pop("PYTEST_CURRENT_TEST")
    try:
        with builder_environment(SIMULATOR):
            runner.build(
                sources=files,
                hdl_toplevel=TOP,
                build_dir=folder / "build",
                timescale=TIMESCALE,
                build_args=list(ARGUMENTS),
                log_file=folder / "build.log",
            )
        path = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        with contextlib.suppress(SystemExit):
            runner.test(
                test_module="tests.regressions.litepcie_peer",
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=folder / "build",
                test_dir=folder,
                results_xml=str(results),
                seed=regression_seed,
                extra_env={
                    "PYTHONPATH": os.pathsep.join(filter(None, path)),
                    "PYTHONWARNINGS": PYTHON_WARNINGS,
                    "COCOTB_ANSI_OUTPUT": "0",
                },
                log_file=log,
            )
    finally:
        os.environ["PYTEST_CURRENT_TEST"] = pytest_test
    tests, failures = get_results(results)
    assert tests == TESTS and not failures, log.read_text()[-8000:]
