# SPDX-License-Identifier: BSD-2-Clause
"""Streams of the component benches: random idle cycles and back-pressure, from the seed."""

import os
import random
from itertools import product

from amaranth.hdl import Const, Shape, Value
from amaranth.lib import data
from simulation import simulate

from hdl.geometry import Geometry
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.tlp import Tlp

PACES = tuple(product((0, 0.3, 0.8), repeat=2))
"""Probabilities that a source idles and that a sink stalls, in a cycle."""

PERIOD = 40
"""Cycles of each pace."""

LONGEST_DRAIN = 6000
"""Cycles in which everything has left a component once nothing stalls."""

UNTHROTTLED = ((0, 0),)
"""The pace of tests of throughput."""

SIZES = ((64, 8), (128, 3), (256, 1), (512, 8))
"""Data widths, each with a number of FIFOs."""


def seeded(*case):
    """Random numbers of a test, from the seed that the test run prints and from its parameters."""
    return random.Random(f"{os.environ['SEED']} {case}")


def geometry(width, fifos=1, *, shell=AMP_PCI, layout=SPSC_PAGES, **options):
    """Geometry with the default shell and layout."""
    return Geometry(data_width=width, num_fifos=fifos, shell=shell, layout=layout, **options)


def _fields(shape):
    """Fields of a structure by name; None if ``shape`` is not one."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        shape = shape.as_shape()
    return dict(shape) if isinstance(shape, data.StructLayout) else None


def encode(shape, content, rng):
    """Bits of ``content``, a number or a dictionary of fields; fields without content are random.

    A source drives them, so that a component that uses an undefined field fails.
    """
    width = Shape.cast(shape).width
    if not isinstance(content, dict):
        return content & (1 << width) - 1
    bits = rng.getrandbits(width)
    fields = _fields(shape)
    for name, value in content.items():
        field = fields[name]
        bits &= ~((1 << field.width) - 1 << field.offset)
        bits |= encode(field.shape, value, rng) << field.offset
    return bits


def decode(shape, bits):
    """Fields of ``bits`` as a dictionary; a number if ``shape`` has no fields."""
    fields = _fields(shape)
    if fields is None:
        return Const(bits, Shape.cast(shape)).value
    return {
        name: decode(field.shape, bits >> field.offset & (1 << field.width) - 1)
        for name, field in fields.items()
    }


def drive(ctx, port, content, rng):
    """Set ``port``, a signal or a structure, to ``content``; see :func:`encode`."""
    ctx.set(Value.cast(port), encode(port.shape(), content, rng))


class Bench:
    """Sources and sinks around a component, at each pace of :data:`PACES` in turn.

    At the end of each cycle they run in the order in which they were added.

    Parameters
    ----------
    dut : wiring.Component
        The component.
    case
        Parameters of the test, for :func:`seeded`.
    paces
        Paces instead of :data:`PACES`.

    Attributes
    ----------
    rng : random.Random
        Random numbers of the test.
    cycle : int
        Cycles so far.
    idle, stall : float
        The pace of this cycle.
    ended : bool
        No source begins another packet.
    """

    def __init__(self, dut, *case, paces=PACES, period=PERIOD):
        self.dut = dut
        self.rng = seeded(type(dut).__name__, *case)
        self.cycle = 0
        self.idle = self.stall = 0
        self.ended = False
        self._paces = paces
        self._period = period
        self._benches = []
        self._sources = 0
        self._active_at = 0

    def idles(self):
        """Whether a source idles in this cycle."""
        return self.rng.random() < self.idle

    def stalls(self):
        """Whether a sink stalls in this cycle."""
        return self.rng.random() < self.stall

    def source(self, stream, packets, **beside):
        """Drive ``packets``, an iterable of lists of beats, as long as the bench has not ended.

        ``beside`` names signals that are driven with the beats, from their further fields. Between
        beats the payload is random. A packet without beats is an idle cycle.
        """
        self._sources += 1

        async def bench(ctx):
            for packet in packets:
                if not packet:
                    await ctx.tick()
                for beat in packet:
                    drive(ctx, stream.p, {}, self.rng)
                    while self.idles():
                        await ctx.tick()
                    if beside:
                        for name, signal in beside.items():
                            drive(ctx, signal, beat[name], self.rng)
                        beat = {name: beat[name] for name in beat if name not in beside}
                    drive(ctx, stream.p, beat, self.rng)
                    ctx.set(stream.valid, 1)
                    await ctx.tick().until(stream.ready)
                    ctx.set(stream.valid, 0)
                drive(ctx, stream.p, {}, self.rng)
                if self.ended:
                    break
            self._sources -= 1
            self._active_at = self.cycle

        self._benches.append(bench)

    def sink(self, stream, accept=None, *, holds=True, defined=None, **beside):
        """Accept beats with random back-pressure, and check that stalled ones hold.

        Calls ``accept`` with each, a dictionary, also of the signals ``beside``. Returns the list
        of them; the item ``cycle`` is added. ``defined`` maps a beat to its defined part. Without
        ``holds``, a stalled beat may be withdrawn.
        """
        beats = []
        shape = stream.p.shape()

        def content_of(bits, others):
            content = decode(shape, bits)
            if not isinstance(content, dict):
                content = {"payload": content}
            content |= zip(beside, others, strict=True)
            return content if defined is None else defined(content)

        async def bench(ctx):
            stalled = None
            while True:
                ready = not self.stalls()
                ctx.set(stream.ready, ready)
                values = (stream.valid, Value.cast(stream.p), *beside.values())
                _, _, valid, bits, *others = await ctx.tick().sample(*values)
                content = content_of(bits, others) if valid else None
                assert stalled in (None, content), f"a stalled beat changed: {stalled} to {content}"
                stalled = content if holds and not ready else None
                if valid and ready:
                    content["cycle"] = self.cycle
                    beats.append(content)
                    self._active_at = self.cycle
                    if accept is not None:
                        accept(content)

        self._benches.append(bench)
        return beats

    def monitor(self, callback, *signals):
        """Call ``callback`` with the values of ``signals`` at the end of every cycle."""

        async def bench(ctx):
            while True:
                _, _, *values = await ctx.tick().sample(*signals)
                callback(*values)

        self._benches.append(bench)

    def count(self, signal):
        """A list to which the bench adds the number of each cycle in which ``signal`` is high."""
        cycles = []
        self.monitor(lambda value: cycles.append(self.cycle) if value else None, signal)
        return cycles

    def process(self, bench):
        """Add a coroutine that drives the component until the end."""
        self._benches.append(bench)

    def scenario(self, bench):
        """Add a coroutine that drives the component and must end."""
        self._sources += 1

        async def scenario(ctx):
            await bench(ctx)
            self._sources -= 1
            self._active_at = self.cycle

        self._benches.append(scenario)

    def run(self, *, drain=40):
        """Simulate until the sources have ended and the sinks were idle for ``drain`` cycles."""

        async def clock(ctx):
            async def step():
                await ctx.tick()
                self.cycle += 1

            for idle, stall in self._paces:
                self.idle, self.stall = idle, stall
                for _ in range(self._period):
                    await step()
            self.idle = self.stall = 0
            self.ended = True
            limit = self.cycle + LONGEST_DRAIN
            self._active_at = self.cycle
            while self._sources or self.cycle < self._active_at + drain:
                stuck = "a source is stalled" if self._sources else "the output does not end"
                assert self.cycle < limit, stuck
                await step()

        try:
            simulate(self.dut, clock, background=self._benches)
        except AssertionError as error:
            error.add_note(f"in cycle {self.cycle}, idle {self.idle}, stall {self.stall}")
            raise


def packets_of(beats):
    """Split ``beats`` of a sink into packets, and check their framing."""
    packets = []
    begins = True
    for beat in beats:
        assert beat["sop"] == begins, f"`sop` is {beat['sop']}"
        if begins:
            packets.append([])
        packets[-1].append(beat)
        begins = bool(beat["eop"])
    assert begins, "the last packet has no end"
    return packets


def tlp_of(packet):
    """The TLP of a packet of :func:`packets_of`."""
    payload = b"".join(
        beat["data"].to_bytes(64, "little")[: 4 * beat["strb"].bit_count()] for beat in packet
    )
    return Tlp.unpack(packet[0]["hdr"], payload)
