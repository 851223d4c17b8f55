# SPDX-License-Identifier: BSD-2-Clause
"""Completion timeout of the oldest read (PCI Express Base 4.0 section 2.8)."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .limits import TAGS, check_completion_timeout
from .read_interfaces import TAG_BITS

__all__ = ["CompletionTimer"]


class CompletionTimer(wiring.Component):
    """Expires when the oldest read has been outstanding for too long.

    Only the oldest read is timed, as the others wait behind it.

    Parameters
    ----------
    cycles : int
        Completion timeout, 64 or more.

    Attributes
    ----------
    sent : In(1)
        One-cycle pulse: the read with ``sent_tag`` departed.
    sent_tag : In(TAG_BITS)
        Its tag.
    old_tag : In(TAG_BITS)
        Tag of the oldest read.
    outstanding : In(TAGS)
        A bit for each tag: its read is outstanding.
    changes : In(1)
        ``old_tag`` or the state of a read changes on the edge that ends this cycle.
    disable : In(1)
        Completion Timeout Disable of Device Control 2.
    expired : Out(1)
        The oldest read has timed out.

    Raises
    ------
    ValueError
        ``cycles`` is out of range; the text says what is allowed.
    """

    def __init__(self, cycles: int):
        self._cycles = check_completion_timeout(cycles)
        super().__init__(
            {
                "sent": In(1),
                "sent_tag": In(TAG_BITS),
                "old_tag": In(TAG_BITS),
                "outstanding": In(TAGS),
                "changes": In(1),
                "disable": In(1),
                "expired": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Count in ticks of about two per cent of the timeout; the tick in progress may or may not
        # count.
        ticks = max(self._cycles.bit_length() - 7, 0)
        limit = -(-self._cycles >> ticks) + 1
        now = Signal(ticks + 8)
        m.d.sync += now.eq(now + 1)
        m.submodules.sent_at = sent_at = memory.Memory(shape=8, depth=TAGS, init=[])
        store, look_up = sent_at.write_port(), sent_at.read_port(domain="comb")
        m.d.comb += [
            store.addr.eq(self.sent_tag),
            store.data.eq(now[ticks:]),
            store.en.eq(self.sent),
            look_up.addr.eq(self.old_tag),
        ]
        elapsed = Signal(8)
        outstanding_q = Signal()
        overdue = Signal()
        # `overdue` lags by two cycles: ignore it for two cycles after the oldest read may have
        # changed.
        changes_q = Signal(2)
        m.d.sync += [
            elapsed.eq(now[ticks:] - look_up.data),
            outstanding_q.eq(self.outstanding.bit_select(self.old_tag, 1)),
            overdue.eq(outstanding_q & (elapsed >= limit)),
            changes_q.eq(Cat(self.changes, changes_q)),
        ]
        m.d.comb += self.expired.eq(overdue & ~changes_q.any() & ~self.disable)
        return m
