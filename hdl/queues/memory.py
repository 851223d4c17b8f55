# SPDX-License-Identifier: BSD-2-Clause
"""The RAM behind the FIFO BAR: two banks, so that both engines and the host run at full rate.

The driver queues lie in one bank, which the host writes and the pop engine reads; the device
queues in the other, which the push engine writes and the host reads. With a layout whose reserved
pages read zero, a bank has no more than the pages of its queues.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..interfaces import WordRead, WordWrite
from .message import slot_word_layout

__all__ = ["FifoHostPort", "FifoMemory"]


class FifoHostPort(wiring.Signature):
    """Access of the host to the RAM. It never reads and writes in the same cycle.

    Attributes
    ----------
    write : Out(WordWrite(word_address_bits, data_width))
        Write. It wins over the push engine.
    write_to_driver, write_to_device : Out(1)
        High with ``write.enable`` if the word is RAM of the bank of the driver queues, of the
        device queues.
    write_ready : In(1)
        The host may write in the next cycle. Low while a host write stalls a push, so that no push
        stalls for more than two cycles.
    read : Out(WordRead(word_address_bits, data_width))
        Read. Data is valid two cycles later, and zero when nothing was read or a word without RAM.
    read_ready : In(1)
        The host may read in this cycle. Low in the cycle after a write to a device queue.
    read_hides : Out(1)
        In the cycle after a read: lane 0 reads as zero, because another module has that word.
    """

    def __init__(self, geometry: Geometry):
        address, width = geometry.word_address_bits, geometry.data_width
        super().__init__(
            {
                "write": Out(WordWrite(address, width)),
                "write_to_driver": Out(1),
                "write_to_device": Out(1),
                "write_ready": In(1),
                "read": Out(WordRead(address, width)),
                "read_ready": In(1),
                "read_hides": Out(1),
            }
        )


class FifoMemory(wiring.Component):
    """RAM of the FIFO BAR, in words of ``data_width`` bits.

    A read of a word that is written in the same cycle returns undefined data, so that any block RAM
    will do. An engine and the host meet at a word only when one of them breaks the protocol: the
    host in a slot that it has handed over or has not been handed yet.

    Attributes
    ----------
    host : In(FifoHostPort)
        Host access.
    pop : In(WordRead(word_address_bits, data_width))
        Read of a driver queue by the pop engine. Data is valid in the next cycle and holds until
        the next read.
    push : In(stream of slot_word_layout)
        Write of a whole word of a device queue by the push engine: zero in the bytes outside the
        mask. The RAM is written one cycle after the word is accepted, later if the host writes.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "host": In(FifoHostPort(geometry)),
                "pop": In(WordRead(geometry.word_address_bits, geometry.data_width)),
                "push": In(stream.Signature(slot_word_layout(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry

        def bank() -> memory.Memory:
            return memory.Memory(
                shape=g.data_width, depth=g.bank_words, init=[], attrs={"no_rw_check": 1}
            )

        m.submodules.driver_bank = driver = bank()
        m.submodules.device_bank = device = bank()
        driver_write = driver.write_port(granularity=8)
        device_write = device.write_port(granularity=8)
        driver_host = driver.read_port()
        driver_pop = driver.read_port()
        device_host = device.read_port()

        host, push = self.host, self.push
        # Register both writes of the bank: they are late. While the host writes, the pushed word
        # waits.
        from_host = Signal()
        host_address = Signal.like(host.write.address)
        host_data = Signal.like(host.write.data, reset_less=True)
        host_mask = Signal.like(host.write.mask)
        m.d.sync += [
            from_host.eq(host.write_to_device),
            host_address.eq(host.write.address),
            host_data.eq(host.write.data),
            host_mask.eq(host.write.mask),
        ]
        pushed = Signal()
        push_address = Signal.like(push.p.address)
        push_data = Signal.like(push.p.data, reset_less=True)
        m.d.comb += [
            push.ready.eq(~(pushed & from_host)),
            host.write_ready.eq(push.ready),
            host.read_ready.eq(~from_host),
        ]
        with m.If(push.ready):
            m.d.sync += [
                pushed.eq(push.valid),
                push_address.eq(push.p.address),
                push_data.eq(push.p.data),
            ]
        # A separate assignment, which synthesis maps to the synchronous reset of the registers: a
        # multiplexer before each would cost as many lookup tables again.
        for byte in range(g.word_bytes):
            with m.If(push.ready & ~push.p.mask[byte]):
                m.d.sync += push_data[8 * byte : 8 * byte + 8].eq(0)

        # Registers directly behind the block RAM, which synthesis can move into it; the words are
        # masked behind them, if the read was of the other bank, of a reserved page or none.
        from_driver = Signal()
        from_device = Signal()
        driver_word = Signal(g.data_width, reset_less=True)
        device_word = Signal(g.data_width, reset_less=True)
        read_driver = g.in_driver_bank(host.read.address)
        read_device = g.in_device_bank(host.read.address)
        m.d.comb += [
            driver_write.addr.eq(g.bank_address(host.write.address)),
            driver_write.data.eq(host.write.data),
            device_write.addr.eq(g.bank_address(Mux(from_host, host_address, push_address))),
            device_write.data.eq(Mux(from_host, host_data, push_data)),
            driver_host.addr.eq(g.bank_address(host.read.address)),
            device_host.addr.eq(g.bank_address(host.read.address)),
            # Always enabled: `read.enable` is late.
            driver_host.en.eq(1),
            device_host.en.eq(1),
            driver_pop.addr.eq(g.bank_address(self.pop.address)),
            driver_pop.en.eq(self.pop.enable),
            self.pop.data.eq(driver_pop.data),
        ]
        with m.If(host.write_to_driver):
            m.d.comb += driver_write.en.eq(host.write.mask)
        with m.If(from_host):
            m.d.comb += device_write.en.eq(host_mask)
        with m.Elif(pushed):
            m.d.comb += device_write.en.eq((1 << g.word_bytes) - 1)
        m.d.sync += [
            driver_word.eq(driver_host.data),
            device_word.eq(device_host.data),
            from_driver.eq(host.read.enable & read_driver),
            from_device.eq(host.read.enable & read_device),
        ]
        shown = []
        for name, word, read in (
            ("driver", driver_word, from_driver),
            ("device", device_word, from_device),
        ):
            # Of lane 0, and of the other lanes.
            shows = Signal(2, name=f"shows_{name}")
            m.d.sync += shows.eq(Cat(read & ~host.read_hides, read))
            shown += [Cat(Mux(shows[0], word[:32], 0), Mux(shows[1], word[32:], 0))]
        m.d.comb += host.read.data.eq(shown[0] | shown[1])
        return m
