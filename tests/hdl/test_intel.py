# SPDX-License-Identifier: BSD-2-Clause
"""Settings, credits and error reports of the shims for Intel's blocks.

The positions of fields are from the user guides: P-Tile 683059, L- and H-Tile 683111.
"""

import random
from itertools import pairwise

import pytest
from simulation import simulate

from hdl.shims.intel_config import PTILE, STRATIX_10, ConfigurationListener
from hdl.shims.intel_credits import COUNTING_CYCLES, CreditLimit, NetCredits
from hdl.shims.intel_errors import HEADER_CYCLES, ErrorReporter

BITS = {
    "bus_number": 8,
    "device_number": 5,
    "max_payload_size": 3,
    "max_read_request_size": 3,
    "extended_tag_enable": 1,
    "bus_master_enable": 1,
    "read_completion_boundary": 1,
    "msix_enable": 1,
    "msix_mask": 1,
}


def ptile_registers(f):
    return {
        0x00: f["bus_master_enable"] << 7
        | f["extended_tag_enable"] << 6
        | f["max_read_request_size"] << 3
        | f["max_payload_size"],
        0x01: f["device_number"] << 8 | f["bus_number"],
        0x02: f["read_completion_boundary"] << 14,
        0x0C: f["msix_mask"] << 6 | f["msix_enable"] << 5,
    }


def h_tile_registers(f):
    return {
        0x00: f["device_number"] << 24
        | f["bus_number"] << 16
        | f["bus_master_enable"] << 7
        | f["extended_tag_enable"] << 6
        | f["max_read_request_size"] << 3
        | f["max_payload_size"],
        0x01: f["read_completion_boundary"] << 14,
        0x06: f["msix_mask"] << 6 | f["msix_enable"] << 5,
    }


@pytest.mark.parametrize(
    "layout, registers", [(PTILE, ptile_registers), (STRATIX_10, h_tile_registers)]
)
def test_settings_of_function_0_are_stored(layout, registers):
    dut = ConfigurationListener(layout)
    rng = random.Random(1)

    async def bench(ctx):
        for _ in range(20):
            settings = {name: rng.getrandbits(bits) for name, bits in BITS.items()}
            values = registers(settings)
            every = registers({name: (1 << bits) - 1 for name, bits in BITS.items()})
            for function in (0, 1):
                # All other bits are random.
                for address in range(32):
                    ctx.set(dut.tl_cfg_func, function)
                    ctx.set(dut.tl_cfg_add, address)
                    if function or address not in values:
                        value = rng.getrandbits(layout.control_bits)
                    else:
                        noise = rng.getrandbits(layout.control_bits) & ~every[address]
                        value = values[address] | noise
                    ctx.set(dut.tl_cfg_ctl, value)
                    await ctx.tick()
            assert {name: ctx.get(getattr(dut, name)) for name in BITS} == settings

    simulate(dut, bench)


def test_reads_wait_for_the_credit_limit():
    dut = CreditLimit()

    async def bench(ctx):
        # A host that never grants credits has no limit.
        ctx.set(dut.limit_valid, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.may_send)
        used = 0
        for given in (2, 3, 40, 4095, 5):
            ctx.set(dut.limit, given)
            ctx.set(dut.limit_valid, 1)
            await ctx.tick()
            ctx.set(dut.limit, 1234)
            ctx.set(dut.limit_valid, 0)
            while ctx.get(dut.may_send):
                ctx.set(dut.consumed, 1)
                used += 1
                await ctx.tick()
                ctx.set(dut.consumed, 0)
            assert used % 4096 == given

    simulate(dut, bench)


def test_reads_wait_for_net_credits():
    dut = NetCredits()

    async def bench(ctx):
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.may_send)
        ctx.set(dut.net, 3)
        await ctx.tick()
        for _ in range(3):
            assert ctx.get(dut.may_send)
            ctx.set(dut.consumed, 1)
            await ctx.tick()
        ctx.set(dut.consumed, 0)
        # Reads that have not reached the block, or that it has not counted, hold their credits.
        await ctx.tick().repeat(2 * COUNTING_CYCLES)
        assert not ctx.get(dut.may_send)
        ctx.set(dut.departed, 1)
        await ctx.tick()
        ctx.set(dut.departed, 0)
        ctx.set(dut.net, 2)
        await ctx.tick().repeat(COUNTING_CYCLES + 1)
        assert not ctx.get(dut.may_send)
        ctx.set(dut.net, 3)
        assert ctx.get(dut.may_send)

    simulate(dut, bench)


def test_each_error_is_reported_once_and_spaced():
    dut = ErrorReporter(13)
    # app_err_info of user guide 683059.
    infos = {
        "unsupported_posted": 0x020,
        "unsupported_non_posted": 0x420,
        "poisoned": 0x040,
        "unexpected": 0x004,
        "timeout": 0x010,
    }
    reports = []

    async def bench(ctx):
        async def watch(cycles):
            for cycle in range(cycles):
                _, _, valid, info = await ctx.tick().sample(dut.app_err_valid, dut.app_err_info)
                if valid:
                    reports.append((cycle, info))

        for name, info in infos.items():
            ctx.set(getattr(dut, name), 1)
            await ctx.tick()
            ctx.set(getattr(dut, name), 0)
            await watch(10)
            assert [info for _, info in reports] == [info]
            reports.clear()
        for name in infos:
            ctx.set(getattr(dut, name), 1)
        await ctx.tick()
        for name in infos:
            ctx.set(getattr(dut, name), 0)
        await watch(40)
        assert sorted(info for _, info in reports) == sorted(infos.values())
        times = [cycle for cycle, _ in reports]
        assert all(b - a == HEADER_CYCLES for a, b in pairwise(times))

    simulate(dut, bench)


def test_info_bits_are_checked():
    with pytest.raises(ValueError, match="info_bits is 10: must be 11 or more"):
        ErrorReporter(10)
