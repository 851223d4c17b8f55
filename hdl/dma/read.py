# SPDX-License-Identifier: BSD-2-Clause
"""AXI read bursts to memory reads, and their completions back to AXI: tags, buffer, time-out.

PCI Express Base 4.0 sections 2.2.6.2 (tags), 2.8 (completion timeout). Tags are used in turn, so
that an answer that comes after its read was given up meets no new read for as long as possible.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from ..tlp import completion_signature, header_signature
from .axi import address_channel, read_data_channel
from .completions import CompletionReceiver
from .limits import TAGS, check_completion_timeout
from .read_issue import TAG_BITS, Chunk, ReadIssuer
from .read_return import ReadReturn

__all__ = ["ReadRequester"]


class ReadRequester(wiring.Component):
    """The read half of the DMA window: up to :data:`~hdl.dma.limits.TAGS` reads outstanding.

    Each tag has room for its data in a buffer of its own, so that completions are always taken.

    Parameters
    ----------
    geometry : Geometry
    completion_timeout : int
        Cycles from a read's leaving until it fails, 64 or more; it may fail later when reads
        before it are still to be returned.

    Attributes
    ----------
    ar : In, r : Out
        Channels of :class:`~hdl.dma.axi.AxiSignature`.
    o : Out(header_signature())
        Memory reads.
    completions : In(completion_signature(data_width))
    reset : In(1)
        The function is being reset: every read fails, answers to it are unexpected.
    bus_master_enable : In(1), requester_id : In(16), max_read_request_size : In(3)
        From configuration space.
    timeout_disable : In(1)
        From configuration space: reads wait without end.
    failed, timed_out, unexpected, unsupported, aborted, poisoned : Out(1)
        One-cycle pulses: a read was answered with SLVERR; was given up; the others as in
        :class:`~hdl.dma.completions.CompletionReceiver`.
    outstanding : Out(1)
        A read has left that is neither answered in full nor given up.
    """

    def __init__(self, geometry: Geometry, *, completion_timeout: int):
        self._geometry = geometry
        self._timeout = check_completion_timeout(completion_timeout)
        super().__init__(
            {
                "ar": In(address_channel()),
                "r": Out(read_data_channel(geometry.data_width)),
                "o": Out(header_signature()),
                "completions": In(completion_signature(geometry.data_width)),
                "reset": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "max_read_request_size": In(3),
                "timeout_disable": In(1),
                "failed": Out(1),
                "timed_out": Out(1),
                "unexpected": Out(1),
                "unsupported": Out(1),
                "aborted": Out(1),
                "poisoned": Out(1),
                "outstanding": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.issuer = issuer = ReadIssuer(g)
        m.submodules.receiver = receiver = CompletionReceiver(g)
        m.submodules.returner = returner = ReadReturn(g)
        wiring.connect(m, wiring.flipped(self.ar), issuer.ar)
        wiring.connect(m, issuer.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.completions), receiver.i)
        wiring.connect(m, returner.r, wiring.flipped(self.r))

        outstanding = Signal(TAGS)
        fresh = Signal(TAGS)
        done = Signal(TAGS)
        failed = Signal(TAGS)
        newest = Signal(TAG_BITS)
        oldest = Signal(TAG_BITS)
        used = Signal(range(TAGS + 1))

        m.submodules.chunks = chunks = memory.Memory(shape=Chunk, depth=TAGS, init=[])
        store = chunks.write_port()
        of_answer = chunks.read_port(domain="comb")
        of_oldest = chunks.read_port(domain="comb")
        m.d.comb += [
            issuer.reset.eq(self.reset),
            issuer.bus_master_enable.eq(self.bus_master_enable),
            issuer.requester_id.eq(self.requester_id),
            issuer.max_read_request_size.eq(self.max_read_request_size),
            issuer.free.eq(used != TAGS),
            issuer.tag.eq(newest),
            store.addr.eq(newest),
            store.data.eq(issuer.chunk),
            store.en.eq(issuer.allocate),
            receiver.requester_id.eq(self.requester_id),
            receiver.outstanding.eq(outstanding),
            receiver.fresh.eq(fresh),
            of_answer.addr.eq(receiver.tag),
            receiver.chunk.eq(of_answer.data),
            of_oldest.addr.eq(oldest),
            returner.tag.eq(oldest),
            returner.chunk.eq(of_oldest.data),
            returner.ready.eq((used != 0) & done.bit_select(oldest, 1)),
            returner.failed.eq(failed.bit_select(oldest, 1)),
            self.failed.eq(returner.retire & returner.failed),
            self.unexpected.eq(receiver.unexpected),
            self.unsupported.eq(receiver.unsupported),
            self.aborted.eq(receiver.aborted),
            self.poisoned.eq(receiver.poisoned),
            self.outstanding.eq(outstanding.any()),
        ]
        self._connect_buffer(m, receiver, returner)
        expired = self._watch_time(m, issuer, oldest)
        m.d.comb += self.timed_out.eq(
            expired
            & (used != 0)
            & outstanding.bit_select(oldest, 1)
            & ~self.timeout_disable
            & ~self.reset
        )

        with m.If(issuer.allocate):
            m.d.sync += [
                newest.eq(newest + 1),
                fresh.bit_select(newest, 1).eq(1),
                done.bit_select(newest, 1).eq(issuer.failed),
                failed.bit_select(newest, 1).eq(issuer.failed),
            ]
        with m.If(issuer.sent):
            # One that failed before it left waits for no answer.
            m.d.sync += outstanding.bit_select(issuer.sent_tag, 1).eq(
                ~done.bit_select(issuer.sent_tag, 1)
            )
        with m.If(receiver.began):
            m.d.sync += fresh.bit_select(receiver.tag, 1).eq(0)
        with m.If(receiver.failed):
            m.d.sync += failed.bit_select(receiver.tag, 1).eq(1)
        with m.If(receiver.ended):
            m.d.sync += [
                outstanding.bit_select(receiver.tag, 1).eq(0),
                done.bit_select(receiver.tag, 1).eq(1),
            ]
        with m.If(self.timed_out):
            m.d.sync += [
                outstanding.bit_select(oldest, 1).eq(0),
                done.bit_select(oldest, 1).eq(1),
                failed.bit_select(oldest, 1).eq(1),
            ]
        with m.If(returner.retire):
            m.d.sync += oldest.eq(oldest + 1)
        m.d.sync += used.eq(used + issuer.allocate - returner.retire)
        with m.If(self.reset):
            m.d.sync += [outstanding.eq(0), done.eq(-1), failed.eq(-1)]
        return m

    def _connect_buffer(self, m, receiver, returner):
        """A memory for each lane: a beat that is not aligned reaches into two words at once."""
        for lane in range(self._geometry.lanes):
            depth = 1 << len(returner.read_address)
            bank = memory.Memory(shape=32, depth=depth, init=[])
            m.submodules[f"buffer_{lane}"] = bank
            write, read = bank.write_port(), bank.read_port()
            bits = slice(32 * lane, 32 * lane + 32)
            m.d.comb += [
                write.en.eq(receiver.write_enable[lane]),
                write.addr.eq(receiver.write_address[lane]),
                write.data.eq(receiver.write_data[bits]),
                read.en.eq(returner.read_enable),
                read.addr.eq(returner.read_address),
                returner.read_data[bits].eq(read.data),
            ]

    def _watch_time(self, m, issuer, oldest):
        """Whether the oldest read, if it is outstanding, left too long ago."""
        # As it is the oldest that the others wait behind, the others need not be watched.
        width = self._timeout.bit_length() + 1
        now = Signal(width)
        m.d.sync += now.eq(now + 1)
        m.submodules.sent_at = sent_at = memory.Memory(shape=width, depth=TAGS, init=[])
        store, look = sent_at.write_port(), sent_at.read_port(domain="comb")
        m.d.comb += [
            store.addr.eq(issuer.sent_tag),
            store.data.eq(now),
            store.en.eq(issuer.sent),
            look.addr.eq(oldest),
        ]
        elapsed = Signal(width)
        m.d.comb += elapsed.eq(now - look.data)
        return elapsed >= self._timeout
