# SPDX-License-Identifier: BSD-2-Clause
"""``python -m hdl``: write a top as Verilog."""

import argparse
import sys
from pathlib import Path

from models.layout import LAYOUTS, SPSC_PAGES
from models.shell import AMP_PCI, MAX_FIFOS, SHELLS

from .block_options import BlockOptions
from .dma.limits import COMPLETION_TIMEOUT
from .tlp import DATA_WIDTHS
from .verilog import TOPS, generate


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and write the file. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hdl", description=__doc__)
    parser.add_argument("--top", choices=sorted(TOPS), default="endpoint")
    parser.add_argument(
        "--fifos", type=int, default=1, metavar=f"1..{MAX_FIFOS}", help="number of FIFOs"
    )
    parser.add_argument(
        "--data-width", type=int, choices=DATA_WIDTHS, default=128, help="bits of the streams"
    )
    parser.add_argument(
        "--completion-timeout",
        type=int,
        default=COMPLETION_TIMEOUT,
        metavar="CYCLES",
        help="until a read of host memory without an answer fails; default: %(default)s",
    )
    parser.add_argument(
        "--shell", choices=SHELLS, default=AMP_PCI.name, help="ids, BARs and vectors"
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, default=SPSC_PAGES.name, help="where the queues are"
    )
    parser.add_argument("--no-dma", action="store_true", help="no window onto host memory")
    BlockOptions.add_arguments(parser)
    parser.add_argument("--name", help="of the module; its submodules' names begin with it")
    parser.add_argument("-o", "--output", type=Path, help="file to write; default: standard output")
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
    elif not options.output.exists() or options.output.read_text() != text:
        # An unchanged file keeps its time stamp, and the simulator its build.
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
