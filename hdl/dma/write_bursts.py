# SPDX-License-Identifier: BSD-2-Clause
"""Write bursts in flight, from their address to their response."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .axi import ID_WIDTH, Response, write_response_channel
from .limits import PENDING_WRITES

__all__ = ["WriteBursts"]


class WriteBursts(wiring.Component):
    """Ring of bursts: keeps ID and failure of each, and answers them in order.

    Attributes
    ----------
    reset : In(1)
        The function is being reset: every burst in flight fails.
    has_space : Out(1)
        One more burst may begin.
    begin : In(1)
        One-cycle pulse: a burst begins. Only with ``has_space``.
    id : In(ID_WIDTH)
        Its AXI ID.
    failing : In(1)
        The burst that began last fails.
    sent : In(1)
        One-cycle pulse: the last segment of the oldest burst that is not sent was accepted.
    discarded : In(1)
        One-cycle pulse: a segment of that burst was discarded, so the burst fails.
    abort : Out(1)
        That burst has failed. Lags by one cycle after ``discarded``.
    departed : In(1)
        One-cycle pulse: the oldest burst that has not departed does.
    b : Out(write_response_channel())
        B channel.
    failed : Out(1)
        One-cycle pulse: a burst is answered with SLVERR.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "reset": In(1),
                "has_space": Out(1),
                "begin": In(1),
                "id": In(ID_WIDTH),
                "failing": In(1),
                "sent": In(1),
                "discarded": In(1),
                "abort": Out(1),
                "departed": In(1),
                "b": Out(write_response_channel()),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Places of the next burst to begin, to send, to depart and to answer; each is ahead of the
        # one that follows or equal to it. They have one bit more than needed, to tell a full ring
        # from an empty one.
        pointer = range(2 * PENDING_WRITES)
        to_begin, to_send, to_depart, to_answer = (
            Signal(pointer, name=name) for name in ("to_begin", "to_send", "to_depart", "to_answer")
        )
        bits = (PENDING_WRITES - 1).bit_length()
        burst_failed = Signal(PENDING_WRITES)
        current = Signal(bits)
        m.submodules.ids = ids = memory.Memory(shape=ID_WIDTH, depth=PENDING_WRITES, init=[])
        store, look_up = ids.write_port(), ids.read_port(domain="comb")
        m.d.comb += [
            store.addr.eq(to_begin),
            store.data.eq(self.id),
            store.en.eq(self.begin),
            look_up.addr.eq(to_answer),
        ]
        # Registered: a burst that is answered in this cycle makes space from the next cycle on.
        next_to_begin = Mux(self.begin, to_begin + 1, to_begin)[: len(to_begin)]
        m.d.sync += self.has_space.eq((next_to_begin ^ to_answer) != PENDING_WRITES)
        # Clear the failure of the burst that had the place before, one cycle after the new burst
        # begins: `begin` is late.
        begin_q = Signal()
        m.d.sync += begin_q.eq(self.begin & ~self.reset)
        with m.If(begin_q):
            m.d.sync += burst_failed.bit_select(current, 1).eq(0)
        with m.If(self.failing):
            m.d.sync += burst_failed.bit_select(current, 1).eq(1)
        with m.If(self.begin):
            m.d.sync += [to_begin.eq(to_begin + 1), current.eq(to_begin)]

        # Look up one cycle ahead whether the burst of the next segment has failed.
        next_to_send = Signal(bits)
        m.d.comb += next_to_send.eq(to_send + 1)
        m.d.sync += self.abort.eq(
            Mux(
                self.sent,
                burst_failed.bit_select(next_to_send, 1),
                burst_failed.bit_select(to_send[:bits], 1),
            )
            | self.reset
        )
        with m.If(self.discarded):
            m.d.sync += burst_failed.bit_select(to_send[:bits], 1).eq(1)
        with m.If(self.sent):
            m.d.sync += to_send.eq(to_send + 1)
        with m.If(self.departed):
            m.d.sync += to_depart.eq(to_depart + 1)

        m.d.sync += self.failed.eq(0)
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If((~self.b.valid | self.b.ready) & (to_answer != to_depart)):
            error = burst_failed.bit_select(to_answer[:bits], 1)
            m.d.sync += [
                self.b.valid.eq(1),
                self.b.p.id.eq(look_up.data),
                self.b.p.resp.eq(Mux(error, Response.SLVERR, Response.OKAY)),
                self.failed.eq(error),
                to_answer.eq(to_answer + 1),
            ]
        with m.If(self.reset):
            m.d.sync += burst_failed.eq(-1)
        return m
