# SPDX-License-Identifier: BSD-2-Clause
"""Device queue: full, wrapped and rewritten by the host, resets, and packets of every size."""

import random

import cocotb

from models.layout import MIN_MESSAGE
from testbench.bench import Bench
from testbench.device_port import StreamDevicePort
from testbench.queue_access import QueueAccess
from testbench.stream import pacing
from testbench.stream.axis import AxisMessage
from tests.regressions.queue_host import FULL, QUEUE, SEED, QueueBench, slot_bytes


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def full_queue_holds_61(dut):
    """61 messages fit, the 62nd waits until the host frees a slot, nothing is lost."""
    bench = QueueBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    for number in range(FULL + 1):
        bench.source.send_nowait(AxisMessage(last, slot_bytes(number)))
    await bench.settle(FULL * 10)
    assert bench.source.pending == 1
    assert int(dut.device_queue_ready.value) == (1 << last) - 1
    assert await bench.device_head(last) == FULL
    for number in range(FULL):
        assert await bench.device_slot(last, number) == slot_bytes(number)
    await bench.set_device_tail(last, 1)
    await bench.source.drained()
    await bench.settle()
    assert await bench.device_head(last) == 0
    assert await bench.device_slot(last, FULL) == slot_bytes(FULL)
    assert int(dut.device_queue_ready.value) == (1 << last) - 1
    await bench.set_device_tail(last, 0)
    assert await bench.device_head(last) == 0
    assert int(dut.device_queue_ready.value) == (2 << last) - 1
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def full_queue_does_not_delay_other_fifos(dut):
    """A device side that obeys ``device_queue_ready`` reaches every FIFO that has space."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    for number in range(FULL):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.settle()
    assert int(dut.device_queue_ready.value) == (1 << fifos) - 2
    for fifo in range(1, fifos):
        await bench.source.send_message(fifo, slot_bytes(fifo))
        await bench.settle()
        assert await bench.device_head(fifo) == 1
        assert await bench.device_slot(fifo, 0) == slot_bytes(fifo)
        assert bench.host.interrupts[fifo] == 1
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def wraps_around_under_back_pressure(dut):
    """Three rounds, the host emptying the queue on interrupts, with pauses on every stream."""
    rng = random.Random(SEED)
    bench = QueueBench(
        dut,
        device_idle=pacing.randomly(rng.getrandbits(32)),
        host_idle=pacing.randomly(rng.getrandbits(32)),
        host_stall=pacing.randomly(rng.getrandbits(32)),
    )
    await bench.start()
    interrupt = bench.host.interrupt(0)
    total = 3 * QUEUE.capacity
    for number in range(total):
        bench.source.send_nowait(AxisMessage(0, slot_bytes(number)))
    tail = taken = 0
    while taken < total:
        await interrupt.wait()
        interrupt.clear()
        head = await bench.device_head(0)
        while tail != head:
            assert await bench.device_slot(0, tail) == slot_bytes(taken)
            tail, taken = QUEUE.next(tail), taken + 1
        await bench.set_device_tail(0, tail)
    assert await bench.device_head(0) == tail
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def short_messages_are_padded_with_zeros(dut):
    """A message of 8 to 64 bytes is written whole, and the rest of its slot reads zero."""
    bench = QueueBench(dut)
    await bench.start()
    old_contents = b"\xa5" * QUEUE.slot_size
    for index, size in enumerate(range(8, QUEUE.slot_size + 1)):
        await bench.store_bytes(bench.device(0, QUEUE.slot_offset(index)), old_contents)
        message = slot_bytes(size)[:size]
        await bench.source.send_message(0, message)
        await bench.settle(20)
        assert await bench.device_head(0) == index + 1
        got = await bench.device_slot(0, index)
        assert got == message.ljust(QUEUE.slot_size, b"\0"), f"{size} bytes: {got.hex()}"
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def packets_of_invalid_size_are_dropped(dut):
    """Packets too short, too long, or for an absent FIFO are dropped whole and counted."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    invalid = [AxisMessage(0, bytes(range(size))) for size in (*range(1, 8), 65, 72, 100, 128, 200)]
    invalid += [AxisMessage(fifo, bytes(64)) for fifo in range(fifos, 8)]
    invalid += [AxisMessage(fifo, bytes(100)) for fifo in range(fifos, 8)]
    for count, packet in enumerate(invalid):
        await bench.source.send(packet)
        await bench.settle(20)
        assert int(dut.count_malformed_packets.value) == count + 1, packet
        await bench.source.send_message(0, slot_bytes(count))
        await bench.settle(20)
        assert await bench.device_head(0) == (count + 1) % QUEUE.capacity
        assert await bench.device_slot(0, count % QUEUE.capacity) == slot_bytes(count)
        await bench.set_device_tail(0, (count + 1) % QUEUE.capacity)
    assert bench.host.interrupts[0] == len(invalid)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def packet_with_hole_in_tkeep_is_dropped(dut):
    """A packet with a hole in ``tkeep`` is dropped whole."""
    bench = QueueBench(dut)
    await bench.start()
    full = (1 << bench.parameters.data_width // 8) - 1
    packets = [[0b1011_1111], [0b1_0111_1111 & full], [0]]
    if bench.parameters.data_width // 8 < QUEUE.slot_size:
        # A hole in a beat before the last.
        packets += [[full ^ 1, full], [full ^ 1 << 7, 1], [0, full]]
    for count, packet in enumerate(packets, start=1):
        await drive_beats(bench, packet)
        assert int(dut.count_malformed_packets.value) == count, list(map(bin, packet))
    assert await bench.device_head(0) == 0
    await drive_beats(bench, [full])
    assert await bench.device_head(0) == 1
    await bench.finish()


async def drive_beats(bench, keeps, *, apart=0):
    """Send a packet of ones to FIFO 0 with these ``tkeep`` and ``apart`` idle cycles per beat."""
    dut = bench.dut
    dut.s_axis_msg_tdata.value = (1 << bench.parameters.data_width) - 1
    dut.s_axis_msg_tdest.value = 0
    for number, keep in enumerate(keeps, start=1):
        dut.s_axis_msg_tkeep.value = keep
        dut.s_axis_msg_tlast.value = number == len(keeps)
        dut.s_axis_msg_tvalid.value = 1
        await bench.settle(1)
        dut.s_axis_msg_tvalid.value = 0
        if apart:
            await bench.settle(apart)
    await bench.settle(20)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def host_write_to_head_takes_effect(dut):
    """After the host rewrites head, the next message goes to the slot that it selects."""
    bench = QueueBench(dut)
    await bench.start()
    for number in range(3):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.settle()
    for value in (40, 62 + 7, 2**32 - 1):
        index = value % QUEUE.capacity
        await bench.store(bench.device(0, QUEUE.head_offset), value)
        await bench.set_device_tail(0, index)
        assert await bench.device_head(0) == value
        await bench.source.send_message(0, slot_bytes(value))
        await bench.settle()
        assert await bench.device_head(0) == QUEUE.next(index)
        assert await bench.device_slot(0, index) == slot_bytes(value)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def host_stores_and_messages_share_a_page(dut):
    """Host stores and messages into the device queue's page do not disturb each other."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    free_slots = dict.fromkeys(range(FULL // 2 + 1, FULL), b"")
    for number in range(FULL // 2):
        bench.source.send_nowait(AxisMessage(0, slot_bytes(number)))
    for index in free_slots:
        free_slots[index] = rng.randbytes(QUEUE.slot_size)
        await bench.store_bytes(bench.device(0, QUEUE.slot_offset(index)), free_slots[index])
    await bench.source.drained()
    await bench.settle()
    for number in range(FULL // 2):
        assert await bench.device_slot(0, number) == slot_bytes(number)
    for index, data in free_slots.items():
        assert await bench.device_slot(0, index) == data
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bytes_without_tkeep_read_zero(dut):
    """Bytes of ``tdata`` with ``tkeep`` low do not reach the slot."""
    bench = QueueBench(dut)
    await bench.start()
    await drive_beats(bench, [0xFF])
    assert await bench.device_head(0) == 1
    assert await bench.device_slot(0, 0) == b"\xff" * 8 + bytes(QUEUE.slot_size - 8)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def packet_in_flight_reserves_its_slot(dut):
    """``device_queue_ready`` is low from the first beat of the packet that fills the queue."""
    bench = QueueBench(dut)
    await bench.start()
    for number in range(FULL - 1):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.settle()
    assert int(dut.device_queue_ready.value) & 1
    # The beats of the last packet are far apart.
    bench.source.set_idle(pacing.every([40]))
    bench.source.send_nowait(AxisMessage(0, slot_bytes(FULL - 1)))
    await bench.settle(60)
    assert not int(dut.device_queue_ready.value) & 1
    # Meanwhile no request is popped: its answer would have no space.
    await bench.fill(0, [1])
    await bench.ring(0)
    await bench.source.drained()
    await bench.expect_nothing()
    await bench.set_device_tail(0, 1)
    await bench.expect([(0, slot_bytes(1))])
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def packet_is_dropped_when_head_is_rewritten(dut):
    """A packet is dropped when the host rewrites head under it; the next one uses the new head."""
    bench = QueueBench(dut)
    await bench.start()
    bench.source.set_idle(pacing.every([40]))
    bench.source.send_nowait(AxisMessage(0, slot_bytes(1)))
    await bench.settle(60)
    one_beat = bench.parameters.data_width // 8 == QUEUE.slot_size
    await bench.store(bench.device(0, QUEUE.head_offset), 20)
    await bench.set_device_tail(0, 20)
    await bench.source.drained()
    await bench.settle()
    assert await bench.device_head(0) == 20
    assert int(dut.count_dropped_packets.value) == (0 if one_beat else 1)
    assert bench.host.interrupts[0] == (1 if one_beat else 0)
    await bench.source.send_message(0, slot_bytes(2))
    await bench.settle()
    assert await bench.device_head(0) == 21
    assert await bench.device_slot(0, 20) == slot_bytes(2)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_reset_under_traffic(dut):
    """Packets in flight complete without advancing an index, and the queues start empty."""
    bench = QueueBench(dut)
    await bench.start()
    resets = []

    async def count_resets():
        while True:
            await dut.host_reset.rising_edge
            resets.append(bench.time_ns)

    cocotb.start_soon(count_resets())
    last = bench.parameters.num_fifos - 1
    one_beat = bench.parameters.data_width // 8 == QUEUE.slot_size
    for number in range(5):
        await bench.source.send_message(last, slot_bytes(number))
    bench.sink.pause()
    await bench.fill(0, range(100, 110))
    await bench.ring(0)
    await bench.settle()
    bench.source.set_idle(pacing.every([60]))
    bench.source.send_nowait(AxisMessage(last, slot_bytes(5)))
    await bench.settle(70)
    interrupts = dict(bench.host.interrupts)

    await bench.function_reset()
    assert len(resets) == 1
    assert await bench.driver_tail(0) == await bench.driver_head(0) == 0
    assert await bench.device_head(last) == 0
    bench.sink.resume()
    # The message whose first beat was valid completes: a packet is never cut.
    await bench.expect([(0, slot_bytes(100))])
    await bench.expect_nothing()
    assert await bench.driver_tail(0) == 0
    await bench.source.drained()
    bench.source.set_idle(None)
    await bench.settle()
    assert await bench.device_head(last) == 0
    assert int(dut.count_dropped_packets.value) == (0 if one_beat else 1)
    assert bench.host.interrupts == interrupts

    await bench.fill(0, [200])
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(200))])
    await bench.source.send_message(last, slot_bytes(201))
    await bench.settle()
    assert await bench.device_slot(last, 0) == slot_bytes(201)
    assert bench.host.interrupts[last] == interrupts[last] + 1
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pending_packet_is_dropped_at_function_reset(dut):
    """A packet that waits during a function-level reset is dropped, and its queue starts empty."""
    bench = QueueBench(dut)
    await bench.start()
    for size in (QUEUE.slot_size, QUEUE.slot_size + 1, 8):
        for number in range(FULL):
            await bench.source.send_message(0, slot_bytes(number))
        await bench.settle()
        dropped = int(dut.count_dropped_packets.value)
        bench.source.send_nowait(AxisMessage(0, bytes(size)))
        await bench.settle()
        assert bench.source.pending == 1
        interrupts = dict(bench.host.interrupts)
        await bench.function_reset()
        assert bench.source.pending == 0
        assert int(dut.count_dropped_packets.value) == dropped + 1
        assert await bench.device_head(0) == 0
        await bench.settle()
        assert bench.host.interrupts == interrupts
    assert int(dut.count_malformed_packets.value) == 0
    await bench.source.send_message(0, slot_bytes(7))
    await bench.settle()
    assert await bench.device_head(0) == 1
    assert await bench.device_slot(0, 0) == slot_bytes(7)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_reset_in_each_cycle_of_a_packet(dut):
    """A reset in any cycle of a short packet and the next one: no packet valid before it enters
    the queue, which is empty afterwards."""
    bench = QueueBench(dut)
    await bench.start()
    words = QUEUE.slot_size * 8 // bench.parameters.data_width
    for cycle in range(1, 2 * words + 2):
        ports = (dut.count_messages_to_driver, dut.count_dropped_packets)
        before = sum(int(port.value) for port in ports)
        for _ in range(2):
            bench.source.send_nowait(AxisMessage(0, bytes(MIN_MESSAGE)))
        await bench.settle(cycle)
        await bench.function_reset()
        assert bench.source.pending == 0
        assert await bench.device_head(0) == 0, f"cycle {cycle}"
        assert sum(int(port.value) for port in ports) == before + 2, f"cycle {cycle}"
    await bench.source.send_message(0, slot_bytes(7))
    await bench.settle()
    assert await bench.device_head(0) == 1
    await bench.finish()


class PortBench(QueueBench):
    """A bench whose device side waits for space before it sends, as devices do."""

    def __init__(self, dut):
        Bench.__init__(self, dut)
        QueueAccess.__init__(self, self.host, self.parameters.shell, self.parameters.layout)
        self.port = StreamDevicePort(dut)
        self.source, self.sink = self.port.source, self.port.sink


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def waiting_messages_are_discarded_at_function_reset(dut):
    """Messages that wait for space are for the former driver: the port discards them."""
    bench = PortBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    sending = [
        cocotb.start_soon(bench.port.send(last, slot_bytes(number))) for number in range(FULL + 3)
    ]
    await bench.settle(FULL * 20)
    assert [task.done() for task in sending] == [True] * FULL + [False] * 3
    await bench.function_reset()
    await bench.settle()
    assert all(task.done() for task in sending)
    assert await bench.device_head(last) == 0
    await bench.port.send(last, slot_bytes(99))
    await bench.settle()
    assert await bench.device_head(last) == 1
    assert await bench.device_slot(last, 0) == slot_bytes(99)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def stalled_packet_delays_only_later_packets(dut):
    """The device side stops between two beats: the host gets answers, messages reach the device
    side, and the function can be reset. Only later packets wait."""
    bench = QueueBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    idle_cycles = 2000
    for size in (QUEUE.slot_size, QUEUE.slot_size + 1):
        valid = size <= QUEUE.slot_size
        one_beat = size * 8 <= bench.parameters.data_width
        head = await bench.device_head(last)
        bench.source.set_idle(iter([0, idle_cycles]))
        bench.source.send_nowait(AxisMessage(last, bytes(size)))
        bench.source.send_nowait(AxisMessage(0, slot_bytes(1)))
        await bench.settle(20)
        if not one_beat:
            assert bench.source.pending == 2
            assert await bench.device_head(last) == head
        tail = await bench.driver_tail(0)
        await bench.fill(0, range(3), first=tail)
        await bench.ring(0)
        await bench.expect([(0, slot_bytes(number)) for number in range(3)])
        if not one_beat:
            assert bench.source.pending == 2
        await bench.settle(idle_cycles)
        await bench.source.drained()
        await bench.settle()
        delivered = valid + (last == 0)
        assert await bench.device_head(last) == head + delivered
    bench.source.set_idle(iter([0, idle_cycles]))
    bench.source.send_nowait(AxisMessage(last, bytes(QUEUE.slot_size + 1)))
    await bench.settle(20)
    await bench.function_reset()
    assert bench.source.pending == 1
    await bench.settle(idle_cycles)
    assert bench.source.pending == 0
    await bench.source.send_message(last, slot_bytes(7))
    await bench.settle()
    assert await bench.device_head(last) == 1
    assert await bench.device_slot(last, 0) == slot_bytes(7)
    await bench.finish()
