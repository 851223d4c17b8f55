# SPDX-License-Identifier: BSD-2-Clause
"""Read half of the DMA window: AXI read bursts to memory reads, completions to AXI."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..errors import COMPLETION_ERRORS, ErrorPulses
from ..geometry import Geometry
from ..interfaces import FunctionControl
from ..tlp import completion_signature, header_signature
from .axi import address_channel, read_data_channel
from .completion_room import CompletionRoom
from .completion_timer import CompletionTimer
from .completions import CompletionReceiver
from .read_buffer import ReadBuffer
from .read_interfaces import RECEIVED_ERRORS
from .read_issue import ReadIssuer
from .read_return import ReadReturn
from .read_tags import ReadTags

__all__ = ["ReadRequester"]


class ReadRequester(wiring.Component):
    """Issues memory reads, up to :data:`~hdl.dma.limits.TAGS` outstanding, and returns their data.

    Each tag has buffer space for all of its data, so completions never stall.

    Parameters
    ----------
    geometry : Geometry
        Widths and addresses.
    completion_timeout : int
        Cycles from the departure of a read until it fails, 64 or more. Only the oldest read is
        timed: a read behind others may fail later.

    Attributes
    ----------
    ar : In(address_channel())
        AR channel.
    r : Out(read_data_channel(data_width))
        R channel.
    o : Out(header_signature())
        Memory reads.
    completions : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    control : In(FunctionControl())
        Settings of the function. During its reset, every read fails and its completions become
        unexpected.
    failed : Out(1)
        One-cycle pulse: a failed read is answered with SLVERR.
    errors : Out(ErrorPulses(COMPLETION_ERRORS))
        Errors of completions.
    outstanding : Out(1)
        A read has departed that is neither fully answered nor timed out.
    former : Out(1)
        As in :class:`~hdl.dma.read_issue.ReadIssuer`.

    Raises
    ------
    ValueError
        ``completion_timeout`` is out of range; the text says what is allowed.
    """

    def __init__(self, geometry: Geometry, *, completion_timeout: int):
        self._geometry = geometry
        self._timer = CompletionTimer(completion_timeout)
        super().__init__(
            {
                "ar": In(address_channel()),
                "r": Out(read_data_channel(geometry.data_width)),
                "o": Out(header_signature()),
                "completions": In(completion_signature(geometry.data_width)),
                "control": In(FunctionControl()),
                "failed": Out(1),
                "errors": Out(ErrorPulses(COMPLETION_ERRORS)),
                "outstanding": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, control = self._geometry, self.control
        m.submodules.issuer = issuer = ReadIssuer(g)
        m.submodules.receiver = receiver = CompletionReceiver(g)
        m.submodules.returner = returner = ReadReturn(g)
        m.submodules.tags = tags = ReadTags()
        m.submodules.timer = timer = self._timer
        m.submodules.buffer = buffer = ReadBuffer(g)
        wiring.connect(m, wiring.flipped(self.ar), issuer.ar)
        wiring.connect(m, issuer.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.completions), receiver.i)
        wiring.connect(m, receiver.outcome, tags.outcome)
        wiring.connect(m, receiver.buffer, buffer.write)
        wiring.connect(m, returner.buffer, buffer.read)
        wiring.connect(m, returner.r, wiring.flipped(self.r))

        # Registered: the fan-out is high, the route from the source long, and a cycle later is
        # early enough.
        reset = Signal()
        m.d.sync += [reset.eq(control.reset), self.outstanding.eq(tags.outstanding.any())]
        m.d.comb += [
            issuer.reset.eq(control.reset),
            issuer.bus_master_enable.eq(control.bus_master_enable),
            issuer.requester_id.eq(control.requester_id),
            issuer.max_read_request_size.eq(control.max_read_request_size),
            issuer.tag_free.eq(
                tags.free & ~receiver.expectation.busy & self._has_space(m, issuer, tags)
            ),
            issuer.tag.eq(tags.new_tag),
            tags.reset.eq(reset),
            tags.allocate.eq(issuer.allocate),
            tags.new_context.eq(issuer.context),
            tags.unsent.eq(issuer.failed),
            tags.sent.eq(issuer.sent),
            tags.sent_tag.eq(issuer.sent_tag),
            tags.take.eq(returner.take),
            tags.retire.eq(returner.retire),
            timer.sent.eq(issuer.sent),
            timer.sent_tag.eq(issuer.sent_tag),
            timer.old_tag.eq(tags.old_tag),
            timer.outstanding.eq(tags.outstanding),
            timer.changes.eq(receiver.outcome.ended | returner.take | reset),
            timer.disable.eq(control.completion_timeout_disable),
            receiver.requester_id.eq(control.requester_id),
            receiver.outstanding.eq(tags.outstanding),
            receiver.expectation.begin.eq(issuer.allocate),
            receiver.expectation.tag.eq(tags.new_tag),
            receiver.expectation.data.eq(issuer.expected),
            returner.reset.eq(reset),
            returner.tag.eq(tags.old_tag),
            returner.context.eq(tags.old_context),
            returner.ready.eq(tags.done | timer.expired),
            returner.failed.eq(tags.failed | timer.expired),
            self.failed.eq(returner.retire_failed),
            self.former.eq(issuer.former),
            self.errors.completion_timeout.eq(timer.expired & returner.take),
        ]
        for cause in RECEIVED_ERRORS:
            m.d.comb += getattr(self.errors, cause.name).eq(getattr(receiver.errors, cause.name))
        return m

    def _has_space(self, m, issuer, tags):
        """Whether the receive buffer of the hard block has space for one more read."""
        if self._geometry.block.completion_headers is None:
            return Const(1)
        m.submodules.room = room = CompletionRoom(self._geometry.block.completion_headers)
        m.d.comb += [
            room.allocate.eq(tags.allocate),
            room.tag.eq(tags.new_tag),
            room.first_offset.eq(issuer.expected.offset),
            room.last_offset.eq(issuer.last_offset),
            room.take.eq(tags.take),
            room.taken_tag.eq(tags.old_tag),
        ]
        return room.has_space
