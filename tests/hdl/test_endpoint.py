# SPDX-License-Identifier: BSD-2-Clause
"""The endpoint with configuration space: routing of received TLPs, BAR decoding, transmission."""

import pytest
from host import Device, Host
from streams import Bench

from hdl.endpoint import AmpPciEndpoint
from models import config_space as spec
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import config_read, config_write, memory_read, memory_write

SHELL = AMP_PCI
TARGET = 0x0308
BARS = {SHELL.register_bar: 0x4000_0000, SHELL.fifo_bar: 0x8000_0000, SHELL.msix_bar: 0xC000_0000}


class EndpointHost(Host):
    """Configures the endpoint as an operating system does."""

    async def config(self, ctx, offset):
        """Read a dword of configuration space."""
        tlp = config_read(TARGET, offset, tag=self._bench.rng.getrandbits(8))
        return int.from_bytes((await self.request(ctx, tlp)).payload, "little")

    async def set_config(self, ctx, offset, value):
        """Write a dword of configuration space."""
        answer = await self.request(ctx, config_write(TARGET, offset, value))
        assert answer.status == CplStatus.SC

    async def enumerate(self, ctx):
        """Place the BARs, and enable the function and its interrupts."""
        for bar, address in self.bars.items():
            await self.set_config(ctx, spec.bar_offset(bar), address)
        enables = spec.MEMORY_SPACE_ENABLE.mask | spec.BUS_MASTER_ENABLE.mask
        await self.set_config(ctx, spec.COMMAND, enables)
        await self.set_config(ctx, spec.MSIX_CAPABILITY, spec.MSIX_ENABLE.mask)


def run(name, width, fifos, scenario):
    """Run ``scenario`` with a host and a device side."""
    dut = AmpPciEndpoint(num_fifos=fifos, data_width=width, dma=False)
    bench = Bench(dut, name, width, paces=((0, 0), (0.3, 0.3)), period=60)
    host = EndpointHost(bench, dut.rx_tlp, dict(BARS), shell=SHELL)
    device = Device(bench, dut)
    bench.sink(dut.tx_tlp, host.receive)

    async def main(ctx):
        # The check of received TLPs takes over Max_Payload_Size two cycles after `rst`.
        await ctx.tick().repeat(2)
        await scenario(ctx, bench, host, device)

    bench.scenario(main)
    bench.run()


@pytest.mark.parametrize("width, fifos", [(64, 1), (128, 8), (256, 3), (512, 1)])
def test_enumerated_function_exchanges_messages(width, fifos):
    async def scenario(ctx, bench, host, device):
        await host.enumerate(ctx)
        version = await host.read(ctx, SHELL.register_bar, SHELL.version_offset)
        assert version.payload == SHELL.version.to_bytes(4, "little")
        assert version.completer_id == TARGET
        fifo, message = fifos - 1, bench.rng.randbytes(64)
        await host.post(ctx, fifo, message)
        assert await device.message(ctx) == (fifo, message)
        await host.program_vector(ctx, fifo, 0xFEE0_0000, 0x1234)
        await device.send(ctx, fifo, message)
        interrupt = await host.claim(ctx, lambda tlp: tlp.kind == TlpKind.MWR32)
        assert (interrupt.address, interrupt.requester_id) == (0xFEE0_0000, TARGET)
        slot = SPSC_PAGES.device_queue_base(fifo) + SPSC_PAGES.queue.slot_offset(0)
        answer = await host.read(ctx, SHELL.fifo_bar, slot, 64)
        assert answer.payload == message

    run("messages", width, fifos, scenario)


def test_addresses_outside_the_bars_are_unsupported():
    async def scenario(ctx, bench, host, device):
        host.bars[9] = BARS[SHELL.register_bar] - 4
        # Memory Space Enable is off.
        assert (await host.read(ctx, SHELL.register_bar, 0)).status == CplStatus.UR
        await host.enumerate(ctx)
        assert (await host.read(ctx, SHELL.register_bar, 0)).status == CplStatus.SC
        assert (await host.read(ctx, 9, 0)).status == CplStatus.UR
        # The same address above 4 GiB.
        high = memory_read(1 << 32 | BARS[SHELL.register_bar], 4, tag=7)
        assert (await host.request(ctx, high)).status == CplStatus.UR
        status = await host.config(ctx, spec.DEVICE_CONTROL)
        assert status & spec.UNSUPPORTED_REQUEST_DETECTED.mask
        assert not status & spec.FATAL_ERROR_DETECTED.mask

    run("outside", 64, 1, scenario)


def test_malformed_tlps_are_dropped_whole():
    async def scenario(ctx, bench, host, device):
        await host.enumerate(ctx)
        address = BARS[SHELL.fifo_bar] + SPSC_PAGES.driver_queue_base(0)
        await host.write(ctx, SHELL.fifo_bar, SPSC_PAGES.driver_queue_base(0) + 256, b"kept")
        # Longer than Max_Payload_Size, 128 bytes, and of a type that does not exist.
        await host.send(ctx, memory_write(address + 256, bytes(132)))
        await host.send(ctx, Tlp(0x1F, length=1, address=address))
        kept = await host.read(ctx, SHELL.fifo_bar, SPSC_PAGES.driver_queue_base(0) + 256)
        assert kept.payload == b"kept"
        assert await host.config(ctx, spec.DEVICE_CONTROL) & spec.FATAL_ERROR_DETECTED.mask

    run("malformed", 64, 1, scenario)


def test_function_level_reset_follows_its_completion():
    async def scenario(ctx, bench, host, device):
        await host.enumerate(ctx)
        await host.set_config(ctx, spec.DEVICE_CONTROL, spec.INITIATE_FLR.mask)
        await ctx.tick().repeat(20)
        assert await host.config(ctx, spec.COMMAND) & 0xFFFF == 0
        assert await host.config(ctx, spec.bar_offset(SHELL.register_bar)) == 0

    run("reset", 64, 1, scenario)
