# SPDX-License-Identifier: BSD-2-Clause
"""Moves registers behind a read port of a block RAM into the output register of the block RAM.

The data of a DP16KD leaves 5.8 ns after the clock (speed grade 6), and 1.0 ns after it with
``REGMODE_A`` and ``REGMODE_B`` of ``OUTREG``. Vendor tools use that register, Yosys does not.

Semantics of the primitive, from the ECP5 memory usage guide (Lattice TN1264) and Lattice's
simulation models of the DP16K family:

- The output register of a port samples the output of the array at an edge of the port's clock in
  which ``OCE`` is high, whatever ``CE`` and ``CS`` are. Ports of 36 bits use ``CLKB`` and ``OCEB``
  for all outputs.
- It is zero after configuration, as is a flip-flop whose ``REGSET`` is ``RESET``.
- ``RST`` also clears the registers of the address and the write enable, so it loses a read that a
  clear of a flip-flop behind the RAM does not lose. It remains unused, and flip-flops with a clear
  remain flip-flops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["BLOCK_RAM", "has_output_register", "use_output_registers"]

Bit = int | str
Cell = dict[str, Any]

BLOCK_RAM = "DP16KD"
FLIP_FLOP = "TRELLIS_FF"
PORT_WIDTH = 18
WIDE = 36
"""``DATA_WIDTH`` of a RAM whose outputs A and B are one read port, of side B."""

HIGH = "1"
LOW = "0"


@dataclass(frozen=True)
class _Control:
    """What the flip-flops of a port have in common."""

    clock: Bit
    enable: Bit


@dataclass(frozen=True)
class _Register:
    """A flip-flop behind an output of a block RAM."""

    output: str
    name: str
    control: _Control
    q: Bit


def use_output_registers(module: Cell) -> list[str]:
    """Use the output registers of the block RAMs of a netlist.

    A read port is converted if each of its outputs that has a load drives the data input of one
    flip-flop and nothing else, and these have the clock of the port, the same enable, no set or
    clear, and a value of zero after configuration.

    Parameters
    ----------
    module
        Module of a Yosys JSON netlist for the ECP5, which is changed in place.

    Returns
    -------
    list of str
        The converted ports, such as ``memory.0.0.B``.
    """
    netlist = _Netlist(module)
    names = [name for name, cell in netlist.cells.items() if cell["type"] == BLOCK_RAM]
    return [
        f"{name}.{port}"
        for name in names
        for port, sides in _read_ports(netlist.cells[name])
        if netlist.convert(name, port, sides)
    ]


def has_output_register(cell: Cell) -> bool:
    """Whether a read port of the block RAM uses its output register."""
    return any(cell["parameters"].get(f"REGMODE_{side}") == "OUTREG" for side in "AB")


def _read_ports(cell: Cell) -> Iterator[tuple[str, str]]:
    """The read ports: the side with the clock, and the sides with the outputs."""
    widths = {side: int(cell["parameters"][f"DATA_WIDTH_{side}"], 2) for side in "AB"}
    if WIDE in widths.values():
        # Side A of such a RAM is its write port: its clock may be another.
        yield "B", "AB"
        return
    yield from (("A", "A"), ("B", "B"))


class _Netlist:
    """A module with the loads of each net."""

    def __init__(self, module: Cell):
        self.cells: dict[str, Cell] = module["cells"]
        self._loads: dict[Bit, list[tuple[str | None, str]]] = defaultdict(list)
        for name, cell in self.cells.items():
            for port, connected in cell["connections"].items():
                # Without a direction, as on an unknown cell, a connection may be a load.
                if cell.get("port_directions", {}).get(port) != "output":
                    for bit in connected:
                        self._loads[bit].append((name, port))
        for name, port in module["ports"].items():
            for bit in port["bits"]:
                self._loads[bit].append((None, name))

    def convert(self, name: str, port: str, sides: str) -> bool:
        """Convert a read port if it qualifies."""
        ram = self.cells[name]
        registers = self._registers(ram, port, sides)
        if not registers:
            return False
        (control,) = {register.control for register in registers}
        for side in sides:
            ram["parameters"][f"REGMODE_{side}"] = "OUTREG"
            ram["connections"][f"OCE{side}"] = [control.enable]
        for register in registers:
            del self.cells[register.name]
            ram["connections"][register.output] = [register.q]
        return True

    def _registers(self, ram: Cell, port: str, sides: str) -> list[_Register]:
        """The flip-flops that the output register replaces; empty if the port does not qualify."""
        connections, parameters = ram["connections"], ram["parameters"]
        clock = _only(connections.get(f"CLK{port}"))
        if parameters.get(f"CLK{port}MUX", f"CLK{port}") != f"CLK{port}":
            return []
        if any(_only(connections.get(f"RST{side}")) != LOW for side in sides):
            return []
        if any(parameters.get(f"REGMODE_{side}", "NOREG") != "NOREG" for side in sides):
            return []
        registers = []
        for output in (f"DO{side}{index}" for side in sides for index in range(PORT_WIDTH)):
            bit = _only(connections.get(output))
            if not isinstance(bit, int) or not self._loads[bit]:
                continue
            register = self._register(output, self._loads[bit])
            if register is None or register.control.clock != clock:
                return []
            registers.append(register)
        return registers if len({register.control for register in registers}) == 1 else []

    def _register(self, output: str, loads: list[tuple[str | None, str]]) -> _Register | None:
        """The flip-flop that is the only load of an output, if it is of the right kind."""
        if len(loads) != 1:
            return None
        name, port = loads[0]
        if name is None or port != "DI":
            return None
        cell = self.cells[name]
        parameters, connections = cell["parameters"], cell["connections"]
        kind = {key: parameters.get(key, "").strip() for key in ("CLKMUX", "GSR", "REGSET")}
        if cell["type"] != FLIP_FLOP or cell["attributes"].get("keep"):
            return None
        if kind != {"CLKMUX": "CLK", "GSR": "DISABLED", "REGSET": "RESET"}:
            return None
        enable = {"1": HIGH, "CE": _only(connections.get("CE"))}.get(
            parameters.get("CEMUX", "").strip()
        )
        if enable is None or (_only(connections.get("LSR")) or LOW) != LOW:
            return None
        clock, q = _only(connections.get("CLK")), _only(connections.get("Q"))
        if clock is None or q is None:
            return None
        return _Register(output, name, _Control(clock, enable), q)


def _only(bits: list[Bit] | None) -> Bit | None:
    return bits[0] if bits else None
