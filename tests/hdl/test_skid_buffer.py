# SPDX-License-Identifier: BSD-2-Clause
"""The skid buffer: every word in order, one per cycle, and a registered ``ready``."""

from itertools import pairwise

from streams import UNTHROTTLED, Bench

from hdl.fifo import SkidBuffer


def run(*case, **options):
    """Send words; returns the received ones, and each cycle's ``ready`` on both sides."""
    dut = SkidBuffer(16)
    bench = Bench(dut, *case, **options)
    sent, readies = [], []

    def packets():
        while True:
            sent.append(bench.rng.getrandbits(16))
            yield [sent[-1]]

    bench.source(dut.i, packets())
    received = bench.sink(dut.o)
    bench.monitor(lambda *both: readies.append(both), dut.i.ready, dut.o.ready, dut.o.valid)
    bench.run()
    assert [beat["payload"] for beat in received] == sent
    return received, readies


def test_words_pass_in_order():
    received, readies = run()
    assert len(received) > 50
    # The input stalls only after a cycle in which the output stalled.
    for before, now in pairwise(readies):
        assert now[0] or not before[1], "`i.ready` falls without a stall of the output"


def test_one_word_per_cycle():
    received, _ = run("unthrottled", paces=UNTHROTTLED)
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(1, 1 + len(cycles)))
