# SPDX-License-Identifier: BSD-2-Clause
"""Moving lanes within a word: the barrel rotators of the ingress and the completer."""

from amaranth.hdl import Cat, Mux, Value

__all__ = ["rotate_left_lanes", "rotate_right_lanes"]


def rotate_left_lanes(value: Value, amount: Value, lane_width: int, lanes: int) -> Value:
    """``value`` with its lane 0 moved to lane ``amount``, the top lanes coming round."""
    width = lane_width * lanes
    for bit in range(len(amount)):
        shift = lane_width << bit
        value = Mux(amount[bit], Cat(value[width - shift :], value[: width - shift]), value)
    return value


def rotate_right_lanes(value: Value, amount: Value, lane_width: int, lanes: int) -> Value:
    """``value`` with its lane ``amount`` moved to lane 0, the low lanes coming round."""
    for bit in range(len(amount)):
        shift = lane_width << bit
        value = Mux(amount[bit], Cat(value[shift:], value[:shift]), value)
    return value
