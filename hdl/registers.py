# SPDX-License-Identifier: BSD-2-Clause
"""The register BAR: VERSION, FEATURES and the doorbells.

Source: the patch series, ``vmsg_amp_pci_read`` and ``vmsg_amp_pci_write``. All other offsets read
zero and ignore writes.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry

__all__ = ["RegisterBar"]


class RegisterBar(wiring.Component):
    """Registers of the register BAR.

    Attributes
    ----------
    write_enable : In(1)
        Host write of a word. The written value is ignored, so there is no data input.
    write_address : In(word_address_bits)
        Word address of the write.
    write_mask : In(word_bytes)
        Bytes that are written.
    doorbell : Out(num_fifos)
        Pulse in the cycle of the write: at least one byte of the FIFO's NOTIFY is written.
    read_enable : In(1)
        Host read of a word.
    read_address : In(word_address_bits)
        Word address of the read.
    read_data : Out(data_width)
        Combinational read value; zero unless ``read_enable`` is high.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(geometry.word_address_bits),
                "write_mask": In(geometry.word_bytes),
                "doorbell": Out(geometry.num_fifos),
                "read_enable": In(1),
                "read_address": In(geometry.word_address_bits),
                "read_data": Out(geometry.data_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        shell = g.shell
        for fifo in range(g.num_fifos):
            word, lane = g.word(shell.notify(fifo)), g.lane(shell.notify(fifo))
            m.d.comb += self.doorbell[fifo].eq(
                self.write_enable
                & (self.write_address == word)
                & self.write_mask[4 * lane : 4 * lane + 4].any()
            )
        value = Signal(g.data_width)
        for offset, constant in (
            (shell.version_offset, shell.version),
            (shell.features_offset, shell.features),
        ):
            lane = g.lane(offset)
            with m.If(self.read_address == g.word(offset)):
                m.d.comb += value[32 * lane : 32 * lane + 32].eq(constant)
        m.d.comb += self.read_data.eq(Mux(self.read_enable, value, 0))
        return m
