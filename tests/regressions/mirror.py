# SPDX-License-Identifier: BSD-2-Clause
"""A bench that compares BAR accesses with the golden endpoint."""

from models.config_space import LARGEST_SIZE_CODE
from models.endpoint import Endpoint
from models.layout import PAGE
from models.shell import AMP_PCI
from testbench.host.requester import read_data
from testbench.parameters import parameters
from testbench.tlp.packets import enabled_bytes, memory_read, memory_write
from tests.regressions.queue_host import SEED, QueueBench, set_sizes

AREA = parameters().layout.ram_pages(1)[-1]
"""The last page of RAM in the window of FIFO 0: without a queue if the layout has such a page."""


class Mirror(QueueBench):
    """A bench that repeats writes on the golden endpoint and compares reads with it."""

    ram_contents = None
    """Contents of the RAM after the last test that passed: no reset clears the RAM."""

    async def start(self, **options):
        await super().start(msix=False, **options)
        # Allow writes of any size.
        await self.set_max_payload(LARGEST_SIZE_CODE)
        self.golden = Endpoint(self.parameters.num_fifos, layout=self.layout)
        former, Mirror.ram_contents = Mirror.ram_contents, None
        if former is None:
            for offset in range(0, len(self.golden.ram), PAGE):
                tlp = memory_write(self.host.bars[AMP_PCI.fifo_bar] + offset, bytes(PAGE))
                await self.host.send(tlp, bar=AMP_PCI.fifo_bar)
        else:
            self.golden.ram[:] = former
            self.golden.hot_reset()

    async def finish(self):
        await super().finish()
        Mirror.ram_contents = bytes(self.golden.ram)

    async def write(self, bar, offset, data, **fields):
        """Send a write request with these ``fields``; write its enabled bytes to the golden one."""
        tlp = memory_write(self.host.bars[bar] + offset, data, **fields)
        self.golden.bar_write(bar, offset & ~3, tlp.payload, enabled_bytes(tlp))
        await self.host.send(tlp, bar=bar)

    async def begin_read(self, bar, offset, size, **fields):
        """Send a read request; return what :meth:`compare` needs."""
        fields = {"requester_id": self.host.requester_id, **fields}
        tlp = memory_read(self.host.bars[bar] + offset, size, **fields)
        pending = await self.host.requester.open(tlp)
        self.host.send_nowait(pending.request, bar=bar)
        return pending, bar, offset, size, self.golden.bar_read(bar, offset & ~3, 4 * tlp.length)

    async def finish_read(self, pending_read):
        """Wait for the answer and compare the requested bytes; return the completions."""
        pending, bar, offset, size, expected = pending_read
        completions = await pending.answers()
        got = read_data(pending.request, size, completions)
        expected = expected[offset & 3 :][:size]
        assert got == expected, (
            f"BAR{bar}+{offset:#x}, {size}, seed {SEED}: {got.hex()} instead of {expected.hex()}"
        )
        return completions

    async def read(self, bar, offset, size, **fields):
        return await self.finish_read(await self.begin_read(bar, offset, size, **fields))

    @property
    def completions_out(self):
        """The host's sink of the stream with the completions."""
        return self.host.sink_of("tx_cpl_tlp")

    async def set_max_payload(self, code):
        await set_sizes(self, payload=code)
