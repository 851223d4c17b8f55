# SPDX-License-Identifier: BSD-2-Clause
"""Configuration requests: byte enables, lengths, and unimplemented base address registers."""

import random

import cocotb

from models import config_space as space
from models.endpoint import Endpoint
from testbench.tlp import CplStatus
from testbench.tlp.packets import config_read, config_write
from tests.regressions.bar_access import PATTERNS
from tests.regressions.enumeration import registers
from tests.regressions.queue_host import SEED, QueueBench, expect_unsupported


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_byte_enable_pattern(dut):
    """A write changes exactly the enabled bytes of a register; a read returns the whole dword."""
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
            # A request of one dword ignores Last DW BE.
            write = config_write(host.device_id, offset, value, pattern)
            (completion,) = await host.request(write.replace(last_be=rng.randrange(16)))
            assert completion.status == CplStatus.SC
            golden.config_write(offset, value, pattern)
            read = config_read(host.device_id, offset, first_be=rng.randrange(16))
            (completion,) = await host.request(read)
            got, expected = int.from_bytes(completion.payload, "little"), golden.config_read(offset)
            assert got == expected, (
                f"{offset:#05x} after {value:#010x}, {pattern:#x}: {got:#010x}, "
                f"expected {expected:#010x}"
            )
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def other_lengths_are_unsupported_requests(dut):
    """A configuration request longer than one dword is an Unsupported Request without effect."""
    bench = QueueBench(dut)
    await bench.start()
    target = bench.host.device_id
    line = 0x3C
    for length in (2, 3, 4):
        await expect_unsupported(bench, config_read(target, line, length=length))
        payload = b"\xff" * 4 * length
        await expect_unsupported(
            bench, config_write(target, line, 0, length=length, payload=payload)
        )
        assert await bench.host.config_read(line, 1) == 0
    # The next request is served.
    await bench.host.config_write(line, 0xA5, 1)
    assert await bench.host.config_read(line, 1) == 0xA5
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bar_sizing(dut):
    """All ones read back the size; an unimplemented BAR reads zero after any write."""
    bench = QueueBench(dut)
    await bench.reset()
    host = bench.host
    sizes = Endpoint(bench.parameters.num_fifos).bar_sizes
    for bar in range(6):
        offset = space.bar_offset(bar)
        before = await host.config_read(offset)
        flags = before & 0xF
        assert before == flags, "a base address before the first write"
        await host.config_write(offset, 0xFFFF_FFFF)
        size_mask = await host.config_read(offset)
        size = sizes.get(bar, 0)
        assert size_mask == ((-size & 0xFFFF_FFFF) | flags if size else 0)
        await host.config_write(offset, 0)
        assert await host.config_read(offset) == flags
    # There is no expansion ROM.
    await host.config_write(0x30, 0xFFFF_FFFF)
    assert await host.config_read(0x30) == 0
    await bench.finish()
