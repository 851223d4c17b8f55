# SPDX-License-Identifier: BSD-2-Clause
"""FuseSoC's generator: a core of one top, as ``virtio-msg-amp.core`` or who depends on it asks.

A script and no module: FuseSoC runs it with the name of a YAML file, in the folder that is to have
the core.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def options_of(parameters: dict[str, Any]) -> list[str]:
    """The command line of ``python -m hdl`` for the parameters of a generator."""
    options = []
    for name, value in parameters.items():
        if value is True:
            options.append(f"--{name}")
        elif value is not False:
            options.append(f"--{name}={value}")
    return options


def write_core(name: str, parameters: dict[str, Any], folder: Path) -> int:
    """Write the core called ``name`` and its files to ``folder``. Returns the exit status."""
    # Python has put this file's own folder there.
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
    # The build folder may be in a library, which would have this core from then on.
    (folder / "FUSESOC_IGNORE").touch()
    return 0


if __name__ == "__main__":
    request = yaml.safe_load(Path(sys.argv[1]).read_text())
    sys.exit(write_core(request["vlnv"], request["parameters"] or {}, Path.cwd()))
