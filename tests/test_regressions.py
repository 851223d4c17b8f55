# SPDX-License-Identifier: BSD-2-Clause
"""Run the cocotb regressions on several builds of the gateware and on every simulator."""

import os
from itertools import chain
from pathlib import Path

import pytest
from builds import BUILDS, build_configuration, first_simulator, require_simulator

from hdl.block_options import BlockOptions
from hdl.tlp import DATA_WIDTHS
from hdl.verilog import TOPS
from models.layout import LIVE_PAGES, SMALL_PAGES
from models.shell import AMP_PCI_9038, MAX_FIFOS
from sim import toolchain
from sim.build import BUILD_ROOT
from sim.run import simulate

# Modules that share a simulation: starting one takes as long as many a module runs.
GROUPS = {
    "requests": (
        "bar_access",
        "byte_enables",
        "config_requests",
        "enumeration",
        "fewer_vectors",
        "function_reset",
        "malformed_tlps",
        "msix",
        "refused_requests",
    ),
    "queues": (
        "counters",
        "defects",
        "device_queue",
        "driver_queue",
        "exchange",
        "faulty_devices",
        "hostile",
        "libraries",
        "own_driver",
        "recorded",
        "scenarios",
    ),
    "dma": (
        "core_dma",
        "dma_bursts",
        "dma_faults",
        "dma_order",
        "dma_random",
        "dma_reset",
        "endpoint_dma",
        "flat_memory",
        "lowered_settings",
        "virtqueues",
    ),
}
ON_ENDPOINT = frozenset(
    {
        "config_requests",
        "endpoint_dma",
        "enumeration",
        "flat_memory",
        "function_reset",
        "libraries",
        "malformed_tlps",
    }
)
ON_CORE = frozenset({"core_dma"})
ON_FIRST_SIMULATOR = frozenset({"faulty_devices", "lowered_settings"})
"""Long modules: only ``make regress`` runs them on every simulator."""
MORE_ROUNDS = {"ROUNDS": "8"}
FEW_SCENARIOS = {"SCENARIOS": "move_data"}
"""Scenarios that ``make test`` runs where another build already runs all of them."""
BEHIND_BLOCKS = "hard_block"
"""The module that runs on the tops of hard blocks only."""
FOR_BLOCKS = ("block_options", "core_dma", "dma_order", "dma_reset", "msix")
"""Modules that run on the core with options for a hard block; the first runs only there."""
ELSEWHERE = frozenset({"litepcie_peer"})
"""Modules with a top of their own: ``test_litepcie.py`` runs them."""
MODULES = frozenset(chain.from_iterable(GROUPS.values())) | {BEHIND_BLOCKS, FOR_BLOCKS[0]}

# (top, FIFOs, width) on the simulators after the first. They cross-check it and take several times
# as long, more with each width.
FEW_BUILDS = [("core", 1, 64)]
# With BUILDS: every number of FIFOs, and every width of both tops.
MORE_BUILDS = [
    ("endpoint", 1, 64),
    ("endpoint", 4, 256),
    ("endpoint", 5, 512),
    ("core", MAX_FIFOS, 128),
    ("core", 6, 256),
    ("core", 7, 512),
]
MORE_FEW_BUILDS = [("core", 1, 256), ("endpoint", 1, 512)]
QUICK_GROUPS = {"endpoint": tuple(GROUPS), "core": ("requests", "dma")}
"""Groups that ``make test`` runs on each top, on the core only its own modules of ``dma``: the
endpoint contains the core."""
QUICK_FEW_GROUPS = ("requests",)
"""Groups that ``make test`` runs on the simulators after the first."""
# (top, width) of the tops of hard blocks; MORE_BLOCK_BUILDS completes the widths of each.
BLOCK_BUILDS = [("xilinx-7", 128)]
MORE_BLOCK_BUILDS = [
    *(("xilinx-usp", width) for width in (64, 128, 256, 512)),
    *(("xilinx-us", width) for width in (64, 128, 256)),
    ("xilinx-7", 64),
    *(("intel-ptile", width) for width in (128, 256, 512)),
    *(("intel-s10", width) for width in (256, 512)),
]

# (FIFOs, width, options) of the core.
OPTION_BUILDS = [
    (
        2,
        128,
        BlockOptions(
            force_64_bit_addresses=True,
            ignore_bus_number=True,
            sequence_numbers=True,
            completion_headers=36,
        ),
    )
]
MORE_OPTION_BUILDS = [
    (1, 64, BlockOptions(separate_msix=True)),
    (3, 256, BlockOptions(separate_msix=True, sequence_numbers=True)),
    (1, 512, BlockOptions(sequence_numbers=True, completion_headers=128)),
    (1, 64, BlockOptions(ignore_bus_number=True, force_64_bit_addresses=True)),
]


def is_first(simulator):
    """Whether this is the preferred simulator of those installed, which runs most builds."""
    return simulator == first_simulator()


def builds_of(simulator, *, everything):
    """Builds of core and endpoint for a simulator."""
    if is_first(simulator):
        return [(top, *build) for top, build in BUILDS.items()] + MORE_BUILDS * everything
    return FEW_BUILDS + MORE_FEW_BUILDS * everything


def groups_of(simulator, top, *, everything):
    """Groups that run on a build of a top for a simulator."""
    if everything:
        return tuple(GROUPS)
    return QUICK_GROUPS[top] if is_first(simulator) else QUICK_FEW_GROUPS


def modules(group, top, simulator, *, everything):
    """Modules of a group that run on a top and a simulator."""
    if group == "dma" and top == "core" and not everything:
        return [name for name in GROUPS[group] if name in ON_CORE]
    others = ON_CORE if top == "endpoint" else ON_ENDPOINT
    if not everything and not is_first(simulator):
        others |= ON_FIRST_SIMULATOR
    return [name for name in GROUPS[group] if name not in others]


def block_builds_of(simulator, *, everything):
    """Builds of the tops of hard blocks for a simulator."""
    if is_first(simulator):
        return BLOCK_BUILDS + MORE_BLOCK_BUILDS * everything
    return [*BLOCK_BUILDS, ("xilinx-usp", 128)] * everything


def pytest_generate_tests(metafunc):
    everything = metafunc.config.getoption("--regress")
    if "block_top" in metafunc.fixturenames:
        metafunc.parametrize(
            "simulator, block_top, data_width",
            [
                pytest.param(simulator, top, width, id=f"{simulator}-{top}-w{width}")
                for simulator in toolchain.SIMULATORS
                for top, width in block_builds_of(simulator, everything=everything)
            ],
        )
    if "block" in metafunc.fixturenames:
        metafunc.parametrize(
            "num_fifos, data_width, block",
            [
                pytest.param(fifos, width, block, id=f"{fifos}-w{width}{''.join(block.chosen())}")
                for fifos, width, block in OPTION_BUILDS + MORE_OPTION_BUILDS * everything
            ],
        )
    if "group" not in metafunc.fixturenames:
        return
    metafunc.parametrize(
        "simulator, top, num_fifos, data_width, group",
        [
            pytest.param(
                simulator,
                top,
                fifos,
                width,
                group,
                id=f"{simulator}-{top}-f{fifos}-w{width}-{group}",
            )
            for simulator in toolchain.SIMULATORS
            for top, fifos, width in builds_of(simulator, everything=everything)
            for group in groups_of(simulator, top, everything=everything)
        ],
    )


@pytest.fixture
def everything(pytestconfig):
    """Whether ``make regress`` runs the tests."""
    return pytestconfig.getoption("--regress")


@pytest.fixture
def run(regression_seed):
    """Runs modules of the regressions on a build, all in one simulation."""

    def run(configuration, names, folder, **options):
        outcome = simulate(
            configuration,
            [f"tests.regressions.{name}" for name in names],
            BUILD_ROOT / "test" / folder,
            seed=regression_seed,
            **options,
        )
        assert outcome.tests > 0
        return outcome

    return run


def test_regression(simulator, top, num_fifos, data_width, group, everything, run):
    require_simulator(simulator)
    fewer = {} if is_first(simulator) else FEW_SCENARIOS
    run(
        build_configuration(top, num_fifos=num_fifos, data_width=data_width, simulator=simulator),
        modules(group, top, simulator, everything=everything),
        f"{simulator}-{top}-f{num_fifos}-w{data_width}-{group}",
        environment=MORE_ROUNDS if everything else fewer,
    )


def test_regression_behind_a_hard_block(simulator, block_top, data_width, everything, run):
    require_simulator(simulator)
    run(
        build_configuration(block_top, num_fifos=2, data_width=data_width, simulator=simulator),
        [BEHIND_BLOCKS],
        f"{simulator}-{block_top}-w{data_width}",
        environment=None if is_first(simulator) and everything else FEW_SCENARIOS,
    )


@pytest.mark.regress(reason="needs a build of its own")
def test_regression_with_block_options(num_fifos, data_width, block, run):
    run(
        build_configuration("core", num_fifos=num_fifos, data_width=data_width, block=block),
        FOR_BLOCKS,
        f"core-{num_fifos}-w{data_width}{''.join(block.chosen())}",
    )


@pytest.mark.regress(reason="needs a build of its own")
@pytest.mark.parametrize("top", sorted(TOPS))
def test_scenarios_with_other_shell_and_layout(top, run):
    """Other ids, two vectors for three FIFOs, other pages, another capacity."""
    run(
        build_configuration(
            top,
            num_fifos=3,
            data_width=64,
            shell=AMP_PCI_9038.name,
            layout=SMALL_PAGES.name,
        ),
        ["scenarios"],
        f"other-shell-{top}",
    )


@pytest.mark.parametrize(
    "module, test",
    [
        ("bar_access", "whole_fifo_bar_is_ram_or_reads_zero"),
        ("hostile", "writes_outside_the_queues"),
    ],
)
def test_reserved_pages_of_live_pages(module, test, run):
    outcome = run(
        build_configuration("core", layout=LIVE_PAGES.name),
        [module],
        f"live-pages-{module}",
        testcase=test,
    )
    assert outcome.tests == 1


@pytest.mark.regress(reason="needs a build of its own")
@pytest.mark.parametrize("top", sorted(TOPS))
def test_regression_with_live_pages(top, run):
    run(
        build_configuration(top, layout=LIVE_PAGES.name),
        ["bar_access", *modules("queues", top, first_simulator(), everything=True)],
        f"live-pages-{top}",
    )


@pytest.mark.regress(reason="needs a build of its own")
@pytest.mark.parametrize("top", sorted(TOPS))
def test_regression_without_the_dma_window(top, run):
    """Messages, interrupts and BARs work without it, and every completion is unexpected."""
    configuration = build_configuration(top, num_fifos=2, data_width=64, dma=False)
    names = ("bar_access", "device_queue", "driver_queue", "msix", "refused_requests")
    run(configuration, names, f"no-dma-{top}")
    outcome = run(
        configuration,
        ["counters"],
        f"no-dma-{top}/counters",
        testcase="unexpected_completions",
    )
    assert outcome.tests == 1


@pytest.mark.regress(reason="takes minutes")
def test_long_simulation_does_not_leak_memory(run):
    """Run ``flat_memory`` with enough bursts to show the smallest leak per burst."""
    outcome = run(
        build_configuration("endpoint"),
        ["flat_memory"],
        "flat-memory",
        environment={"BURSTS": "10000"},
    )
    assert outcome.tests == 1


def test_every_regression_is_run():
    folder = Path(__file__).parent / "regressions"
    with_tests = {path.stem for path in folder.glob("*.py") if "@cocotb.test" in path.read_text()}
    assert with_tests == MODULES | ELSEWHERE
    assert len(MODULES) == sum(map(len, GROUPS.values())) + 2
    assert ON_ENDPOINT | ON_CORE <= MODULES


def test_every_width_and_number_of_fifos_is_run():
    builds = builds_of(first_simulator(), everything=True)
    assert {fifos for _, fifos, _ in builds} == set(range(1, MAX_FIFOS + 1))
    for top in TOPS:
        assert {width for each, _, width in builds if each == top} == set(DATA_WIDTHS)


def test_a_simulator_is_installed():
    assert toolchain.available(), toolchain.INSTALL_HINT
    assert os.environ["SEED"]
