# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim bench``: exact cycle counts, limits and report."""

import json
from pathlib import Path

import pytest
from builds import BUILDS, build_configuration, require_simulator

from figures import baseline
from hdl.tlp import DATA_WIDTHS
from hdl.verilog import TOPS
from models.shell import MAX_FIFOS
from sim import toolchain
from sim.build import BUILD_ROOT, BuildConfiguration
from sim.lab.bench import command
from sim.lab.bench.bounds import FIGURES
from sim.lab.bench.bridge import MIN_RATIO
from sim.lab.bench.native import LIMITS as NATIVE_LIMITS
from sim.run import SimulationError

MINUTES = pytest.mark.regress(reason="counts cycles for minutes")
EXPECTED = baseline.load(Path(__file__).parents[3] / baseline.BASELINE)["cycles"]


def check(top, fifos, width, simulator=None):
    configuration = build_configuration(top, num_fifos=fifos, data_width=width, simulator=simulator)
    name = f"bench-{simulator or 'best'}-{top}-{fifos}-{width}"
    measured = command.measure(configuration, BUILD_ROOT / "test" / name)
    expected = EXPECTED[top][str(width)]
    if fifos > 1:
        # The doorbell of one of them is selected first.
        expected = {
            key: value + (key in ("doorbell_to_stream_cycles", "doorbell_to_msix_cycles"))
            for key, value in expected.items()
        }
    # The baseline has six digits.
    assert measured["one"] == pytest.approx(expected, rel=1e-5)
    assert all(entry["ok"] for entry in command.check_figures(measured["one"], width).values())
    if fifos > 1:
        rates = {key: measured["every"][key] for key in command.RATE_KEYS}
        assert all(entry["ok"] for entry in command.check_figures(rates, width).values())


@MINUTES
@pytest.mark.parametrize("top", sorted(BUILDS))
def test_cycle_counts_match_baseline(top):
    """On builds of several FIFOs, one FIFO is as fast as on a build of one, except for a cycle of
    the doorbell."""
    check(top, *BUILDS[top])


@MINUTES
@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("top", sorted(TOPS))
def test_cycle_counts_of_every_width_match_baseline(top, width):
    check(top, 1, width)


@MINUTES
def test_icarus_counts_the_same_cycles():
    require_simulator("icarus")
    check("core", 1, 256, "icarus")


def values_at_bound(width):
    return {figure.key: figure.bound(width) for figure in FIGURES}


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_bound_is_within_limit(width):
    checked = command.check_figures(values_at_bound(width), width)
    assert set(checked) == {figure.key for figure in FIGURES}
    assert all(entry["ok"] for entry in checked.values())


def test_limits_at_128_bits():
    limits = {figure.key: figure.limit(128) for figure in FIGURES}
    assert limits == pytest.approx(
        {
            "pop_cycles_per_message": 4.2,
            "push_cycles_per_message": 4.2,
            "both_cycles_per_message": 4.4,
            "host_cycles_per_message": 6.3,
            "doorbell_to_stream_cycles": 6,
            "stream_to_msix_cycles": 6,
            "doorbell_to_msix_cycles": 16,
            "mmio_read_cycles": 6,
            "read_bytes_per_cycle": 13,
            "dma_read_bytes_per_cycle": 14,
            "dma_write_bytes_per_cycle": 14,
        }
    )
    bounds = [figure.bound(128) for figure in FIGURES]
    assert bounds == [4, 4, 4, 6, 3, 2, 8, 2, 16, 16, 16]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Replaces measurements by figures: the bounds, unless a test changes them."""
    figures = {width: values_at_bound(width) for width in DATA_WIDTHS}

    class InlineExecutor:
        def __init__(self, jobs):
            assert jobs == 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def submit(self, function, *arguments):
            value = function(*arguments)
            return type("Done", (), {"result": lambda self: value})()

    def measure(configuration, folder):
        one = {**figures[configuration.data_width], "push_interrupts": 61}
        every = {"every": one} if configuration.num_fifos == MAX_FIFOS else {}
        return {"one": one, **every}

    speed = {"cycles_per_second": 10, "messages_per_second": 2.0, "bytes_per_second": 5.0}
    fast = {key: 20 * value for key, value in speed.items()}
    monkeypatch.setattr(command, "ProcessPoolExecutor", InlineExecutor)
    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(
        command, "_simulation_speed", lambda *_: dict.fromkeys(command.SPEEDS, speed)
    )
    rates = {"reads_per_s": 100, "writes_per_s": 200}
    shares = {"reads_ratio": MIN_RATIO, "writes_ratio": MIN_RATIO}
    native = {"reads_ratio": 0.5, "writes_ratio": 0.5, "idle": 0.0}
    bridge = {"memory": rates, "native": rates | native, "verilator": rates | shares}
    monkeypatch.setattr(
        command, "measure_native", lambda: dict.fromkeys(("messages", "dma", "blocks"), fast)
    )
    monkeypatch.setattr(command, "profile_blocks", lambda: {"gateware": 1.0})
    monkeypatch.setattr(command, "measure_bridge", lambda *_: bridge)
    monkeypatch.setattr(command, "BUILD_ROOT", tmp_path)
    return figures, bridge, tmp_path / "bench" / "report.json"


def test_report_of_passing_bench(fake):
    _, _, path = fake
    assert command.run_bench() == 0
    report = json.loads(path.read_text())
    assert report["ok"] and not report["failures"]
    assert set(report["widths"]) == set(report["core"]["widths"]) == set(map(str, DATA_WIDTHS))
    for entry in report["widths"]["128"].values():
        assert entry["value"] == entry["bound"]
    assert set(report["simulation"]) == set(toolchain.available())
    ratios = {key: report["native"][key] for key in NATIVE_LIMITS}
    assert ratios == dict(zip(NATIVE_LIMITS, (0.5, 0.5, 20, 20, 20), strict=True))


@pytest.mark.parametrize(
    "key, value", [("mmio_read_cycles", 7), ("dma_read_bytes_per_cycle", 13.9)]
)
def test_missed_limit_fails_command(fake, capsys, key, value):
    figures, _, path = fake
    figures[128][key] = value
    assert command.run_bench() == 1
    report = json.loads(path.read_text())
    assert not report["ok"]
    assert f"endpoint, 128 bits: {key} is {value}" in " ".join(report["failures"])
    assert not report["widths"]["128"][key]["ok"]
    assert "missed:" in capsys.readouterr().out


def test_slow_bridge_fails_command(fake):
    _, bridge, path = fake
    bridge["verilator"]["reads_ratio"] = 0.039
    assert command.run_bench() == 1
    assert json.loads(path.read_text())["failures"] == [
        f"bridge on verilator: reads_ratio is 0.039, must reach {MIN_RATIO:g}"
    ]


def test_slow_native_engine_fails_command(fake):
    _, bridge, path = fake
    bridge["native"] |= {"writes_ratio": 0.29, "idle": 0.1}
    assert command.run_bench() == 1
    assert json.loads(path.read_text())["failures"] == [
        "native engine: posted_writes_of_memory is 0.29, must reach 0.3",
        "native engine: an idle server takes 0.1 of a processor, at most 0.02",
    ]


def test_failed_measurement_raises_error(monkeypatch, tmp_path):
    def simulate(*_, **__):
        raise SimulationError("1 of 1 tests failed")

    monkeypatch.setattr(command, "simulate", simulate)
    with pytest.raises(SimulationError, match="1 of 1"):
        command.measure(BuildConfiguration(), tmp_path)
