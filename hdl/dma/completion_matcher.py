# SPDX-License-Identifier: BSD-2-Clause
"""Matches completions with outstanding reads, and judges whether they continue them.

PCI Express Base 4.0 sections 2.3.2 (handling of completions), 2.7.2 (poisoned data).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..errors import ErrorPulses
from ..geometry import Geometry
from .completion_decoder import CompletionInfo, decoded_beat
from .completion_writer import payload_beat
from .limits import TAGS
from .read_interfaces import (
    RECEIVED_ERRORS,
    TAG_BITS,
    Expectation,
    ExpectedData,
    ReadOutcome,
)

__all__ = ["CompletionMatcher", "ExpectedDataTable"]


class ExpectedDataTable(wiring.Component):
    """Data that each outstanding read still expects.

    The table has one write port: an update by a completion takes precedence over a new read.

    Attributes
    ----------
    next_tag : In(TAG_BITS)
        Tag to look up.
    expected : Out(ExpectedData)
        Its data, in the next cycle.
    info : In(CompletionInfo)
        The completion whose tag was looked up in the cycle before.
    updates : In(1)
        Store what its read expects after it.
    outstanding : In(1)
        Its read is outstanding; without it, nothing is stored.
    expectation : In(Expectation())
        Data that a new read expects.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "next_tag": In(TAG_BITS),
                "expected": Out(ExpectedData),
                "info": In(CompletionInfo),
                "updates": In(1),
                "outstanding": In(1),
                "expectation": In(Expectation()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = memory.Memory(shape=ExpectedData, depth=TAGS, init=[])
        store, look_up = table.write_port(), table.read_port(domain="comb")
        info, expected, new = self.info, self.expected, self.expectation
        update = Signal(ExpectedData)
        m.d.comb += [
            look_up.addr.eq(self.next_tag),
            update.last_byte.eq(expected.last_byte),
            update.dwords.eq(info.remaining),
            update.offset.eq(Cat(Const(0, 2), expected.offset[2:] + info.length)),
            new.busy.eq(self.updates),
            store.addr.eq(Mux(self.updates, info.tag, new.tag)),
            store.data.eq(Mux(self.updates, update, new.data)),
            store.en.eq(Mux(self.updates, self.outstanding, new.begin)),
        ]
        # Forward the update to a completion of the same read that follows immediately.
        forward = self.updates & self.outstanding & (self.next_tag == info.tag)
        m.d.sync += expected.eq(Mux(forward, update, look_up.data))
        return m


class CompletionMatcher(wiring.Component):
    """Compares each completion with what its tag expects, and tracks it to its end.

    Attributes
    ----------
    i : In(stream of decoded_beat), always ready
        Beats.
    next_tag : In(TAG_BITS)
        Tag of the beat that is on ``i`` in the next cycle.
    expectation : In(Expectation())
        Data that a new read expects.
    outstanding : In(TAGS)
        A bit for each tag: its read is outstanding.
    outcome : Out(ReadOutcome())
        Result of each completion, in the cycle after its last beat on ``i``.
    o : Out(stream of payload_beat), always ready
        Beats for the buffer. ``outcome.tag`` is their tag in the next cycle.
    errors : Out(ErrorPulses(RECEIVED_ERRORS))
        As in :class:`~hdl.dma.completions.CompletionReceiver`.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "i": In(stream.Signature(decoded_beat(geometry), always_ready=True)),
                "next_tag": In(TAG_BITS),
                "expectation": In(Expectation()),
                "outstanding": In(TAGS),
                "outcome": Out(ReadOutcome()),
                "o": Out(stream.Signature(payload_beat(geometry), always_ready=True)),
                "errors": Out(ErrorPulses(RECEIVED_ERRORS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat, valid = self.i.p, self.i.valid
        info, outcome, errors = beat.info, self.outcome, self.errors
        outstanding = self._is_outstanding(m, info)
        m.submodules.expected = table = ExpectedDataTable()
        wiring.connect(m, wiring.flipped(self.expectation), table.expectation)
        state = table.expected
        m.d.comb += [
            table.next_tag.eq(self.next_tag),
            table.info.eq(info),
            table.updates.eq(beat.updates),
            table.outstanding.eq(outstanding),
        ]

        begins = valid & beat.sop
        matches = Signal()
        good = Signal()
        m.d.comb += [
            matches.eq(info.ours & outstanding),
            good.eq(
                info.successful
                & ~info.too_long
                & (info.lower_address == state.offset[:7])
                & (info.dwords == state.dwords)
                & (info.last_byte == state.last_byte)
            ),
        ]

        # The judgement of the first beat holds for the whole completion, except that a read that
        # times out in the middle is no longer outstanding: the rest must not be stored for the next
        # read with the tag.
        accepting, accepting_q = Signal(), Signal()
        stores, stores_q = Signal(), Signal()
        fails, fails_q = Signal(), Signal()
        completes, completes_q = Signal(), Signal()
        with m.If(beat.sop):
            m.d.comb += [
                accepting.eq(matches),
                stores.eq(good),
                fails.eq(~good | info.poisoned),
                completes.eq(~good | info.is_last),
            ]
        with m.Else():
            m.d.comb += [
                accepting.eq(accepting_q & outstanding),
                stores.eq(stores_q),
                fails.eq(fails_q),
                completes.eq(completes_q),
            ]
        with m.If(valid):
            m.d.sync += [
                accepting_q.eq(accepting & ~beat.eop),
                stores_q.eq(stores),
                fails_q.eq(fails),
                completes_q.eq(completes),
            ]
        with m.Elif(~outstanding):
            m.d.sync += accepting_q.eq(0)
        ends = valid & beat.eop & accepting
        m.d.sync += [
            outcome.tag.eq(info.tag),
            outcome.failed.eq(ends & (fails | beat.truncated)),
            outcome.ended.eq(ends & (completes | beat.truncated)),
            errors.completion_unexpected.eq(begins & ~matches),
            errors.completion_unsupported.eq(begins & matches & info.unsupported),
            errors.completion_aborted.eq(begins & matches & info.aborted),
            errors.completion_poisoned.eq(begins & matches & good & info.poisoned),
        ]
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.p.store.eq(valid & accepting & stores),
            self.o.p.first.eq(beat.sop),
            self.o.p.offset.eq(state.offset[2:]),
            self.o.p.data.eq(beat.data),
            self.o.p.strb.eq(beat.strb),
        ]
        return m

    def _is_outstanding(self, m, info):
        """Whether the read of the beat on ``i`` is outstanding."""
        # A tag is no longer outstanding from the cycle after its read ended; up to two beats for it
        # may already be in the earlier stages.
        outstanding_q = Signal()
        same_tag_q = Signal()
        tag, outcome = self.next_tag, self.outcome
        m.d.sync += [
            outstanding_q.eq(
                self.outstanding.bit_select(tag, 1) & ~(outcome.ended & (outcome.tag == tag))
            ),
            same_tag_q.eq(tag == info.tag),
        ]
        return outstanding_q & ~(outcome.ended & same_tag_q)
