# SPDX-License-Identifier: BSD-2-Clause
"""Tracks when the packets made under former settings have left a shim and its core."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.config_space import SETTLING_CYCLES

from ..arbiter import PacketArbiter
from ..departures import DepartureTracker

__all__ = ["ShimSettling", "track_packets"]

CORE_DELAY = 2
"""Extra cycles for the delay between the pins of the shim and those of the core."""


class ShimSettling(wiring.Component):
    """Tracks the packets between the core and the hard block.

    Parameters
    ----------
    setting_bits : int
        Bits of all settings that packets depend on.
    max_packets : int
        Maximum number of packets between the core and the block.

    Attributes
    ----------
    settings : In(setting_bits)
        Settings, as the core receives them.
    reset : In(1)
        One-cycle pulse: the function is reset.
    core_settled : In(1)
        ``status_config_settled`` of the core.
    entered : In(1)
        One-cycle pulse: the first beat of a packet is accepted from the core.
    departed : In(1)
        One-cycle pulse: the block accepts the last beat of the oldest packet.
    former : Out(1)
        The shim holds a packet made under former settings or before a reset.
    settled : Out(1)
        ``status_config_settled`` of the shim.
    """

    def __init__(self, setting_bits: int, *, max_packets: int):
        self._max_packets = max_packets
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
        m.submodules.tracker = tracker = DepartureTracker(self._max_packets)
        settings_q = Signal.like(self.settings)
        changed_q = Signal(SETTLING_CYCLES + CORE_DELAY)
        changed = (settings_q != self.settings) | self.reset
        m.d.sync += [settings_q.eq(self.settings), changed_q.eq(Cat(changed, changed_q))]
        m.d.comb += [
            tracker.planned.eq(self.entered),
            tracker.departed.eq(self.departed),
            tracker.fell.eq(changed | changed_q.any() | ~self.core_settled),
            self.former.eq(tracker.former),
            self.settled.eq(self.core_settled & ~tracker.former),
        ]
        return m


def track_packets(
    m: Module, core: Any, arbiter: PacketArbiter, *, departed: Value, max_packets: int
) -> ShimSettling:
    """Track the packets that ``arbiter`` accepts from the core until they have ``departed``.

    The caller connects ``reset``. ``max_packets`` is as in :class:`ShimSettling`.
    """
    settings = Cat(
        core.max_payload_size,
        core.max_read_request_size,
        core.bus_master_enable,
        core.msix_enable,
        core.msix_mask,
    )
    m.submodules.settling = settling = ShimSettling(len(settings), max_packets=max_packets)
    begins = (offer.valid & offer.ready & offer.p.sop for offer in arbiter.i)
    m.d.comb += [
        settling.settings.eq(settings),
        settling.core_settled.eq(core.status_config_settled),
        settling.entered.eq(Cat(*begins).any()),
        settling.departed.eq(departed),
    ]
    return settling
