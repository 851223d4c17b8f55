# SPDX-License-Identifier: BSD-2-Clause
"""AXI bursts for the benches of the DMA window: random ones, and the bytes that they cover.

Independent of the gateware: AMBA AXI4 (ARM IHI 0022E) section A3.4.1.
"""

from dataclasses import dataclass

PAGE = 4096
FIXED, INCR, WRAP = range(3)


@dataclass(frozen=True)
class Burst:
    """Payload of AW or AR."""

    id: int
    addr: int
    len: int
    size: int
    burst: int

    @property
    def payload(self):
        """Fields of the channel."""
        return dict(vars(self))

    def beats(self):
        """First and last byte address of each beat."""
        address = self.addr
        for _ in range(self.len + 1):
            last = address | ((1 << self.size) - 1)
            yield address, last
            address = last + 1

    @property
    def last_byte(self):
        """Address of the last byte."""
        return list(self.beats())[-1][1]

    def is_served(self, word_bytes):
        """Whether the window serves the burst."""
        return (
            (self.burst == INCR or self.len == 0)
            and 1 << self.size <= word_bytes
            and self.addr // PAGE == self.last_byte // PAGE
        )


def random_burst(rng, word_bytes, *, served=None):
    """A burst; with ``served``, one that the window serves or one that it does not."""
    largest = word_bytes.bit_length() - 1
    while True:
        size = rng.choice([largest, largest, rng.randint(0, largest), rng.randint(0, 7)])
        burst = Burst(
            id=rng.getrandbits(8),
            addr=rng.getrandbits(rng.choice([16, 32, 64])) & ~rng.choice([0, (1 << size) - 1]),
            len=rng.choice([0, 1, *(rng.randint(0, 15) for _ in range(6)), rng.randint(0, 255)]),
            size=size,
            burst=rng.choice([INCR, INCR, INCR, rng.randrange(3)]),
        )
        # The top of the address space has no byte after it.
        if burst.last_byte >= 1 << 64:
            continue
        if served is None or burst.is_served(word_bytes) == served:
            return burst


def strobes(rng, count, word_bytes):
    """Random strobes of ``count`` beats: all set, sparse or dense; also on lanes outside a beat."""
    kind = rng.choice(["all", "all", "sparse", "dense"])
    for _ in range(count):
        one, other = rng.getrandbits(word_bytes), rng.getrandbits(word_bytes)
        yield {"all": (1 << word_bytes) - 1, "sparse": one & other, "dense": one | other}[kind]


def write_source(bench, aw, w, word_bytes, bursts):
    """Drive the bursts of the iterable ``bursts`` on AW, and random data for them on W.

    Returns the list of bursts that were driven, each with its beats.
    """
    sent = []

    def addresses():
        for burst in bursts:
            beats = [
                {"data": bench.rng.getrandbits(8 * word_bytes), "strb": strb, "last": 0}
                for strb in strobes(bench.rng, burst.len + 1, word_bytes)
            ]
            beats[-1]["last"] = 1
            sent.append((burst, beats))
            yield [burst.payload]

    async def data(ctx):
        done = 0
        while True:
            while done == len(sent):
                await ctx.tick()
            for beat in sent[done][1]:
                while bench.idles():
                    await ctx.tick()
                for name, value in beat.items():
                    ctx.set(w.p[name], value)
                ctx.set(w.valid, 1)
                await ctx.tick().until(w.ready)
                ctx.set(w.valid, 0)
            done += 1

    bench.source(aw, addresses())
    bench.process(data)
    return sent


def endless(make):
    """Results of ``make``, without end."""
    while True:
        yield make()


def bytes_of(burst, beats, word_bytes):
    """Bytes that a burst writes, by address."""
    return {
        address: beat["data"] >> 8 * (address % word_bytes) & 0xFF
        for (first, last), beat in zip(burst.beats(), beats, strict=True)
        for address in range(first, last + 1)
        if beat["strb"] >> address % word_bytes & 1
    }


def random_words(rng, word_bytes):
    """The words of one burst: consecutive, with any strobes."""
    first = rng.getrandbits(20)
    count = rng.choice([1, 2, rng.randint(1, 20)])
    every = (1 << word_bytes) - 1
    dense = rng.random() < 0.6
    return [
        {
            "data": rng.getrandbits(8 * word_bytes),
            "strb": every if dense and rng.random() < 0.8 else rng.getrandbits(word_bytes),
            "word": first + number,
            "last": number == count - 1,
        }
        for number in range(count)
    ]


def runs(word, word_bytes):
    """First and last byte of each run of bytes in a word."""
    places = [place for place in range(word_bytes) if word["strb"] >> place & 1]
    firsts = [place for place in places if place - 1 not in places]
    lasts = [place for place in places if place + 1 not in places]
    return list(zip(firsts, lasts, strict=True))


def pieces_of(words, word_bytes, block):
    """The pieces of a burst, with a segment that must not leave an aligned ``block`` of bytes."""
    pieces = []
    for number, word in enumerate(words):
        found = runs(word, word_bytes)
        for first, last in found:
            is_last = word["last"] and (first, last) == found[-1]
            at_limit = (word["word"] + 1) * word_bytes % block == 0
            following = None if word["last"] else words[number + 1]["strb"] & 1
            continues = last == word_bytes - 1 and not at_limit and following
            pieces.append(
                {
                    "data": word["data"],
                    "word": word["word"],
                    "first": first,
                    "last": last,
                    "closes": not continues,
                    "ends": is_last,
                    "empty": 0,
                }
            )
        if word["last"] and not found:
            pieces.append({"empty": 1, "ends": 1, "closes": 1})
    return pieces
