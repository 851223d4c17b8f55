# SPDX-License-Identifier: BSD-2-Clause
"""Placement of the block RAMs."""

from synth.block_rams import COLUMNS, place_block_rams


def ram(*, registered=False):
    parameters = {"REGMODE_A": "NOREG", "REGMODE_B": "OUTREG" if registered else "NOREG"}
    return {"type": "DP16KD", "parameters": parameters, "connections": {}}


def placed(cells, lanes=1):
    """The site of each block RAM, by its name."""
    place_block_rams({"cells": cells}, lanes)
    return {name: cell.get("attributes", {}).get("BEL") for name, cell in cells.items()}


def row(y):
    return [f"X{x}/Y{y}/EBR{number}" for x, number in COLUMNS]


def test_few_block_rams_share_two_rows():
    assert len(set(row(70))) == 52
    sites = placed({f"ram.{n:02}": ram() for n in range(26)})
    assert list(sites.values())[::2] == row(70)[19:32]
    assert list(sites.values())[1::2] == row(82)[19:32]


def test_many_block_rams_are_divided_by_their_output_registers():
    cells = {f"late.{n:03}": ram() for n in range(10)}
    cells |= {f"early.{n:03}": ram(registered=True) for n in range(30)}
    cells["other"] = {"type": "LUT4"}
    sites = placed(cells)
    assert sites.pop("other") is None
    late = [site for name, site in sites.items() if name.startswith("late")]
    early = [site for name, site in sites.items() if name.startswith("early")]
    assert late == row(22)[21:31]
    assert early[::3] == row(46)[21:31]
    assert early[1::3] == row(70)[21:31]
    assert early[2::3] == row(82)[21:31]


def test_more_than_there_are_places_are_left_to_nextpnr():
    early = {f"early.{n:03}": ram(registered=True) for n in range(156)}
    late = {f"late.{n:03}": ram() for n in range(52)}
    assert len(set(placed(early | late).values())) == 208
    for more in ({"early.156": ram(registered=True)}, {"late.052": ram()}):
        cells = {f"early.{n:03}": ram(registered=True) for n in range(156)}
        cells |= {f"late.{n:03}": ram() for n in range(52)} | more
        assert set(placed(cells).values()) == {None}


def test_the_same_place_of_each_lane_is_side_by_side():
    ordered = [f"core.bank.0.{part}" for part in (0, 2, 4, 6, 1, 3, 5, 7)]
    ordered += ["core.window.x.0.0", "core.window.x.0.1"]
    sites = placed({name: ram() for name in sorted(ordered)}, lanes=4)
    left = row(70)[23:28], row(82)[23:28]
    assert [sites[name] for name in ordered] == [
        site for pair in zip(*left, strict=True) for site in pair
    ]
