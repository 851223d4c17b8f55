# SPDX-License-Identifier: BSD-2-Clause
"""Receives completions: matches them with outstanding reads, stores their data, reports errors.

PCI Express Base 4.0 sections 2.2.9 (completions), 2.3.1.1 (how a completer splits an answer), 2.3.2
(handling of completions), 2.7.2 (poisoned data).
"""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..errors import ErrorPulses
from ..geometry import Geometry
from ..tlp import completion_signature
from .completion_decoder import CompletionDecoder
from .completion_matcher import CompletionMatcher
from .completion_writer import CompletionWriter
from .limits import TAGS
from .read_interfaces import RECEIVED_ERRORS, BufferWrite, Expectation, ReadOutcome

__all__ = ["CompletionReceiver"]


class CompletionReceiver(wiring.Component):
    """Receives completions at full rate; four cycles from a beat to the buffer.

    A completion matches a read when its tag is outstanding and it carries our requester ID, as far
    as :class:`~hdl.block_options.BlockOptions` has the ID compared. It fails the read when it is
    unsuccessful, or when its byte count, lower address or length do not continue the read. A
    poisoned completion also fails the read, but the read stays outstanding for the completions that
    follow.

    The parts are :class:`~hdl.dma.completion_decoder.CompletionDecoder`,
    :class:`~hdl.dma.completion_matcher.CompletionMatcher` and
    :class:`~hdl.dma.completion_writer.CompletionWriter`.

    Attributes
    ----------
    i : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    requester_id : In(16)
        Requester ID of the function.
    expectation : In(Expectation())
        Data that a new read expects.
    outstanding : In(TAGS)
        A bit for each tag: its read is outstanding.
    outcome : Out(ReadOutcome())
        Result of each completion, in the cycle in which its last data is written to the buffer.
    buffer : Out(BufferWrite(geometry))
        Write port of the buffer.
    errors : Out(ErrorPulses(RECEIVED_ERRORS))
        A completion was dropped; had the status Unsupported Request; had the status Completer
        Abort; had poisoned data.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(completion_signature(geometry.data_width)),
                "requester_id": In(16),
                "expectation": In(Expectation()),
                "outstanding": In(TAGS),
                "outcome": Out(ReadOutcome()),
                "buffer": Out(BufferWrite(geometry)),
                "errors": Out(ErrorPulses(RECEIVED_ERRORS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = CompletionDecoder(self._geometry)
        m.submodules.matcher = matcher = CompletionMatcher(self._geometry)
        m.submodules.writer = writer = CompletionWriter(self._geometry)
        for source, sink in (
            (wiring.flipped(self.i), decoder.i),
            (decoder.o, matcher.i),
            (matcher.o, writer.i),
            (wiring.flipped(self.expectation), matcher.expectation),
            (matcher.outcome, wiring.flipped(self.outcome)),
            (matcher.errors, wiring.flipped(self.errors)),
            (writer.buffer, wiring.flipped(self.buffer)),
        ):
            wiring.connect(m, source, sink)
        m.d.comb += [
            decoder.requester_id.eq(self.requester_id),
            matcher.next_tag.eq(decoder.next_tag),
            matcher.outstanding.eq(self.outstanding),
            writer.tag.eq(matcher.outcome.tag),
        ]
        return m
