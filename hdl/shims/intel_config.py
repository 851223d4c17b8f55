# SPDX-License-Identifier: BSD-2-Clause
"""Configuration Space of Intel's hard blocks, which output one register at a time.

Sources: user guides, P-Tile (683059) "Configuration Output Interface", L- and H-Tile (683111)
"Transaction Layer Configuration Space Interface".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PTILE", "STRATIX_10", "ConfigurationLayout", "ConfigurationListener"]

ADDRESS_BITS = 5


@dataclass(frozen=True)
class ConfigurationLayout:
    """Location of each setting in the registers of a block.

    Parameters
    ----------
    control_bits, function_bits
        Bits of ``tl_cfg_ctl`` and of ``tl_cfg_func``.
    fields
        For each output of :class:`ConfigurationListener`: ``tl_cfg_add``, least significant bit,
        width.
    """

    control_bits: int
    function_bits: int
    fields: Mapping[str, tuple[int, int, int]]


COMMON = {
    "max_payload_size": (0x00, 0, 3),
    "max_read_request_size": (0x00, 3, 3),
    "extended_tag_enable": (0x00, 6, 1),
    "bus_master_enable": (0x00, 7, 1),
}

PTILE = ConfigurationLayout(
    16,
    3,
    {
        **COMMON,
        "bus_number": (0x01, 0, 8),
        "device_number": (0x01, 8, 5),
        "read_completion_boundary": (0x02, 14, 1),
        "msix_enable": (0x0C, 5, 1),
        "msix_mask": (0x0C, 6, 1),
    },
)

STRATIX_10 = ConfigurationLayout(
    32,
    2,
    {
        **COMMON,
        "bus_number": (0x00, 16, 8),
        "device_number": (0x00, 24, 5),
        # H-Tile; L-Tile has it in bit 16. The core ignores it.
        "read_completion_boundary": (0x01, 14, 1),
        "msix_enable": (0x06, 5, 1),
        "msix_mask": (0x06, 6, 1),
    },
)
"""For both H-Tile and L-Tile."""


class ConfigurationListener(wiring.Component):
    """Stores the latest settings of physical function 0.

    Parameters
    ----------
    layout : ConfigurationLayout
        Location of each setting.

    Attributes
    ----------
    tl_cfg_func : In(function_bits)
        Function whose register the block outputs.
    tl_cfg_add : In(5)
        Address of the register.
    tl_cfg_ctl : In(control_bits)
        Content of the register.
    bus_number : Out(8)
        Bus number.
    device_number : Out(5)
        Device number.
    max_payload_size, max_read_request_size : Out(3)
        Encodings of Device Control.
    extended_tag_enable, bus_master_enable, read_completion_boundary : Out(1)
        Bits of Device Control, Command and Link Control.
    msix_enable, msix_mask : Out(1)
        MSI-X Enable and Function Mask.
    """

    def __init__(self, layout: ConfigurationLayout):
        self._fields = layout.fields
        super().__init__(
            {
                "tl_cfg_func": In(layout.function_bits),
                "tl_cfg_add": In(ADDRESS_BITS),
                "tl_cfg_ctl": In(layout.control_bits),
                **{name: Out(bits) for name, (_, _, bits) in layout.fields.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        with m.If(self.tl_cfg_func == 0):
            for name, (address, lsb, bits) in self._fields.items():
                with m.If(self.tl_cfg_add == address):
                    m.d.sync += getattr(self, name).eq(self.tl_cfg_ctl[lsb : lsb + bits])
        return m
