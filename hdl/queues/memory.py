# SPDX-License-Identifier: BSD-2-Clause
"""The RAM behind the FIFO BAR: two banks, so that both engines and the host run at full rate.

The driver queues lie in one bank, which the host writes and the pop engine reads; the device
queues in the other, which the push engine writes and the host reads.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry

__all__ = ["FifoMemory"]


class FifoMemory(wiring.Component):
    """RAM of the FIFO BAR, in words of ``data_width`` bits.

    What a read returns of a word that is written in the same cycle is not defined, so that any
    block RAM will do. The host is not to read and write in one cycle. An engine and the host meet
    at a word only where one of them has no business: the host in a slot that it has handed over or
    has not been handed yet.

    Attributes
    ----------
    host_write_enable, host_write_address, host_write_data, host_write_mask : In
        A host write of the bytes in the mask. It goes before a write by the push engine.
    host_write_to_device : In(1)
        It is one to the bank of the device queues.
    host_read_enable, host_read_address : In, host_read_data : Out
        Host read; data is there two cycles after, and zero where nothing was read.
    host_read_hides : In(1)
        In the cycle after a host read: lane 0 is something else's, and zero.
    pop_enable, pop_address : In, pop_data : Out
        Read by the pop engine; data is there the cycle after, and stays until the next read. Only
        driver queues are there.
    push_valid, push_address, push_data, push_mask : In, push_ready : Out(1)
        Write by the push engine of a whole word, a cycle after, or two: zeroes where the mask has
        no byte. Only device queues are there. While a host write holds one up ``push_ready`` is
        down: the host is to write nothing in the cycle after, so that none waits longer.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        address = geometry.word_address_bits
        width = geometry.data_width
        super().__init__(
            {
                "host_write_enable": In(1),
                "host_write_to_device": In(1),
                "host_write_address": In(address),
                "host_write_data": In(width),
                "host_write_mask": In(geometry.word_bytes),
                "host_read_enable": In(1),
                "host_read_address": In(address),
                "host_read_hides": In(1),
                "host_read_data": Out(width),
                "pop_enable": In(1),
                "pop_address": In(address),
                "pop_data": Out(width),
                "push_valid": In(1),
                "push_ready": Out(1),
                "push_address": In(address),
                "push_data": In(width),
                "push_mask": In(geometry.word_bytes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        bit = g.bank_bit
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

        # A push waits here for a cycle, or while the host writes: that there is one is known late.
        from_host = Signal()
        pushed = Signal()
        push_address = Signal.like(self.push_address)
        push_data = Signal.like(self.push_data, reset_less=True)
        m.d.comb += [
            from_host.eq(self.host_write_to_device),
            self.push_ready.eq(~(pushed & from_host)),
        ]
        with m.If(self.push_ready):
            m.d.sync += [
                pushed.eq(self.push_valid),
                push_address.eq(self.push_address),
                push_data.eq(self.push_data),
            ]
        # Apart, so that a register is cleared: gates before each would be as many again.
        for byte in range(g.word_bytes):
            with m.If(self.push_ready & ~self.push_mask[byte]):
                m.d.sync += push_data[8 * byte : 8 * byte + 8].eq(0)

        # What comes of a block RAM is late, so that it goes straight into a register, which is
        # cleared if the read was not from there.
        from_driver = Signal()
        from_device = Signal()
        driver_word = Signal(g.data_width)
        device_word = Signal(g.data_width)
        read_device = self.host_read_address[bit] == g.device_bank
        m.d.comb += [
            driver_write.addr.eq(within(self.host_write_address)),
            driver_write.data.eq(self.host_write_data),
            device_write.addr.eq(within(Mux(from_host, self.host_write_address, push_address))),
            device_write.data.eq(Mux(from_host, self.host_write_data, push_data)),
            driver_host.addr.eq(within(self.host_read_address)),
            device_host.addr.eq(within(self.host_read_address)),
            # They read on: that there is a read is known late.
            driver_host.en.eq(1),
            device_host.en.eq(1),
            driver_pop.addr.eq(within(self.pop_address)),
            driver_pop.en.eq(self.pop_enable),
            self.pop_data.eq(driver_pop.data),
            self.host_read_data.eq(driver_word | device_word),
        ]
        with m.If(self.host_write_enable & ~self.host_write_to_device):
            m.d.comb += driver_write.en.eq(self.host_write_mask)
        with m.If(from_host):
            m.d.comb += device_write.en.eq(self.host_write_mask)
        with m.Elif(pushed):
            m.d.comb += device_write.en.eq((1 << g.word_bytes) - 1)
        m.d.sync += [
            from_driver.eq(self.host_read_enable & ~read_device),
            from_device.eq(self.host_read_enable & read_device),
        ]
        for word, read, port in (
            (driver_word, from_driver, driver_host),
            (device_word, from_device, device_host),
        ):
            shown = read & ~self.host_read_hides
            m.d.sync += [
                word[:32].eq(Mux(shown, port.data[:32], 0)),
                word[32:].eq(Mux(read, port.data[32:], 0)),
            ]
        return m
