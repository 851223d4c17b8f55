# SPDX-License-Identifier: BSD-2-Clause
"""Shell and layout are parameters: the gateware accepts others than the defaults."""

import pytest
from amaranth.back import verilog

from hdl.core import AmpPciCore
from hdl.endpoint import AmpPciEndpoint
from hdl.verilog import FlatTop
from models.layout import LayoutError, QueueLayout, SharedLayout
from models.shell import PciShell, ShellError

OTHER_PAGES = SharedLayout(
    name="other pages",
    driver_queue=0x2000,
    device_queue=0x3000,
    queue=QueueLayout(capacity=30),
)
TWO_PAGES = SharedLayout(
    name="two pages",
    fifo_stride=0x2000,
    driver_queue=0,
    device_queue=0x1000,
    queue=QueueLayout(slots_offset=192, capacity=61),
)
OTHER_SHELL = PciShell(
    name="other shell",
    vendor_id=0x1234,
    device_id=0x5678,
    vectors=2,
    register_bar=2,
    fifo_bar=4,
    msix_bar=0,
    notify_offset=0x100,
    notify_stride=8,
)


@pytest.mark.parametrize(
    "layout, fifos, width",
    [(OTHER_PAGES, 1, 64), (TWO_PAGES, 1, 64), (TWO_PAGES, 3, 256)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_endpoint_elaborates_with_other_shell_and_layout(fifos, width, layout):
    top = AmpPciEndpoint(num_fifos=fifos, data_width=width, shell=OTHER_SHELL, layout=layout)
    assert "module top" in verilog.convert(FlatTop(top), name="top")


@pytest.mark.parametrize("top", [AmpPciCore, AmpPciEndpoint])
def test_ports_without_the_dma_window(top):
    with_dma, without_dma = (set(top(dma=dma).signature.members) for dma in (True, False))
    core = top is AmpPciCore
    assert with_dma - without_dma == {"s_axi_dma"} | (
        {"tx_rd_req_tlp", "tx_wr_req_tlp"} if core else set()
    )
    # With DMA, interrupts leave in the bundle of the writes.
    assert without_dma - with_dma == ({"tx_msix_wr_req_tlp", "msix_refused"} if core else set())


@pytest.mark.parametrize("top", [AmpPciCore, AmpPciEndpoint])
def test_parameters_are_checked(top):
    with pytest.raises(ShellError, match="num_fifos is 9: must be an integer from 1 to 8"):
        top(num_fifos=9)
    with pytest.raises(ValueError, match="data_width is 32: must be 64, 128, 256 or 512"):
        top(data_width=32)
    for timeout in (63, 1 << 31, 4096.0):
        with pytest.raises(
            ValueError, match=r"completion_timeout is \S+: must be an integer from 64"
        ):
            top(completion_timeout=timeout)


def test_slot_of_a_fraction_of_a_word_is_refused():
    layout = SharedLayout(name="half", queue=QueueLayout(slot_size=32, slots_offset=128))
    with pytest.raises(LayoutError, match="slot_size is 32"):
        AmpPciCore(data_width=512, layout=layout)
