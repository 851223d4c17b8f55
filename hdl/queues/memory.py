# SPDX-License-Identifier: BSD-2-Clause
"""The RAM behind the FIFO BAR: two banks, so that both engines and the host run at full rate.

The driver queues lie in one bank, which the host writes and the pop engine reads; the device
queues in the other, which the push engine writes and the host reads. Where two meet, each waits for
the other one cycle at a time.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry

__all__ = ["FifoMemory", "bank_bit"]


def bank_bit(geometry: Geometry) -> int:
    """The byte address bit that tells the two banks apart: set for one kind of queue only."""
    layout = geometry.layout
    return (layout.driver_queue ^ layout.device_queue).bit_length() - 1


class FifoMemory(wiring.Component):
    """RAM of the FIFO BAR, in words of ``data_width`` bits.

    What a read returns of a word that is written in the same cycle is not defined, so that any
    block RAM will do. The host never reads and writes a bank in one cycle. An engine and the host
    meet at a word only where one of them has no business: the host in a slot that it has handed
    over or has not been handed yet.

    Attributes
    ----------
    host_write_enable, host_write_address, host_write_data, host_write_mask : In
        A host write of the bytes in the mask, on this cycle's edge.
    host_write_ready : Out(1)
        There may be one in this cycle.
    host_read_valid, host_read_address : In, host_read_ready : Out(1), host_read_data : Out
        Host read: taken on this cycle's edge, else hold it; data is there the cycle after, and
        stays until the next read.
    pop_enable, pop_address : In, pop_data : Out
        Read by the pop engine; data likewise. Only driver queues are there.
    push_valid, push_address, push_data : In, push_ready : Out(1)
        Write by the push engine of a whole word. Only device queues are there.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        address = geometry.word_address_bits
        width = geometry.data_width
        super().__init__(
            {
                "host_write_enable": In(1),
                "host_write_address": In(address),
                "host_write_data": In(width),
                "host_write_mask": In(geometry.word_bytes),
                "host_write_ready": Out(1, init=1),
                "host_read_valid": In(1),
                "host_read_ready": Out(1),
                "host_read_address": In(address),
                "host_read_data": Out(width),
                "pop_enable": In(1),
                "pop_address": In(address),
                "pop_data": Out(width),
                "push_valid": In(1),
                "push_ready": Out(1),
                "push_address": In(address),
                "push_data": In(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        bit = bank_bit(g) - (g.word_bytes.bit_length() - 1)
        device_bank = g.layout.device_queue >> bank_bit(g) & 1
        words = g.bar_sizes[g.shell.fifo_bar] // g.word_bytes
        used = (words - 1).bit_length()

        def within(address: Value) -> Value:
            return Cat(address[:bit], address[bit + 1 : used])

        def bank() -> memory.Memory:
            return memory.Memory(
                shape=g.data_width, depth=words // 2, init=[], attrs={"no_rw_check": 1}
            )

        m.submodules.driver_bank = driver = bank()
        m.submodules.device_bank = device = bank()
        driver_write = driver.write_port(granularity=8)
        device_write = device.write_port(granularity=8)
        driver_host = driver.read_port()
        driver_pop = driver.read_port()
        device_host = device.read_port()

        to_device = self.host_write_address[bit] == device_bank
        same_bank = self.host_write_address[bit] == self.host_read_address[bit]
        # After an engine or a read had to wait, the host's writes do, wherever they go: so much is
        # known a cycle ahead, and behind them stands all that the host sends.
        push_goes = Signal()
        read_goes = Signal()
        m.d.comb += [
            self.push_ready.eq(~(self.host_write_enable & to_device)),
            push_goes.eq(self.push_valid & self.push_ready),
            self.host_read_ready.eq(~(self.host_write_enable & same_bank)),
            read_goes.eq(self.host_read_valid & self.host_read_ready),
        ]
        m.d.sync += self.host_write_ready.eq(
            ~((self.push_valid & ~self.push_ready) | (self.host_read_valid & ~self.host_read_ready))
        )

        m.d.comb += [
            driver_write.addr.eq(within(self.host_write_address)),
            driver_write.data.eq(self.host_write_data),
            device_write.addr.eq(
                within(Mux(self.push_ready, self.push_address, self.host_write_address))
            ),
            device_write.data.eq(Mux(self.push_ready, self.push_data, self.host_write_data)),
        ]
        with m.If(self.host_write_enable & ~to_device):
            m.d.comb += driver_write.en.eq(self.host_write_mask)
        with m.If(self.host_write_enable & to_device):
            m.d.comb += device_write.en.eq(self.host_write_mask)
        with m.Elif(push_goes):
            m.d.comb += device_write.en.eq((1 << g.word_bytes) - 1)

        host_read_device = Signal()
        m.d.comb += [
            driver_host.addr.eq(within(self.host_read_address)),
            device_host.addr.eq(within(self.host_read_address)),
            driver_host.en.eq(read_goes),
            device_host.en.eq(read_goes),
            driver_pop.addr.eq(within(self.pop_address)),
            driver_pop.en.eq(self.pop_enable),
            self.pop_data.eq(driver_pop.data),
            self.host_read_data.eq(Mux(host_read_device, device_host.data, driver_host.data)),
        ]
        with m.If(read_goes):
            m.d.sync += host_read_device.eq(self.host_read_address[bit] == device_bank)
        return m
