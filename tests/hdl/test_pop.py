# SPDX-License-Identifier: BSD-2-Clause
"""The pop engine: each message once, whole and in order, while the host rewrites and resets."""

from collections import deque

import pytest
from amaranth.hdl import Value
from engine_queues import EngineQueues
from streams import SIZES, Bench, decode, geometry

from hdl.queues.pop import PopEngine
from models.layout import SMALL_PAGES, SPSC_PAGES


class DriverSide:
    """The driver queues in a model memory, and the host that fills them.

    Parameters
    ----------
    bench : Bench
    g : Geometry
    clears : float
        Probability, in a cycle, that the host rewrites a tail or resets the function.
    space : float
        Probability, in a cycle, that the device queue of a FIFO has space.
    holds : float
        Probability, in a cycle, that a host write of another tail holds the engine.

    Attributes
    ----------
    messages : list of deque
        Messages of each FIFO that the engine has not sent.
    sent, overtaken, advanced : int
        Messages received; of these, messages of queues that were cleared after they began; advances
        of a tail.
    held : list
        Cycles in which the engine was held.
    """

    def __init__(self, bench, g, *, clears=0.0, space=1.0, holds=0.0, preloaded=()):
        self._bench, self._g = bench, g
        self._clears, self._space, self._holds = clears, space, holds
        n = g.num_fifos
        self._capacity = g.layout.queue.capacity
        self._memory = {}
        self._head, self._tail = [0] * n, [0] * n
        self.messages = [deque() for _ in range(n)]
        # Messages whose queue was cleared, with the cycle after.
        self._overtaken = {}
        self._begun = None
        # After a queue was cleared, no slot is filled until a message in flight has been read.
        self._pause = 0
        self.sent = self.overtaken = self.advanced = 0
        self.held = []
        self._posts = 0
        for fifo, count in enumerate(preloaded):
            for _ in range(count):
                self.post(fifo)
        bench.process(self._run)

    def post(self, fifo):
        """Put a message into a queue, unless it is full."""
        g, queue = self._g, self._g.layout.queue
        head = self._head[fifo]
        if queue.next(head) == self._tail[fifo]:
            return
        self._posts += 1
        message = self._bench.rng.randbytes(queue.slot_size - 4) + self._posts.to_bytes(4, "little")
        base = g.layout.driver_queue_base(fifo) + queue.slot_offset(head)
        for at in range(0, queue.slot_size, g.word_bytes):
            word = int.from_bytes(message[at : at + g.word_bytes], "little")
            self._memory[(base + at) // g.word_bytes] = word
        self._head[fifo] = queue.next(head)
        self.messages[fifo].append(message)

    def _clear(self, fifo, index):
        self._head[fifo] = self._tail[fifo] = index
        # A message in flight completes. Its first word is on the stream in the next cycle.
        for message in self.messages[fifo]:
            self._overtaken[message] = self._bench.cycle + 1
        self.messages[fifo].clear()
        self._pause = 2

    async def _run(self, ctx):
        bench, dut, n = self._bench, self._bench.dut.engine, self._g.num_fifos
        rng = bench.rng
        queues = dut.queues
        shape = dut.o.p.shape()
        stalled, sop, resetting = False, True, 0
        before = None
        while True:
            clears = not bench.ended and rng.random() < self._clears
            resetting = max(resetting - 1, 0) or (
                rng.randint(1, 3) if clears and rng.random() < 0.3 else 0
            )
            rewritten = {}
            if clears and not resetting:
                rewritten = {rng.randrange(n): rng.randrange(self._capacity)}
            space = sum((bench.ended or rng.random() < self._space) << fifo for fifo in range(n))
            items = [(self._head[fifo] - self._tail[fifo]) % self._capacity for fifo in range(n)]
            holds = rng.random() < self._holds
            held = bench.dut.drive(ctx, self._tail, items, rewritten, holds=holds)
            ctx.set(dut.reset, resetting > 0)
            ctx.set(dut.has_space, space)

            values = (
                *(dut.o.valid, dut.o.ready, Value.cast(dut.o.p)),
                *(dut.ram.enable, dut.ram.address),
                *(queues.advance, queues.advance_fifo, queues.next_index),
            )
            _, _, valid, ready, beat, *ram, advances, fifo, value = await ctx.tick().sample(*values)
            beat = decode(shape, beat)
            if held:
                self.held.append(bench.cycle)
            if valid and not stalled and sop:
                self._begin(beat["tdest"], before)
            if valid and ready:
                sop = beat["tlast"]
            if (sop and not valid) or (valid and ready and sop):
                self._pause = max(self._pause - 1, 0)
            stalled = valid and not ready
            before = (space, resetting > 0, list(self._head), list(self._tail))
            if ram[0]:
                ctx.set(dut.ram.data, self._memory.get(ram[1], 0))
            # A reset clears the tail after an advance in its own cycle.
            if advances and not resetting:
                assert not held, "a tail advances in the cycle of a host write"
                assert value == self._g.layout.queue.next(self._tail[fifo])
                self._tail[fifo] = value
                self.advanced += 1
            if resetting:
                rewritten = dict.fromkeys(range(n), 0)
            for fifo, index in rewritten.items():
                self._clear(fifo, index)
            if not (resetting or self._pause or bench.ended or bench.idles()):
                self.post(rng.randrange(n))

    def _begin(self, fifo, before):
        """Check that a message may begin: its first word was read in the cycle ``before``."""
        space, resetting, heads, tails = before
        assert space >> fifo & 1, "a message begins without space for its answer"
        assert not resetting, "a message begins during a reset"
        assert heads[fifo] != tails[fifo], "a message begins in an empty queue"
        self._begun = self._bench.cycle

    def received(self, fifo, message):
        """Check a message from the stream."""
        if message in self._overtaken:
            cycle = self._overtaken.pop(message)
            assert self._begun <= cycle, "a message begins after its queue was cleared"
            self.overtaken += 1
            return
        self.sent += 1
        assert self.messages[fifo], "a message that is not in its queue"
        assert message == self.messages[fifo].popleft()


def receive(bench, g, driver):
    """Collect the packets of the stream; each must be a whole slot."""
    words = []

    def accept(beat):
        words.append(beat)
        assert beat["tkeep"] == (1 << g.word_bytes) - 1
        assert beat["tdest"] == words[0]["tdest"]
        assert beat["tlast"] == (len(words) == g.slot_words)
        if beat["tlast"]:
            content = b"".join(word["tdata"].to_bytes(g.word_bytes, "little") for word in words)
            driver.received(beat["tdest"], content)
            words.clear()

    return bench.sink(bench.dut.engine.o, accept)


@pytest.mark.parametrize("clears, holds", [(0, 0), (0.03, 0), (0, 0.5), (0.03, 0.2)])
@pytest.mark.parametrize("width, fifos", [*SIZES, (512, 1)])
def test_messages_are_sent_once_and_in_order(width, fifos, clears, holds):
    g = geometry(width, fifos, layout=SMALL_PAGES)
    bench = Bench(EngineQueues(PopEngine(g), g), "pop", width, fifos, clears, holds)
    driver = DriverSide(bench, g, clears=clears, space=0.7, holds=holds)
    receive(bench, g, driver)
    bench.run()
    assert not any(driver.messages)
    # A message that has advanced its index may still be on the stream when its queue is cleared.
    assert driver.sent <= driver.advanced <= driver.sent + driver.overtaken
    assert driver.sent > 3


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("fifos", [1, 3])
@pytest.mark.parametrize("holds", [0, 0.3])
def test_fifos_are_served_round_robin_back_to_back(width, fifos, holds):
    g = geometry(width, fifos, layout=SPSC_PAGES)
    # The host adds no messages.
    bench = Bench(EngineQueues(PopEngine(g), g), "pop", width, fifos, holds, paces=((1, 0),))
    driver = DriverSide(bench, g, preloaded=[6] * fifos, holds=holds)
    received = receive(bench, g, driver)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert len(cycles) == 6 * fifos * g.slot_words
    # A beat follows in each cycle but those after a host write.
    span = range(cycles[0], cycles[-1] + 1)
    assert cycles == [cycle for cycle in span if cycle - 1 not in driver.held]
    order = [beat["tdest"] for beat in received if beat["tlast"]]
    assert order[:fifos] == sorted(set(order), key=order.index)
    assert order == order[:fifos] * 6


@pytest.mark.parametrize("width", [64, 512])
def test_fifo_that_runs_empty_costs_no_cycle(width):
    counts = [1, 4, 2, 6]
    g = geometry(width, len(counts), layout=SPSC_PAGES)
    bench = Bench(EngineQueues(PopEngine(g), g), "pop", width, "unequal", paces=((1, 0),))
    driver = DriverSide(bench, g, preloaded=counts)
    received = receive(bench, g, driver)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + sum(counts) * g.slot_words))


@pytest.mark.parametrize("fifo", [0, 1, 2])
def test_message_that_comes_during_another_follows_at_once(fifo):
    g = geometry(64, 3, layout=SPSC_PAGES)
    bench = Bench(EngineQueues(PopEngine(g), g), "pop", fifo, "late", paces=((1, 0),))
    driver = DriverSide(bench, g, preloaded=[0, 1, 0])
    received = receive(bench, g, driver)

    async def late(ctx):
        await ctx.tick().repeat(5)
        driver.post(fifo)

    bench.process(late)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 2 * g.slot_words))
