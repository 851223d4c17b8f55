# SPDX-License-Identifier: BSD-2-Clause
"""Barrel rotators for the lanes of a word."""

from amaranth.hdl import Cat, Mux, Value

__all__ = ["rotate_left_lanes", "rotate_right_lanes"]


def rotate_left_lanes(value: Value, amount: Value, lane_width: int, lanes: int) -> Value:
    """Rotate ``value`` so that lane 0 moves to lane ``amount``."""
    width = lane_width * lanes
    for bit in range(len(amount)):
        shift = lane_width << bit
        value = Mux(amount[bit], Cat(value[width - shift :], value[: width - shift]), value)
    return value


def rotate_right_lanes(value: Value, amount: Value, lane_width: int, lanes: int) -> Value:
    """Rotate ``value`` so that lane ``amount`` moves to lane 0."""
    for bit in range(len(amount)):
        shift = lane_width << bit
        value = Mux(amount[bit], Cat(value[shift:], value[:shift]), value)
    return value
