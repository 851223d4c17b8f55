# SPDX-License-Identifier: BSD-2-Clause
"""FuseSoC generator that writes a core with one top.

A script, not a module: FuseSoC runs it with the name of a YAML file, in the output folder. The
generators are declared in ``virtio-msg-amp.core``; cores that depend on it can use them, too.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def options_of(parameters: dict[str, Any]) -> list[str]:
    """Command line of ``python -m hdl`` for the parameters of a generator."""
    options = []
    for name, value in parameters.items():
        if value is True:
            options.append(f"--{name}")
        elif value is not False:
            options.append(f"--{name}={value}")
    return options


def write_core(name: str, parameters: dict[str, Any], folder: Path) -> int:
    """Write the core called ``name`` and its files to ``folder``. Returns the exit status."""
    # Replace the script's own folder, whose modules are not top-level ones.
    sys.path[0] = str(ROOT)
    from hdl.__main__ import main
    from hdl.verilog import MODULE_NAMES

    top = parameters.get("top", "endpoint")
    module = parameters.get("name", MODULE_NAMES.get(top, top))
    verilog = folder / f"{module}.v"
    status = main([*options_of(parameters), f"--output={verilog}"])
    if status:
        return status
    waivers = verilog.with_suffix(".vlt")
    core = {
        "name": name,
        "filesets": {
            "rtl": {
                "files": [
                    {verilog.name: {"file_type": "verilogSource"}},
                    {waivers.name: {"file_type": "vlt"}},
                ]
            }
        },
        "targets": {"default": {"filesets": ["rtl"]}},
    }
    (folder / f"{module}.core").write_text(f"CAPI=2:\n{yaml.safe_dump(core, sort_keys=False)}")
    # Hide the core from library scans: the build folder may be inside a library.
    (folder / "FUSESOC_IGNORE").touch()
    return 0


if __name__ == "__main__":
    request = yaml.safe_load(Path(sys.argv[1]).read_text())
    sys.exit(write_core(request["vlnv"], request["parameters"] or {}, Path.cwd()))
