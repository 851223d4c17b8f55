# SPDX-License-Identifier: BSD-2-Clause
"""Packets that can be messages, from the stream alone."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.layout import MIN_MESSAGE

from ..geometry import Geometry
from .message import message_signature

__all__ = ["PacketCheck"]


class PacketCheck(wiring.Component):
    """Checks the size of each packet, 8 bytes to a whole slot, and its ``tkeep`` for gaps.

    Attributes
    ----------
    beat : In
        Payload of a :func:`~hdl.queues.message.message_signature` stream.
    accepted : In(1)
        The beat is accepted on the edge that ends this cycle.
    first, last_word : In(1)
        The beat is the first of its packet; it fills the last word of a slot.
    malformed : Out(1)
        The packet, up to this beat, cannot be a message.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "beat": In(message_signature(geometry.data_width).members["payload"].shape),
                "accepted": In(1),
                "first": In(1),
                "last_word": In(1),
                "malformed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tkeep = self.beat.tkeep
        gap = (tkeep[1:] & ~tkeep[:-1]).any()
        too_short = self.first & ~tkeep[MIN_MESSAGE - 1]
        malformed_beat = Signal()
        malformed_q = Signal()
        with m.If(self.beat.tlast):
            m.d.comb += malformed_beat.eq(gap | ~tkeep.any() | too_short)
        with m.Else():
            m.d.comb += malformed_beat.eq(~tkeep.all() | self.last_word)
        m.d.comb += self.malformed.eq(malformed_beat | (~self.first & malformed_q))
        with m.If(self.accepted):
            m.d.sync += malformed_q.eq(self.malformed)
        return m
