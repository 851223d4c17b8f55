# SPDX-License-Identifier: BSD-2-Clause
"""Block boundaries that a request crosses, for every block size at once."""

from amaranth.hdl import Module, Signal
from simulation import simulate
from streams import seeded

from hdl.requests import BLOCK_BITS, PAGE_BIT, crosses


def test_sizes_of_max_payload_size_have_a_bit_each():
    assert [4 << bit for bit in BLOCK_BITS] == [128, 256, 512, 1024, 2048, 4096]
    assert 4 << PAGE_BIT == 4096


def test_boundaries_of_every_block_size():
    rng = seeded()
    m = Module()
    address, length_m1 = Signal(10), Signal(10)
    found = Signal(len(BLOCK_BITS))
    m.d.comb += found.eq(crosses(address, length_m1))

    async def bench(ctx):
        for _ in range(2000):
            first = rng.getrandbits(10)
            length = rng.randint(1, 1 << rng.randint(0, 10))
            ctx.set(address, first)
            ctx.set(length_m1, length - 1)
            bits = ctx.get(found)
            for place, bit in enumerate(BLOCK_BITS):
                size = 1 << bit
                if length <= size:
                    expected = first // size != (first + length - 1) // size
                    assert bits >> place & 1 == expected, (first, length, size)

    simulate(m, bench)
