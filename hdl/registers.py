# SPDX-License-Identifier: BSD-2-Clause
"""The register BAR: VERSION, FEATURES and the doorbells.

Source: the patch series, ``vmsg_amp_pci_read`` and ``vmsg_amp_pci_write``. All other offsets read
zero and ignore writes.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .interfaces import WordRead, WordWrite

__all__ = ["RegisterBar"]


class RegisterBar(wiring.Component):
    """Registers of the register BAR.

    Attributes
    ----------
    write : In(WordWrite(word_address_bits, data_width))
        Host write. Its data is ignored.
    read : In(WordRead(word_address_bits, data_width))
        Host read. Data is combinational, and zero unless ``enable`` is high.
    doorbell : Out(num_fifos)
        Pulse in the cycle of the write: at least one byte of the FIFO's NOTIFY is written.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        address, width = geometry.word_address_bits, geometry.data_width
        super().__init__(
            {
                "write": In(WordWrite(address, width)),
                "read": In(WordRead(address, width)),
                "doorbell": Out(geometry.num_fifos),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        shell = g.shell
        for fifo in range(g.num_fifos):
            word, lane = g.word(shell.notify(fifo)), g.lane(shell.notify(fifo))
            m.d.comb += self.doorbell[fifo].eq(
                self.write.enable
                & (self.write.address == word)
                & self.write.mask[4 * lane : 4 * lane + 4].any()
            )
        value = Signal(g.data_width)
        for offset, constant in (
            (shell.version_offset, shell.version),
            (shell.features_offset, shell.features),
        ):
            lane = g.lane(offset)
            with m.If(self.read.address == g.word(offset)):
                m.d.comb += value[32 * lane : 32 * lane + 32].eq(constant)
        m.d.comb += self.read.data.eq(Mux(self.read.enable, value, 0))
        return m
