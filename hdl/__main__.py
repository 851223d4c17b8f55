# SPDX-License-Identifier: BSD-2-Clause
"""``python -m hdl``: write a top as Verilog."""

import argparse
import sys
from pathlib import Path

from models import __version__
from models.layout import LAYOUTS, SPSC_PAGES
from models.shell import AMP_PCI, MAX_FIFOS, SHELLS

from .block_options import BlockOptions
from .companions import companion_files
from .dma.limits import COMPLETION_TIMEOUT
from .tlp import DATA_WIDTHS
from .verilog import MODULE_NAMES, SHIMS, TOPS, generate


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and write the Verilog. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hdl", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--top", choices=sorted(TOPS | SHIMS), default="endpoint")
    parser.add_argument(
        "--fifos", type=int, default=1, metavar=f"1..{MAX_FIFOS}", help="number of FIFOs"
    )
    parser.add_argument(
        "--data-width",
        type=int,
        choices=DATA_WIDTHS,
        help="bits per beat of the streams; default: 128, or the least that the block supports",
    )
    parser.add_argument(
        "--completion-timeout",
        type=int,
        default=COMPLETION_TIMEOUT,
        metavar="CYCLES",
        help="cycles until an unanswered read of host memory fails; default: %(default)s",
    )
    parser.add_argument(
        "--shell", choices=SHELLS, default=AMP_PCI.name, help="PCI ids, BARs and vectors"
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=SPSC_PAGES.name,
        help="offsets of the queues, and which pages are RAM",
    )
    parser.add_argument("--no-dma", action="store_true", help="omit the DMA window")
    BlockOptions.add_arguments(parser)
    parser.add_argument("--name", help="name of the module and prefix of its submodules' names")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="Verilog file to write, with a table of ports, an instance and lint waivers next to "
        "it; default: standard output, Verilog only",
    )
    options = parser.parse_args(arguments)
    try:
        text = generate(
            options.top,
            num_fifos=options.fifos,
            data_width=options.data_width,
            completion_timeout=options.completion_timeout,
            shell=SHELLS[options.shell],
            layout=LAYOUTS[options.layout],
            dma=not options.no_dma,
            block=BlockOptions.of(options),
            name=options.name,
        )
    except ValueError as error:
        print(f"python -m hdl: {error}", file=sys.stderr)
        return 1
    if options.output is None:
        print(text, end="")
        return 0
    module = options.name or MODULE_NAMES[options.top]
    _write(options.output, text)
    for suffix, content in companion_files(text, module, options.output.name).items():
        _write(options.output.with_suffix(suffix), content)
    return 0


def _write(path: Path, content: str) -> None:
    # Keep the timestamp of an unchanged file, so that simulators do not rebuild.
    if not path.exists() or path.read_text() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    sys.exit(main())
