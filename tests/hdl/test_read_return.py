# SPDX-License-Identifier: BSD-2-Clause
"""The data of reads returns to AXI: the beats of each tag in order, failed ones as SLVERR."""

from dataclasses import dataclass

import pytest
from streams import UNTHROTTLED, Bench, drive, geometry

from hdl.dma.limits import REQUEST_BYTES, TAGS
from hdl.dma.read_return import ReadReturn
from hdl.tlp import DATA_WIDTHS

OKAY, SLVERR = 0, 2


@dataclass
class Read:
    """A read whose data is to be returned, and the cycles in which things happened to it."""

    tag: int
    context: dict
    failed: bool
    taken: int | None = None
    retired: int | None = None
    retire_failed: bool = False


def random_read(rng, tag, word_bytes):
    """A read of some beats of a burst; a failed one may have beats of any number."""
    size = rng.randrange(word_bytes.bit_length())
    offset = rng.randrange(REQUEST_BYTES)
    most = (REQUEST_BYTES >> size) - (offset >> size)
    beats = min(rng.choice([1, 2, 4, rng.randint(1, 12)]), most)
    context = {
        "id": rng.getrandbits(8),
        "size": size,
        "beats_m1": beats - 1,
        "last": rng.getrandbits(1),
        "offset": offset,
    }
    return Read(tag, context, rng.random() < 0.2)


class Tags:
    """The tags in their order, and the buffer with their data."""

    def __init__(self, bench, g, *, resets=0.0, reads=None):
        self._bench, self._g, self._resets = bench, g, resets
        self._reads = reads
        self.taken = []
        self.resets = []
        self._retired = 0
        bench.process(self._run)

    def word(self, tag, place):
        """Data of a word of the buffer."""
        seed = f"{tag} {place} {self._g.data_width}".encode()
        return int.from_bytes((seed * 64)[: self._g.word_bytes], "little")

    def expected(self, read):
        """ID, data and last of the beats of a read."""
        context = read.context
        address = context["offset"]
        for beat in range(context["beats_m1"] + 1):
            data = self.word(read.tag, address // self._g.word_bytes)
            last = context["last"] and beat == context["beats_m1"]
            yield context["id"], data, last
            address = (address >> context["size"]) + 1 << context["size"]

    async def _run(self, ctx):
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        places = REQUEST_BYTES // self._g.word_bytes
        read = None
        tag = 0
        while True:
            if read is None and not bench.ended and not bench.idles():
                if self._reads is None:
                    read = random_read(rng, tag, self._g.word_bytes)
                elif self._reads:
                    read = self._reads.pop(0)
                tag = (tag + 1) % TAGS
            resets = not bench.ended and rng.random() < self._resets
            ctx.set(dut.reset, resets)
            ctx.set(dut.ready, read is not None)
            if read is not None:
                ctx.set(dut.tag, read.tag)
                drive(ctx, dut.context, read.context, rng)
                ctx.set(dut.failed, read.failed)
            values = (
                *(dut.take, dut.retire, dut.retire_failed),
                *(dut.buffer.enable, dut.buffer.address),
            )
            _, _, takes, retires, fails, fetches, address = await ctx.tick().sample(*values)
            assert not takes or read is not None, "a tag is taken that is not ready"
            if resets:
                self.resets.append(bench.cycle)
            if fetches:
                ctx.set(dut.buffer.data, self.word(*divmod(address, places)))
            if retires:
                retired = self.taken[self._retired]
                retired.retired, retired.retire_failed = bench.cycle, bool(fails)
                self._retired += 1
            else:
                assert not fails
            if takes:
                read.taken = bench.cycle
                self.taken.append(read)
                read = None


def answer(beat, failed):
    """ID, data, response and last of a beat of R."""
    axi_id, data, last = beat
    return (axi_id, 0, SLVERR, last) if failed else (axi_id, data, OKAY, last)


def run(width, *case, **options):
    dut = ReadReturn(geometry(width))
    bench = Bench(dut, width, *case)
    tags = Tags(bench, geometry(width), **options)
    beats = bench.sink(dut.r)
    bench.run()
    assert len(tags.taken) > 5
    return tags, [(beat["id"], beat["data"], beat["resp"], beat["last"]) for beat in beats]


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_beats_return_in_order(width):
    tags, beats = run(width)
    expected = []
    for read in tags.taken:
        expected += [answer(beat, read.failed) for beat in tags.expected(read)]
        assert read.retired is not None and read.retire_failed == read.failed
    assert beats == expected


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_reset_fails_what_is_not_fetched(width):
    """The beats that were fetched before the reset return their data."""
    tags, beats = run(width, "resets", resets=0.02)
    assert len(beats) == sum(read.context["beats_m1"] + 1 for read in tags.taken)
    beats = iter(beats)
    for read in tags.taken:
        resets = [cycle for cycle in tags.resets if read.taken <= cycle < read.retired]
        # The last beat is fetched in the cycle before `retire`.
        must_fail = read.failed or any(cycle < read.retired - 1 for cycle in resets)
        assert not must_fail or read.retire_failed
        assert must_fail or resets or not read.retire_failed
        has_failed = False
        for expected in tags.expected(read):
            beat = next(beats)
            has_failed = has_failed or beat[2] == SLVERR
            assert beat == answer(expected, has_failed)
        assert has_failed == read.retire_failed


def test_a_beat_per_cycle():
    g = geometry(128)
    dut = ReadReturn(g)
    bench = Bench(dut, paces=UNTHROTTLED)
    context = {"id": 0, "size": 4, "beats_m1": 7, "last": 1, "offset": 0}
    Tags(bench, g, reads=[Read(tag, context, False) for tag in range(4)])
    beats = bench.sink(dut.r)
    bench.run()
    cycles = [beat["cycle"] for beat in beats]
    assert cycles == list(range(cycles[0], cycles[0] + 32))
