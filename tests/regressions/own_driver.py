# SPDX-License-Identifier: BSD-2-Clause
"""A minimal driver on the gateware: the README's example."""

import cocotb

from models.devices import ConsoleDevice, EntropyDevice
from models.messages import decode, request
from testbench.system import GatewareSystem


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def own_driver_discovers_devices(dut):
    system = GatewareSystem(dut, [{0: EntropyDevice(), 3: ConsoleDevice()}], drivers=False)
    await system.start()  # reset, enumerate, enable MSI-X
    interrupt = system.host.interrupt(0)

    message = request("BUS_GET_DEVICES", token=7, offset=0, num=32).wire()
    await system.host.bar_write(1, 0x1080, message)  # slot 0 of the driver queue
    await system.host.bar_write(1, 0x1000, b"\1\0\0\0")  # its head
    await system.host.bar_write(0, 0x20, b"\1\0\0\0")  # the doorbell

    await interrupt.wait()
    answer = decode(await system.host.bar_read(1, 0x2080, 64))  # slot 0 of the device queue
    assert answer.token == 7 and answer.bitmap == b"\x09\0\0\0"
    await system.host.bar_write(1, 0x2040, b"\1\0\0\0")  # its tail
    await system.finish()  # every request was answered, by the rules of PCI Express
