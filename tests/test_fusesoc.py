# SPDX-License-Identifier: BSD-2-Clause
"""FuseSoC generates each target of ``virtio-msg-amp.core``, and what another core requests."""

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from hdl.companions import ports_of
from hdl.verilog import MODULE_NAMES, default_data_width
from models import __version__
from sim import toolchain

pytest.importorskip("fusesoc", reason="FuseSoC is not installed: run make setup")
yaml = pytest.importorskip("yaml", reason="FuseSoC brings PyYAML")

ROOT = Path(__file__).resolve().parent.parent
DATA_PORTS = {
    "core": "rx_req_tlp_data",
    "endpoint": "rx_tlp_data",
    "intel-ptile": "rx_st_data",
    "intel-s10": "rx_st_data",
    "xilinx-7": "m_axis_rx_tdata",
    "xilinx-us": "m_axis_cq_tdata",
    "xilinx-usp": "m_axis_cq_tdata",
}
"""For each top, a port as wide as its streams."""
QUICK = ("xilinx-7",)
"""Targets that ``make test`` runs besides the one for lint, which is the endpoint's."""

CARD = """CAPI=2:
name: ::card:1.0
filesets:
  endpoint:
    depend: [virtio-msg-amp]
generate:
  endpoint:
    generator: virtio-msg-amp
    parameters:
      top: core
      name: card_endpoint
      fifos: 3
      data-width: 64
      layout: small-pages
      shell: amp-pci-9038
      completion-timeout: 5000
      no-dma: true
      force-64-bit-addresses: true
      ignore-bus-number: true
      separate-msix: true
      sequence-numbers: false
targets:
  default:
    filesets: [endpoint]
    generate: [endpoint]
    toplevel: card_endpoint
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
"""
"""A core that generates its own endpoint."""


def fusesoc(folder, *arguments):
    """Run FuseSoC in ``folder``, which is also a library; return the completed process."""
    # FuseSoC finds this interpreter in PATH.
    toolchain.add_own_programs()
    (folder / "fusesoc.conf").touch()
    program = Path(sys.executable).parent / "fusesoc"
    libraries = ["--cores-root", str(ROOT), "--cores-root", str(folder)]
    command = [str(program), "--config", str(folder / "fusesoc.conf"), *libraries, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def set_up(folder, core, target, *stages):
    """Run FuseSoC on a target; return the files of its work folder by suffix, and the log."""
    work = folder / "work"
    completed = fusesoc(folder, "run", *stages, "--target", target, "--work-root", str(work), core)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    files = list(work.glob("src/*/*"))
    files_by_suffix = {path.suffix: path for path in files}
    assert len(files_by_suffix) == len(files) == 2
    return files_by_suffix, completed.stdout + completed.stderr


def waivers_match(files):
    """Whether each waiver applies to the Verilog beside it, and to nothing else."""
    lines = files[".vlt"].read_text().splitlines()
    waivers = [line for line in lines if line.startswith("lint_off")]
    return waivers and all(line.endswith(f'-file "*{files[".v"].name}"') for line in waivers)


def test_every_top_has_a_target():
    core = yaml.safe_load((ROOT / "virtio-msg-amp.core").read_text().partition("\n")[2])
    targets = {name: target for name, target in core["targets"].items() if target}
    endpoint = targets["endpoint"]
    assert targets.pop("lint") == {**endpoint, "description": mock.ANY}
    assert {name: target["toplevel"] for name, target in targets.items()} == MODULE_NAMES
    for top, target in targets.items():
        assert target["generate"] == [top]
        assert core["generate"][top]["parameters"] == {"top": top}


@pytest.mark.parametrize(
    "top",
    [
        *QUICK,
        *(
            pytest.param(top, marks=pytest.mark.regress(reason="differs only in names"))
            for top in sorted(set(MODULE_NAMES) - set(QUICK))
        ),
    ],
)
def test_target_generates_its_top(top, tmp_path):
    module = MODULE_NAMES[top]
    files, _ = set_up(tmp_path, "virtio-msg-amp", top, "--setup")
    assert files[".v"].name == f"{module}.v" and waivers_match(files)
    text = files[".v"].read_text()
    width = default_data_width(top)
    assert f" python -m hdl --top {top} --fifos 1 --data-width {width} " in text.splitlines()[1]
    ports = {port.name: port.bits for port in ports_of(text, module)}
    assert ports[DATA_PORTS[top]] == width and ports["s_axi_dma_wdata"] == width
    # The tool receives the waivers before the Verilog.
    script = next(tmp_path.glob("work/*.vc")).read_text().split()
    sources = [word for word in script if word.startswith("src/")]
    assert [Path(source).suffix for source in sources] == [".vlt", ".v"]
    assert script[-2:] == ["--top-module", module]


def test_lint_target_passes(tmp_path):
    if "verilator" not in toolchain.available():
        pytest.skip("Verilator is not installed")
    files, log = set_up(tmp_path, "virtio-msg-amp", "lint")
    assert "verilator -f" in log and "%Warning" not in log
    assert files[".v"].name == f"{MODULE_NAMES['endpoint']}.v" and waivers_match(files)


def test_another_core_sets_every_parameter(tmp_path):
    """Every parameter takes effect, and the next run does not list the generated core."""
    (tmp_path / "card.core").write_text(CARD)
    stages = [] if "verilator" in toolchain.available() else ["--setup"]
    files, _ = set_up(tmp_path, "card", "default", *stages)
    assert files[".v"].name == "card_endpoint.v" and waivers_match(files)
    text = files[".v"].read_text()
    assert text.splitlines()[1].endswith(
        ": python -m hdl --top core --fifos 3 --data-width 64 --completion-timeout 5000 "
        "--shell amp-pci-9038 --layout small-pages --no-dma --force-64-bit-addresses "
        "--ignore-bus-number --separate-msix --name card_endpoint"
    )
    ports = {port.name: port.bits for port in ports_of(text, "card_endpoint")}
    assert ports["rx_req_tlp_data"] == 64 and ports["doorbell"] == 3
    assert "tx_msix_wr_req_tlp_data" in ports and "s_axi_dma_wdata" not in ports
    listed = fusesoc(tmp_path, "list-cores").stdout
    assert "::card:1.0" in listed and f"::virtio-msg-amp:{__version__}" in listed
    assert "card-endpoint" not in listed


@pytest.mark.parametrize(
    "parameter, complaint",
    [("fifos: 9", "must be an integer from 1 to 8"), ("fifo-count: 2", "unrecognized arguments")],
)
def test_invalid_parameter_is_refused(parameter, complaint, tmp_path):
    (tmp_path / "card.core").write_text(CARD.replace("fifos: 3", parameter))
    completed = fusesoc(tmp_path, "run", "--setup", "card")
    assert completed.returncode and complaint in completed.stdout + completed.stderr
    assert not list(tmp_path.glob("**/*.v"))
