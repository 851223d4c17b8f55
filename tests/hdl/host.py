# SPDX-License-Identifier: BSD-2-Clause
"""A host for the benches of whole endpoints: sends TLPs and waits for their completions."""

from collections import deque

from streams import drive, tlp_of

from models.layout import SPSC_PAGES
from testbench.tlp.packets import memory_read, memory_write


class Host:
    """Requests of a host to the BARs.

    Parameters
    ----------
    bench : Bench
    stream
        The endpoint's input of requests.
    bars : dict
        Address of each BAR.
    layout : SharedLayout
        Layout of the FIFO BAR.

    Attributes
    ----------
    received : deque of Tlp
        TLPs of the endpoint that have not been claimed.
    """

    def __init__(self, bench, stream, bars, *, shell, layout=SPSC_PAGES):
        self._bench, self._stream = bench, stream
        self.bars, self.shell, self.layout = bars, shell, layout
        self.received = deque()
        self._beats = []

    def receive(self, beat):
        """A beat of the endpoint, for a sink."""
        self._beats.append(beat)
        if beat["eop"]:
            self.received.append(tlp_of(self._beats))
            self._beats = []

    def fields(self, tlp):
        """Further fields of the beats of a request."""
        return {}

    async def send(self, ctx, tlp):
        """Send a TLP."""
        stream = self._stream
        for beat in tlp.beats(len(stream.p.data)):
            while self._bench.idles():
                await ctx.tick()
            drive(ctx, stream.p, {**beat, **self.fields(tlp)}, self._bench.rng)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)

    async def claim(self, ctx, matches):
        """Wait for a TLP that ``matches``."""
        for _ in range(2000):
            for tlp in self.received:
                if matches(tlp):
                    self.received.remove(tlp)
                    return tlp
            await ctx.tick()
        raise AssertionError("a TLP does not arrive")

    async def request(self, ctx, tlp):
        """Send a non-posted request, and return its completion."""
        await self.send(ctx, tlp)
        return await self.claim(ctx, lambda answer: answer.is_completion and answer.tag == tlp.tag)

    async def read(self, ctx, bar, offset, size=4):
        """Read ``size`` bytes, a multiple of 4; returns the completion."""
        tag = self._bench.rng.getrandbits(8)
        return await self.request(ctx, memory_read(self.bars[bar] + offset, size, tag=tag))

    async def value(self, ctx, bar, offset):
        """Read a dword."""
        answer = await self.read(ctx, bar, offset)
        return int.from_bytes(answer.payload, "little")

    async def write(self, ctx, bar, offset, data):
        """Write bytes, or a number as a dword."""
        content = data if isinstance(data, bytes) else data.to_bytes(4, "little")
        await self.send(ctx, memory_write(self.bars[bar] + offset, content))

    async def post(self, ctx, fifo, message):
        """Put the first message into a driver queue, and ring its doorbell."""
        base, queue = self.layout.driver_queue_base(fifo), self.layout.queue
        await self.write(ctx, self.shell.fifo_bar, base + queue.slot_offset(0), message)
        await self.write(ctx, self.shell.fifo_bar, base + queue.head_offset, 1)
        await self.write(ctx, self.shell.register_bar, self.shell.notify(fifo), 0)

    async def program_vector(self, ctx, vector, address, data):
        """Write a table entry, unmasked, and wait until it has taken effect."""
        entry = address.to_bytes(8, "little") + data.to_bytes(4, "little") + bytes(4)
        await self.write(ctx, self.shell.msix_bar, self.shell.msix_entry(vector), entry)
        await self.read(ctx, self.shell.msix_bar, self.shell.msix_control(vector))


class Device:
    """The device side of an endpoint: its message streams.

    Attributes
    ----------
    messages : list
        FIFO and content of each message from the driver.
    """

    def __init__(self, bench, dut):
        self._bench, self._dut = bench, dut
        self._words = []
        self.messages = []
        bench.sink(dut.m_axis_msg, self._receive)

    def _receive(self, word):
        self._words.append(word)
        if word["tlast"]:
            size = len(self._dut.m_axis_msg.p.tdata) // 8
            content = b"".join(each["tdata"].to_bytes(size, "little") for each in self._words)
            self.messages.append((word["tdest"], content))
            self._words = []

    async def message(self, ctx):
        """Wait for a message from the driver."""
        for _ in range(500):
            if self.messages:
                return self.messages.pop(0)
            await ctx.tick()
        raise AssertionError("a message does not arrive")

    async def send(self, ctx, fifo, content):
        """Send a message to the driver."""
        stream = self._dut.s_axis_msg
        step = len(stream.p.tdata) // 8
        for at in range(0, len(content), step):
            piece = content[at : at + step]
            word = {
                "tdata": int.from_bytes(piece, "little"),
                "tkeep": (1 << len(piece)) - 1,
                "tlast": at + step >= len(content),
                "tdest": fifo,
            }
            drive(ctx, stream.p, word, self._bench.rng)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)
