# SPDX-License-Identifier: BSD-2-Clause
"""Driver queue: full, empty, doorbells and their heads, hostile and reloading hosts."""

import random
from itertools import pairwise

import cocotb

from models.spsc import AsyncSpscQueue
from tests.regressions.queue_host import FULL, QUEUE, SEED, QueueBench, slot_bytes


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def full_queue_holds_61(dut):
    """61 messages fit, the 62nd waits, nothing is lost."""
    bench = QueueBench(dut)
    await bench.start()
    queue = AsyncSpscQueue(bench.memory, bench.driver(0, 0))
    await queue.open()
    for number in range(FULL):
        assert await queue.send(slot_bytes(number))
    assert not await queue.send(slot_bytes(FULL))
    await bench.expect_nothing()
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(FULL)])
    assert await queue.send(slot_bytes(FULL))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(FULL))])
    assert await bench.driver_tail(0) == await bench.driver_head(0) == 0
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def head_without_doorbell_is_not_consumed(dut):
    """A head written after the doorbell has no effect: its slot may not be written yet."""
    bench = QueueBench(dut)
    await bench.start()
    bench.sink.pause()
    head = await bench.fill(0, [1, 2])
    await bench.ring(0)
    # Head advances before the slots are written, as write combining allows.
    await bench.set_driver_head(0, head + 2)
    bench.sink.resume()
    await bench.expect([(0, slot_bytes(1)), (0, slot_bytes(2))])
    await bench.expect_nothing()
    assert await bench.driver_tail(0) == head
    await bench.write_slot(0, head, slot_bytes(3))
    await bench.write_slot(0, head + 1, slot_bytes(4))
    await bench.expect_nothing()
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(3)), (0, slot_bytes(4))])
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def doorbell_while_popping_samples_head_again(dut):
    """A doorbell while the queue is being popped samples head again; no message is lost."""
    bench = QueueBench(dut)
    await bench.start()
    bench.sink.pause()
    index = 0
    for number in range(20):
        index = await bench.fill(0, [number], first=index)
        await bench.ring(0)
    bench.sink.resume()
    for number in range(20, 40):
        index = await bench.fill(0, [number], first=index)
        await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(40)])
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def wraps_around(dut):
    """Three rounds of the queue, in batches of one message up to a full queue."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    index, number = 0, 0
    while number < 3 * QUEUE.capacity:
        batch = range(number, number + rng.choice([1, 2, 7, 30, FULL]))
        index = await bench.fill(0, batch, first=index)
        await bench.ring(0)
        await bench.expect([(0, slot_bytes(n)) for n in batch])
        number = batch.stop
        assert await bench.driver_tail(0) == index == number % QUEUE.capacity
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def stores_split_and_reordered(dut):
    """Write combining splits a slot's stores and reorders them with head; the doorbell is last."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    for index in range(10):
        slot = slot_bytes(index)
        cuts = sorted({0, 64, *rng.sample(range(1, 64), rng.randrange(8))})
        stores = [
            (bench.driver(0, QUEUE.slot_offset(index)) + start, slot[start:end])
            for start, end in pairwise(cuts)
        ]
        stores.append((bench.driver(0, QUEUE.head_offset), (index + 1).to_bytes(4, "little")))
        rng.shuffle(stores)
        for offset, data in stores:
            await bench.store_bytes(offset, data)
        await bench.ring(0)
        await bench.expect([(0, slot)])
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def doorbell_storm_delivers_each_message_once(dut):
    """A storm of doorbells delivers each message once."""
    bench = QueueBench(dut)
    await bench.start()
    await bench.fill(0, range(10))
    for _ in range(200):
        await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(10)])
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def head_beyond_capacity_counts_modulo(dut):
    """A head of 62 or more counts modulo 62, and reads back unchanged."""
    bench = QueueBench(dut)
    await bench.start()
    index = 0
    for value in (62 + 3, 2**32 - 1, 0x8000_0007, 62 * 1000 + 1):
        target = value % QUEUE.capacity
        count = (target - index) % QUEUE.capacity
        await bench.fill(0, range(count), first=index)
        await bench.set_driver_head(0, value)
        await bench.ring(0)
        await bench.expect([(0, slot_bytes(number)) for number in range(count)])
        await bench.expect_nothing()
        assert await bench.driver_head(0) == value
        assert await bench.driver_tail(0) == target
        index = target
    assert int(dut.count_sanitised_indices.value) == 4
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def host_write_to_tail_takes_effect(dut):
    """After the host rewrites tail, the next doorbell delivers from there."""
    bench = QueueBench(dut)
    await bench.start()
    index = await bench.fill(0, range(10))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(10)])
    await bench.store(bench.driver(0, QUEUE.tail_offset), 4)
    await bench.expect_nothing()
    assert await bench.driver_tail(0) == 4
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(4, index)])
    assert await bench.driver_tail(0) == index
    await bench.finish()


async def zero_queues(bench, fifo):
    """Zero both queues, as the newest Linux driver does when its module is loaded."""
    for base in (bench.driver(fifo, 0), bench.device(fifo, 0)):
        for offset in range(0, QUEUE.size, 8):
            await bench.store_bytes(base + offset, bytes(8))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reload_with_an_empty_queue(dut):
    """After the driver zeroes the queues, no old message is delivered, and new ones are."""
    bench = QueueBench(dut)
    await bench.start()
    await bench.fill(0, range(5))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(5)])
    await zero_queues(bench, 0)
    await bench.expect_nothing()
    await bench.fill(0, [100])
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(100))])
    await bench.expect_nothing()
    assert await bench.driver_tail(0) == 1
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reload_with_pending_messages(dut):
    """The same while the device side stalls: only messages already popped are delivered."""
    bench = QueueBench(dut)
    await bench.start()
    bench.sink.pause()
    await bench.fill(0, range(60))
    await bench.ring(0)
    await zero_queues(bench, 0)
    await bench.fill(0, [100])
    bench.sink.resume()
    await bench.settle()
    # The engine may have popped up to two messages before the queue was zeroed.
    popped = bench.sink.pending
    assert popped <= 2
    for _ in range(popped):
        await bench.sink.recv()
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(100))])
    await bench.expect_nothing()
    assert await bench.driver_tail(0) == 1
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def fifos_are_served_round_robin(dut):
    """FIFOs with messages deliver one each in turn."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    bench.sink.pause()
    for fifo in range(fifos):
        await bench.fill(fifo, range(100 * fifo, 100 * fifo + 10))
    for fifo in range(fifos):
        await bench.ring(fifo)
    await bench.settle()
    bench.sink.resume()
    order = []
    for _ in range(10 * fifos):
        message = await bench.sink.recv()
        number = int.from_bytes(message.data[:4], "little")
        assert number // 100 == message.fifo and message.data == slot_bytes(number)
        order.append(message.fifo)
    # The first doorbell may be ahead by a message; after it every round serves each FIFO once.
    for start in range(fifos, len(order) - fifos, fifos):
        assert sorted(order[start : start + fifos]) == list(range(fifos)), order
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def no_idle_cycle_between_fifos(dut):
    """No cycle is idle between messages of different FIFOs, also when one becomes empty."""
    bench = QueueBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    bench.sink.pause()
    for fifo in range(fifos):
        await bench.fill(fifo, range(10 * fifo, 10 * fifo + 1 + fifo % 3))
        await bench.ring(fifo)
    await bench.settle()
    bench.sink.resume()
    receive_cycles = []
    for _ in range(sum(1 + fifo % 3 for fifo in range(fifos))):
        await bench.sink.recv()
        receive_cycles.append(bench.cycles)
    beats = QUEUE.slot_size * 8 // bench.parameters.data_width
    steps = {after - before for before, after in pairwise(receive_cycles)}
    assert steps <= {beats}, f"messages of {beats} beats are {steps} cycles apart"
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def message_waits_for_space_in_the_device_queue(dut):
    """A message is popped only while the device queue of its FIFO has space; others continue."""
    bench = QueueBench(dut)
    await bench.start()
    for number in range(FULL):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.settle()
    last = bench.parameters.num_fifos - 1
    await bench.fill(0, [1])
    await bench.ring(0)
    await bench.expect_nothing()
    if last:
        await bench.fill(last, [2])
        await bench.ring(last)
        await bench.expect([(last, slot_bytes(2))])
    await bench.expect_nothing()
    await bench.set_device_tail(0, 1)
    await bench.expect([(0, slot_bytes(1))])
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def tail_advances_after_the_slot_is_read(dut):
    """Tail does not advance past a slot before the engine has read it completely."""
    bench = QueueBench(dut)
    await bench.start()
    bench.sink.pause()
    await bench.fill(0, [1, 2])
    await bench.ring(0)
    await bench.settle()
    # One beat is valid: a whole slot only where a beat is as wide as a slot.
    slots_read = int(bench.parameters.data_width // 8 == QUEUE.slot_size)
    assert await bench.driver_tail(0) == slots_read
    await bench.write_slot(0, 1, slot_bytes(3))
    await bench.settle()
    bench.sink.resume()
    await bench.expect([(0, slot_bytes(1)), (0, slot_bytes(3))])
    assert await bench.driver_tail(0) == 2
    await bench.finish()
