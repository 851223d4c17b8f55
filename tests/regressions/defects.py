# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation, by number (docs/defects.md), tested on the gateware."""

import cocotb

from models.shell import AMP_PCI
from testbench.stream.axis import AxisMessage
from testbench.system import GatewareSystem
from tests.models.transport.raw_guest import GUEST_ABORTS, Guest, padded, some_devices
from tests.regressions.queue_host import FULL, QUEUE, QueueBench, slot_bytes


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d01_to_d15_guest_aborts(dut):
    """Messages that abort the C implementation, one after the other, then a correct driver."""
    system = GatewareSystem(dut, [some_devices()])
    await system.start()
    system.drivers[0].stop()
    guest = Guest(system)
    await guest.bring_up()
    for name, (raw, answer) in GUEST_ABORTS.items():
        assert await guest.exchange(raw) == ([padded(answer)] if answer else []), name
    await guest.check_works()
    await system.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d23_every_fifo_has_its_own_queues(dut):
    """Equal slots of all FIFOs: a doorbell delivers its own FIFO's messages, and so do answers."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = range(bench.parameters.num_fifos)
    for fifo in fifos:
        await bench.fill(fifo, range(10 * fifo, 10 * fifo + 3))
    for fifo in reversed(fifos):
        await bench.ring(fifo)
        await bench.expect([(fifo, slot_bytes(10 * fifo + n)) for n in range(3)])
        await bench.expect_nothing()
        tails = [await bench.driver_tail(other) for other in fifos]
        assert tails == [3 * (other >= fifo) for other in fifos]
    for fifo in fifos:
        await bench.source.send_message(fifo, slot_bytes(100 + fifo))
        await bench.settle()
        heads = [await bench.device_head(other) for other in fifos]
        assert heads == [int(other <= fifo) for other in fifos]
        assert bench.host.interrupts == {other: int(other <= fifo) for other in fifos}
    for fifo in fifos:
        assert await bench.device_slot(fifo, 0) == slot_bytes(100 + fifo)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d24_full_device_queue_loses_nothing(dut):
    """A waiting message raises no interrupt; each slot that the host frees brings one message
    and one interrupt."""
    bench = QueueBench(dut)
    await bench.start()
    waiting_count = 5
    for number in range(FULL):
        await bench.source.send_message(0, slot_bytes(number))
        # Interrupts raised faster than they leave merge into one.
        await bench.settle(20)
    for number in range(FULL, FULL + waiting_count):
        bench.source.send_nowait(AxisMessage(0, slot_bytes(number)))
    await bench.settle(20 * waiting_count)
    assert bench.source.pending == waiting_count
    assert bench.host.interrupts[0] == FULL
    assert await bench.device_head(0) == FULL
    for taken in range(1, waiting_count + 1):
        assert await bench.device_slot(0, taken - 1) == slot_bytes(taken - 1)
        await bench.set_device_tail(0, taken)
        await bench.settle()
        assert bench.host.interrupts[0] == FULL + taken
        assert bench.source.pending == waiting_count - taken
    for number in range(waiting_count, FULL + waiting_count):
        assert await bench.device_slot(0, number % QUEUE.capacity) == slot_bytes(number)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d27_out_of_range_index_counts_modulo_capacity(dut):
    """Every index word of 62 or more counts modulo 62, on either side."""
    bench = QueueBench(dut)
    await bench.start()
    # The host's tail of the device queue: full when it is one behind the gateware's head.
    for head, tail in ((4, 62 + 5), (61, 62 * 1000), (10, 2**32 - 62 - 4 + 11)):
        await bench.store(bench.device(0, QUEUE.head_offset), head)
        await bench.set_device_tail(0, tail)
        await bench.settle()
        assert tail % QUEUE.capacity == QUEUE.next(head)
        assert not int(dut.device_queue_ready.value) & 1
        await bench.set_device_tail(0, tail + 1)
        await bench.settle()
        assert int(dut.device_queue_ready.value) & 1
        await bench.source.send_message(0, slot_bytes(head))
        await bench.settle()
        assert await bench.device_head(0) == QUEUE.next(head)
        assert await bench.device_slot(0, head) == slot_bytes(head)
    # The gateware's tail and the host's head of the driver queue; the device queue has space.
    await bench.set_device_tail(0, await bench.device_head(0))
    for tail, head in ((2**32 - 1, 62 * 7 + 6), (62 * 3 + 59, 2**31 + 2)):
        first = tail % QUEUE.capacity
        count = (head - first) % QUEUE.capacity
        await bench.fill(0, range(count), first=first)
        await bench.store(bench.driver(0, QUEUE.tail_offset), tail)
        await bench.set_driver_head(0, head)
        await bench.ring(0)
        await bench.expect([(0, slot_bytes(number)) for number in range(count)])
        await bench.expect_nothing()
        assert await bench.driver_tail(0) == head % QUEUE.capacity
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d31_queue_refilled_while_popped(dut):
    """A doorbell delivers the messages queued at that time, although the host keeps refilling."""
    bench = QueueBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    count = 20
    index = await bench.fill(0, range(count))
    if last:
        await bench.fill(last, [1000])
    bench.sink.pause()
    await bench.ring(0)
    if last:
        await bench.ring(last)
    await bench.settle()
    bench.sink.resume()
    received = {0: [], last: []}
    for number in range(count, 4 * count):
        while bench.sink.pending:
            message = bench.sink.recv_nowait()
            received[message.fifo].append(message.data)
        index = await bench.fill(0, [number], first=index)
    await bench.settle(500)
    while bench.sink.pending:
        message = bench.sink.recv_nowait()
        received[message.fifo].append(message.data)
    if last:
        assert received[last] == [slot_bytes(1000)]
    assert received[0] == [slot_bytes(number) for number in range(count)]
    assert await bench.driver_tail(0) == count
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d34_doorbells_with_stalled_device_side(dut):
    """The device side stalls: the host gets answers, other traffic continues, nothing is lost."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = range(bench.parameters.num_fifos)
    bench.sink.pause()
    for fifo in fifos:
        await bench.fill(fifo, [fifo])
    for _ in range(20):
        # Including absent FIFOs.
        for fifo in range(8):
            await bench.ring(fifo)
    assert await bench.host.bar_read(AMP_PCI.register_bar, AMP_PCI.version_offset, 4) == (
        AMP_PCI.version.to_bytes(4, "little")
    )
    for fifo in fifos:
        await bench.source.send_message(fifo, slot_bytes(100 + fifo))
        await bench.settle()
        assert await bench.device_slot(fifo, 0) == slot_bytes(100 + fifo)
        assert bench.host.interrupts[fifo] == 1
    bench.sink.resume()
    received = sorted([await bench.sink.recv() for _ in fifos])
    assert received == [(fifo, slot_bytes(fifo)) for fifo in fifos]
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def d35_last_fifo_works_with_any_number(dut):
    """BAR1 is rounded up to a power of two: the last FIFO works, the rest is RAM or reads zero."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    last, layout = fifos - 1, bench.layout
    size = layout.size(fifos)
    assert size & size - 1 == 0 and size >= fifos * layout.fifo_stride
    await bench.fill(last, [1])
    await bench.ring(last)
    await bench.expect([(last, slot_bytes(1))])
    await bench.source.send_message(last, slot_bytes(2))
    await bench.settle()
    assert await bench.device_slot(last, 0) == slot_bytes(2)
    assert bench.host.interrupts[last] == 1
    places = [
        bench.driver(fifo, QUEUE.head_offset) for fifo in range(fifos, size // layout.fifo_stride)
    ]
    for place in (*places, size - 4):
        await bench.store(place, 0x1234_5678)
        assert await bench.load(place) == (0x1234_5678 if layout.is_ram(place, fifos) else 0)
    await bench.finish()
