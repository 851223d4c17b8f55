# SPDX-License-Identifier: BSD-2-Clause
"""Configuration requests of every form: byte enables, lengths, and registers that only look."""

import random

import cocotb

from models import config_space as space
from models.endpoint import Endpoint
from testbench.tlp import CplStatus
from testbench.tlp.packets import config_read, config_write
from tests.regressions.bar_access import PATTERNS
from tests.regressions.enumeration import registers
from tests.regressions.queue_host import SEED, QueueBench, refused


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_byte_enable_pattern(dut):
    """Of each register exactly the enabled bytes are written, and a read brings the whole dword."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    host = bench.host
    golden = Endpoint(bench.parameters.num_fifos)
    for offset in registers(bench):
        golden.config_write(offset, await host.config_read(offset))
    for offset in registers(bench):
        for pattern in rng.sample(PATTERNS, len(PATTERNS)):
            value = rng.getrandbits(32)
            if offset == space.INITIATE_FLR.offset:
                value &= ~space.INITIATE_FLR.mask
            # Last DW BE means nothing in a request of one dword.
            write = config_write(host.device_id, offset, value, pattern)
            (answer,) = await host.request(write.replace(last_be=rng.randrange(16)))
            assert answer.status == CplStatus.SC
            golden.config_write(offset, value, pattern)
            read = config_read(host.device_id, offset, first_be=rng.randrange(16))
            (answer,) = await host.request(read)
            got, want = int.from_bytes(answer.payload, "little"), golden.config_read(offset)
            assert got == want, (
                f"{offset:#05x} after {value:#010x}, {pattern:#x}: {got:#010x}, not {want:#010x}"
            )
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def of_other_lengths(dut):
    """A configuration request is of one dword; one of another length is refused whole."""
    bench = QueueBench(dut)
    await bench.start()
    target = bench.host.device_id
    line = 0x3C
    for length in (2, 3, 4):
        await refused(bench, config_read(target, line, length=length))
        payload = b"\xff" * 4 * length
        await refused(bench, config_write(target, line, 0, length=length, payload=payload))
        assert await bench.host.config_read(line, 1) == 0
    # What comes after is served.
    await bench.host.config_write(line, 0xA5, 1)
    assert await bench.host.config_read(line, 1) == 0xA5
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def base_addresses(dut):
    """Sizing: all ones read back the size; a BAR that is not there reads zero whatever comes."""
    bench = QueueBench(dut)
    await bench.reset()
    host = bench.host
    sizes = Endpoint(bench.parameters.num_fifos).bar_sizes
    for bar in range(6):
        offset = space.bar_offset(bar)
        before = await host.config_read(offset)
        flags = before & 0xF
        assert before == flags, "an address before anybody wrote one"
        await host.config_write(offset, 0xFFFF_FFFF)
        probe = await host.config_read(offset)
        size = sizes.get(bar, 0)
        assert probe == ((-size & 0xFFFF_FFFF) | flags if size else 0)
        await host.config_write(offset, 0)
        assert await host.config_read(offset) == flags
    # No expansion ROM either.
    await host.config_write(0x30, 0xFFFF_FFFF)
    assert await host.config_read(0x30) == 0
    await bench.finish()
