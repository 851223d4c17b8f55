# SPDX-License-Identifier: BSD-2-Clause
"""The register BAR: VERSION, FEATURES and the doorbells.

Source: the patch series, ``vmsg_amp_pci_read`` and ``vmsg_amp_pci_write``; all else reads zero and
ignores writes.
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
    write_enable, write_address, write_mask : In
        Host write of a word. What is written does not matter, only which bytes are.
    doorbell : Out(num_fifos)
        Pulse, in the cycle of the write: any byte of the FIFO's NOTIFY was written.
    read_enable, read_address : In, read_data : Out
        Combinational look-up; zero where nothing is read.
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
