# SPDX-License-Identifier: BSD-2-Clause
"""When what was made to former settings has left a shim, as well as the core in it."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.config_space import SETTLING_CYCLES

from ..arbiter import PacketArbiter
from ..departures import DepartureTracker

__all__ = ["ShimSettling", "follow"]

MORE_CYCLES = 2
"""The pins of the core are heard a little later than those of the shim."""


class ShimSettling(wiring.Component):
    """Follows the packets between the core and the block.

    Parameters
    ----------
    setting_bits : int
        Of all settings that packets are made to.
    most : int
        Packets at once between the core and the block.

    Attributes
    ----------
    settings : In(setting_bits)
        As the core hears them.
    reset : In(1)
        One-cycle pulse: the function is reset.
    core_settled : In(1)
        ``status_config_settled`` of the core.
    entered : In(1), departed : In(1)
        A packet's beginning is taken from the core; a packet's end by the block, the oldest one's.
    former : Out(1)
        A packet that was made to former settings, or before a reset, is in the shim.
    settled : Out(1)
        ``status_config_settled`` of the shim.
    """

    def __init__(self, setting_bits: int, *, most: int):
        self._most = most
        super().__init__(
            {
                "settings": In(setting_bits),
                "reset": In(1),
                "core_settled": In(1),
                "entered": In(1),
                "departed": In(1),
                "former": Out(1),
                "settled": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tracker = tracker = DepartureTracker(self._most)
        was = Signal.like(self.settings)
        lately = Signal(SETTLING_CYCLES + MORE_CYCLES)
        changed = (was != self.settings) | self.reset
        m.d.sync += [was.eq(self.settings), lately.eq(Cat(changed, lately))]
        m.d.comb += [
            tracker.planned.eq(self.entered),
            tracker.departed.eq(self.departed),
            tracker.fell.eq(changed | lately.any() | ~self.core_settled),
            self.former.eq(tracker.former),
            self.settled.eq(self.core_settled & ~tracker.former),
        ]
        return m


def follow(
    m: Module, core: Any, arbiter: PacketArbiter, *, departed: Value, most: int
) -> ShimSettling:
    """Follow what ``arbiter`` takes from the core until it has ``departed``; ``reset`` is to be
    joined. Other arguments are as for :class:`ShimSettling`."""
    settings = Cat(
        core.max_payload_size,
        core.max_read_request_size,
        core.bus_master_enable,
        core.msix_enable,
        core.msix_mask,
    )
    m.submodules.settling = settling = ShimSettling(len(settings), most=most)
    begins = (offer.valid & offer.ready & offer.p.sop for offer in arbiter.i)
    m.d.comb += [
        settling.settings.eq(settings),
        settling.core_settled.eq(core.status_config_settled),
        settling.entered.eq(Cat(*begins).any()),
        settling.departed.eq(departed),
    ]
    return settling
