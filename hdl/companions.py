# SPDX-License-Identifier: BSD-2-Clause
"""Files that accompany generated Verilog: table of ports, instance template, lint waivers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Port", "companion_files", "instance", "port_table", "ports_of", "wires"]

WAIVERS = Path(__file__).parent / "lint.vlt"
CLOCK_OR_RESET = re.compile(r"(user_)?(clk|rst|reset)(_out)?|coreclkout_hip|reset_status(_n)?")


@dataclass(frozen=True)
class Port:
    """A port of a Verilog module.

    Parameters
    ----------
    name
        Name of the port.
    direction
        ``input`` or ``output``.
    bits
        Width of the port.
    """

    name: str
    direction: str
    bits: int


def ports_of(text: str, module: str) -> list[Port]:
    """Find the ports of ``module`` in Verilog ``text`` of :func:`hdl.verilog.generate`.

    Returns
    -------
    list of Port
        In the order of the module's port list.

    Raises
    ------
    ValueError
        ``text`` does not define ``module``.
    """
    definition = re.search(
        rf"^module {re.escape(module)}\((.*?)\);$(.*?)^endmodule", text, re.M | re.S
    )
    if definition is None:
        raise ValueError(f"there is no module {module}")
    order = [name.strip() for name in definition[1].split(",")]
    declared = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", definition[2], re.M)
    ports = {name: Port(name, direction, int(msb or 0) + 1) for direction, msb, name in declared}
    return [ports[name] for name in order]


def _sorted(ports: list[Port]) -> list[Port]:
    """Sort clocks and resets first, then by name, which keeps the ports of a stream together."""
    clocks = [port for port in ports if CLOCK_OR_RESET.fullmatch(port.name)]
    return clocks + sorted(set(ports) - set(clocks), key=lambda port: port.name)


def port_table(module: str, ports: list[Port]) -> str:
    """Format ``ports`` as a Markdown table."""
    rows = [f"| `{port.name}` | {port.direction} | {port.bits} |" for port in _sorted(ports)]
    head = [f"# Ports of {module}", "", "| port | direction | bits |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def instance(module: str, ports: list[Port]) -> str:
    """Format an instance that connects each port to a wire of the same name."""
    connections = ",\n".join(f"    .{port.name}({port.name})" for port in _sorted(ports))
    return f"{module} {module}_inst (\n{connections}\n);\n"


def wires(ports: list[Port]) -> str:
    """Declare the wires that :func:`instance` connects."""
    declared = [
        f"wire {f'[{port.bits - 1}:0] ' if port.bits > 1 else ''}{port.name};"
        for port in _sorted(ports)
    ]
    return "\n".join(declared) + "\n"


def waivers_of(file: str) -> str:
    """Lint waivers limited to ``file``, so that they do not apply to the rest of a design."""
    return re.sub(r"^(lint_off .*)$", rf'\1 -file "*{file}"', WAIVERS.read_text(), flags=re.M)


def companion_files(text: str, module: str, file: str) -> dict[str, str]:
    """Contents, by suffix, of the files that accompany ``text``, written to ``file``."""
    ports = ports_of(text, module)
    return {
        ".ports.md": port_table(module, ports),
        ".inst.v": f"{wires(ports)}\n{instance(module, ports)}",
        ".vlt": waivers_of(file),
    }
