# SPDX-License-Identifier: BSD-2-Clause
"""The pop engine: each message once, whole and in order, while the host rewrites and resets."""

from collections import deque

import pytest
from amaranth.hdl import Value
from streams import SIZES, Bench, decode, geometry

from hdl.queues.modulo import index_width
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

    Attributes
    ----------
    messages : list of deque
        Messages of each FIFO that the engine has not sent.
    sent, overtaken, advanced : int
        Messages received; of these, messages of queues that were cleared after they began; advances
        of a tail.
    """

    def __init__(self, bench, g, *, clears=0.0, space=1.0, preloaded=0):
        self._bench, self._g = bench, g
        self._clears, self._space = clears, space
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
        self._posts = 0
        for fifo in range(n):
            for _ in range(preloaded):
                self._post(fifo)
        bench.process(self._run)

    def _post(self, fifo):
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
        bench, dut, n = self._bench, self._bench.dut, self._g.num_fifos
        rng = bench.rng
        indices = dut.indices
        bits = index_width(self._capacity)
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
            for port, values in ((indices.head, self._head), (indices.tail, self._tail)):
                packed = sum(value << bits * fifo for fifo, value in enumerate(values))
                ctx.set(Value.cast(port), packed)
            ctx.set(indices.rewritten, sum(1 << fifo for fifo in rewritten))
            ctx.set(dut.reset, resetting > 0)
            ctx.set(dut.has_space, space)

            values = (
                *(dut.o.valid, dut.o.ready, Value.cast(dut.o.p)),
                *(dut.ram.enable, dut.ram.address),
                *(indices.advance.valid, indices.advance.fifo, indices.advance.value),
            )
            _, _, valid, ready, beat, *ram, advances, fifo, value = await ctx.tick().sample(*values)
            beat = decode(shape, beat)
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
            if advances:
                assert not resetting and fifo not in rewritten, "a queue that starts over advances"
                assert value == self._g.layout.queue.next(self._tail[fifo])
                self._tail[fifo] = value
                self.advanced += 1
            if resetting:
                rewritten = dict.fromkeys(range(n), 0)
            for fifo, index in rewritten.items():
                self._clear(fifo, index)
            if not (resetting or self._pause or bench.ended or bench.idles()):
                self._post(rng.randrange(n))

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

    return bench.sink(bench.dut.o, accept)


@pytest.mark.parametrize("clears", [0, 0.03])
@pytest.mark.parametrize("width, fifos", [*SIZES, (512, 1)])
def test_messages_are_sent_once_and_in_order(width, fifos, clears):
    g = geometry(width, fifos, layout=SMALL_PAGES)
    dut = PopEngine(g)
    bench = Bench(dut, width, fifos, clears)
    driver = DriverSide(bench, g, clears=clears, space=0.7)
    receive(bench, g, driver)
    bench.run()
    assert not any(driver.messages)
    # A message that has advanced its index may still be on the stream when its queue is cleared.
    assert driver.sent <= driver.advanced <= driver.sent + driver.overtaken
    assert driver.sent > 3


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("fifos", [1, 3])
def test_fifos_are_served_round_robin_back_to_back(width, fifos):
    g = geometry(width, fifos, layout=SPSC_PAGES)
    dut = PopEngine(g)
    # The host adds no messages.
    bench = Bench(dut, width, fifos, paces=((1, 0),))
    driver = DriverSide(bench, g, preloaded=6)
    received = receive(bench, g, driver)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 6 * fifos * g.slot_words))
    order = [beat["tdest"] for beat in received if beat["tlast"]]
    assert order[:fifos] == sorted(set(order), key=order.index)
    assert order == order[:fifos] * 6
