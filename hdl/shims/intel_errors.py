# SPDX-License-Identifier: BSD-2-Clause
"""Error reports to Intel's hard blocks.

Sources: user guides, P-Tile (683059) "Error Interface", L- and H-Tile (683111) "Transaction Layer
Configuration Space Interface", ``app_err_*``.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ErrorReporter"]

CAUSES = {
    "unsupported_posted": 1 << 5,
    "unsupported_non_posted": 1 << 5 | 1 << 10,
    "poisoned": 1 << 6,
    "unexpected": 1 << 2,
    "timeout": 1 << 4,
}
"""``app_err_info`` for each input. Non-posted requests get a completion, so their error is
advisory."""
HEADER_CYCLES = 4
"""Cycles of a report: those in which a header would follow."""


class ErrorReporter(wiring.Component):
    """Reports errors one at a time; repeated errors of a pending cause are merged into one report.

    Parameters
    ----------
    info_bits : int
        Bits of ``app_err_info``, 11 or more.

    Attributes
    ----------
    unsupported_posted, unsupported_non_posted, poisoned, unexpected, timeout : In(1)
        One-cycle pulses: an error of that cause.
    app_err_valid : Out(1)
        One-cycle pulse: a report.
    app_err_info : Out(info_bits)
        Cause, with ``app_err_valid``.

    Raises
    ------
    ValueError
        ``info_bits`` is less than 11.
    """

    def __init__(self, info_bits: int):
        needed = max(info.bit_length() for info in CAUSES.values())
        if info_bits < needed:
            raise ValueError(f"info_bits is {info_bits}: must be {needed} or more")
        super().__init__(
            {
                **dict.fromkeys(CAUSES, In(1)),
                "app_err_valid": Out(1),
                "app_err_info": Out(info_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        busy = Signal(range(HEADER_CYCLES))
        pending_errors = {name: Signal(name=f"pending_{name}") for name in CAUSES}
        for name, pending in pending_errors.items():
            with m.If(getattr(self, name)):
                m.d.sync += pending.eq(1)
        m.d.sync += [self.app_err_valid.eq(0), self.app_err_info.eq(0)]
        with m.If(busy != 0):
            m.d.sync += busy.eq(busy - 1)
        # A pulse in the cycle in which its cause is reported stays pending.
        for number, (name, pending) in enumerate(pending_errors.items()):
            with (m.Elif if number else m.If)((busy == 0) & pending):
                m.d.sync += [
                    self.app_err_valid.eq(1),
                    self.app_err_info.eq(CAUSES[name]),
                    busy.eq(HEADER_CYCLES - 1),
                    pending.eq(getattr(self, name)),
                ]
        return m
