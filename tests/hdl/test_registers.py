# SPDX-License-Identifier: BSD-2-Clause
"""The register BAR: constants, doorbells, and zero at every other offset."""

import pytest
from simulation import simulate
from streams import SIZES, geometry, seeded

from hdl.registers import RegisterBar
from models.shell import AMP_PCI, PciShell

SPREAD = PciShell(
    name="spread",
    version=0x1234_5678,
    features=0x9ABC_DEF0,
    features_offset=0x18,
    notify_offset=0x100,
    notify_stride=8,
)


@pytest.mark.parametrize("shell", [AMP_PCI, SPREAD], ids=lambda shell: shell.name)
@pytest.mark.parametrize("width, fifos", SIZES)
def test_registers_at_their_offsets(width, fifos, shell):
    g = geometry(width, fifos, shell=shell)
    dut = RegisterBar(g)
    rng = seeded(width, shell.name)
    constants = {shell.version_offset: shell.version, shell.features_offset: shell.features}
    doorbells = [shell.notify(fifo) for fifo in range(fifos)]
    words = [offset // g.word_bytes for offset in [*constants, *doorbells]]
    rung = set()

    def word():
        return rng.choice([*words, rng.getrandbits(g.word_address_bits)])

    async def bench(ctx):
        for _ in range(400):
            write, read = dut.write, dut.read
            written, mask, writes = word(), rng.getrandbits(g.word_bytes), rng.getrandbits(1)
            if rng.random() < 0.5:
                mask &= 1 << rng.randrange(g.word_bytes)
            ctx.set(write.enable, writes)
            ctx.set(write.address, written)
            ctx.set(write.mask, mask)
            ctx.set(write.data, rng.getrandbits(width))
            expected = 0
            for fifo, offset in enumerate(doorbells):
                # Any of the four bytes rings.
                place = offset - written * g.word_bytes
                if writes and place >= 0 and mask >> place & 0xF:
                    expected |= 1 << fifo
            assert ctx.get(dut.doorbell) == expected
            rung.add(expected)

            fetched, reads = word(), rng.getrandbits(1)
            ctx.set(read.enable, reads)
            ctx.set(read.address, fetched)
            content = bytearray(g.word_bytes)
            for offset, value in constants.items():
                if offset // g.word_bytes == fetched:
                    place = offset % g.word_bytes
                    content[place : place + 4] = value.to_bytes(4, "little")
            assert ctx.get(read.data) == (int.from_bytes(content, "little") if reads else 0)

    simulate(dut, bench)
    assert len(rung) > 1
