# SPDX-License-Identifier: BSD-2-Clause
"""Connections, framing, received files and socket paths, below the level of requests."""

import array
import contextlib
import errno
import fcntl
import os
import random
import socket
import struct
import termios
import time

import pytest
from memory_server import MemoryServer, open_files

from sim.run import new_seed
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client, RefusedError
from sim.vm.vfio_user.server import LONGEST_PATH, SocketError, listening
from sim.vm.vfio_user.wire import ClientMessage, Command, IrqSetFlags

PAGE = 0x1000


@pytest.fixture
def server():
    with MemoryServer() as running:
        yield running


def header(**fields):
    values = {"id": 7, "command": Command.REGION_READ, "size": 16, "flags": 0, "error": 0}
    return wire.HEADER.pack(*{**values, **fields}.values())


@pytest.mark.parametrize("size", [0, 15, wire.MOST_BYTES + 1, 0xFFFF_FFFF])
def test_invalid_size_ends_session(server, size):
    with server.client() as client:
        client.send_raw(header(size=size))
        reply = client.receive()
        assert (reply.id, reply.command, reply.error) == (7, Command.REGION_READ, errno.EINVAL)
        with pytest.raises(ConnectionError):
            client.receive()
    with server.client() as client:
        assert client.read(0, 0, 4) == bytes(4)
    assert str(size) in server.clients[1][1]


def test_incomplete_header_ends_session(server):
    for count in (1, 15):
        with server.client() as client:
            client.send_raw(header()[:count])
    with server.client() as client:
        assert client.read(0, 0, 4) == bytes(4)


def test_messages_split_at_any_byte(server):
    with server.client() as client:
        data = ClientMessage(
            id=5, command=Command.REGION_READ, payload=wire.REGION_ACCESS.pack(0, 0, 4)
        ).pack()
        for byte in data:
            client.send_raw(bytes([byte]))
        assert client.receive().id == 5
        client.send_raw(data * 100)
        assert [client.receive().id for _ in range(100)] == [5] * 100


def test_function_restarts_after_each_client(server):
    for number in range(3):
        with server.client() as client:
            client.write(0, 0, b"left")
        server.disconnected.wait(10)
        server.disconnected.clear()
        assert server.function.restarts == number + 1
    assert server.clients == [("connected", ""), ("disconnected", server.clients[1][1])] * 3


def test_second_client_is_disconnected(server):
    with server.client() as first:
        second = Client(server.path, negotiate=False)
        with pytest.raises(ConnectionError):
            second.version()
        second.close()
        assert first.read(0, 0, 4) == bytes(4)
    assert any("second client" in text for text in server.errors)


def test_fifty_clients_in_succession(server):
    for _ in range(50):
        with server.client() as client:
            assert client.read(0, 0, 1) == b"\0"


def test_client_that_does_not_read_replies(server):
    with server.client() as client:
        access = wire.REGION_ACCESS.pack(0, 1, 0x8000)
        client.socket.settimeout(2)
        # The replies fill the socket, then the requests do.
        with pytest.raises(TimeoutError):
            for _ in range(10_000):
                client.send(Command.REGION_READ, access)
    with server.client() as client:
        assert client.read(0, 0, 1) == b"\0"


def test_half_closed_client_that_does_not_read_replies(server):
    first = server.client()
    first.socket.setblocking(False)
    access = wire.REGION_ACCESS.pack(0, 1, 0x8000)
    with pytest.raises(BlockingIOError):
        while True:
            first.send(Command.REGION_READ, access)
    first.socket.shutdown(socket.SHUT_WR)
    second = server.client()
    assert second.read(0, 0, 1) == b"\0"
    first.close()
    second.close()


def test_all_received_files_are_closed(server):
    """Files of used, refused and incomplete messages, and of ended sessions."""
    memory = os.memfd_create("guest")
    os.ftruncate(memory, 64 * PAGE)
    signals = [os.eventfd(0) for _ in range(4)]
    with server.client() as client:
        assert client.read(0, 0, 1) == b"\0"
    server.disconnected.wait(10)
    server.disconnected.clear()
    before = open_files()
    with server.client() as client:
        for number in range(8):
            client.map(memory, number * PAGE, PAGE)
        client.assign(0, signals)
        client.assign(0, signals)
        client.unmap(0, PAGE)
        client.set_irqs(IrqSetFlags.DATA_EVENTFD | IrqSetFlags.ACTION_TRIGGER, 1, 1)
        refusals = [
            (Command.DMA_MAP, wire.DMA_MAP.pack(32, 3, 0, PAGE, PAGE), [memory]),
            (Command.DMA_MAP, wire.DMA_MAP.pack(32, 3, 0, 0, PAGE), [memory] * 2),
            (Command.DMA_MAP, b"short", [memory]),
            (Command.DEVICE_SET_IRQS, wire.IRQ_SET.pack(20, 0x24, 2, 0, 1), signals),
            (99, b"", [memory]),
        ]
        for command, payload, files in refusals:
            client.send(command, payload, files=files)
            assert client.receive().error
        # Files with requests that do not use any are accepted.
        client.send(Command.REGION_READ, wire.REGION_ACCESS.pack(0, 0, 4), files=[memory])
        client.send(Command.DMA_UNMAP, wire.DMA_UNMAP.pack(24, 0, PAGE, PAGE), files=[memory])
        assert not client.receive().error and not client.receive().error
        client.map(memory, PAGE, PAGE)
        client.send(Command.DMA_MAP, wire.DMA_MAP.pack(32, 3, 0, 0, PAGE), files=[memory] * 40)
        assert client.receive().error == errno.EMFILE
        client.read(0, 0, 1)
        # Seven mappings, three eventfds, both ends of the connection.
        assert open_files() == before + 7 + 3 + 2
        # More files than the limit, with a message that never ends.
        client.send_raw(header(size=100) + b"x", [memory] * 3)
        for _ in range(20):
            client.send_raw(b"y", [memory] * 3)
        while _unread(client):
            time.sleep(0.001)
        assert open_files() <= before + 7 + 3 + 2 + wire.MOST_FILES
    server.disconnected.wait(10)
    assert open_files() == before
    for file in (memory, *signals):
        os.close(file)


def _unread(client):
    """Bytes sent that the server has not read."""
    waiting = array.array("i", [0])
    fcntl.ioctl(client.socket, termios.TIOCOUTQ, waiting)
    return waiting[0]


def mapping(number, flags=3):
    """A message that maps page ``number``."""
    payload = wire.DMA_MAP.pack(32, flags, 0, number * PAGE, PAGE)
    return ClientMessage(id=number, command=Command.DMA_MAP, payload=payload).pack()


def reading(number):
    """A message that uses no file."""
    payload = wire.REGION_ACCESS.pack(0, 0, 1)
    return ClientMessage(id=number, command=Command.REGION_READ, payload=payload).pack()


@pytest.fixture
def pages():
    """Files of one page each, filled at the start with the file's number."""
    files = []
    for number in range(8):
        files.append(os.memfd_create(f"page{number}"))
        os.ftruncate(files[-1], PAGE)
        os.pwrite(files[-1], bytes([number] * 4), 0)
    yield files
    for file in files:
        os.close(file)


def mapped(server):
    """Number of each mapping's file; None for one without a file."""
    found = [server.function.memory.read(number * PAGE, 1) for number in range(8)]
    return [None if data is None else data[0] for data in found]


@pytest.mark.parametrize("behind", [[reading(9)], [mapping(2), reading(9)], [reading(9)] * 40])
def test_files_belong_to_message_of_first_byte(server, pages, behind):
    """Other messages may follow in the same call."""
    with server.client() as client:
        client.send_raw(mapping(1) + b"".join(behind), [pages[1]])
        assert [client.receive().error for _ in range(1 + len(behind))] == [0] * (1 + len(behind))
        assert mapped(server)[:4] == [None, 1, None, None]


@pytest.mark.parametrize("ahead", [[reading(9)] * 3, [mapping(2)], [mapping(2), reading(9)]])
def test_files_do_not_belong_to_earlier_message(server, pages, ahead):
    with server.client() as client:
        client.send_raw(b"".join(ahead))
        client.send_raw(mapping(1) + reading(9), [pages[1]])
        assert [client.receive().error for _ in range(2 + len(ahead))] == [0] * (2 + len(ahead))
        assert mapped(server)[:4] == [None, 1, None, None]


def test_files_of_message_without_use_are_closed(server, pages):
    with server.client() as client:
        client.send_raw(reading(9) + mapping(1), [pages[1]])
        assert [client.receive().error for _ in range(2)] == [0, 0]
        assert mapped(server)[1] is None


def test_files_within_message_are_closed(server, pages):
    with server.client() as client:
        client.read(0, 0, 1)
        before = open_files()
        message = mapping(1)
        client.send_raw(message[:20])
        while _unread(client):
            time.sleep(0.001)
        client.send_raw(message[20:] + mapping(2), [pages[1], pages[2]])
        assert [client.receive().error for _ in range(2)] == [0, 0]
        assert mapped(server)[:4] == [None] * 4
        assert open_files() == before


def test_files_stay_with_messages_in_any_split(server, pages):
    """Messages in calls of any size, each message's files with its first byte."""
    seed = new_seed()
    print(f"seed {seed}")
    generator = random.Random(seed)
    for _ in range(20):
        order = generator.sample(range(8), 8)
        owners = {number for number in order if generator.random() < 0.6}
        # A new call starts at each message with files; its bytes may be split anywhere.
        calls = [(b"", [])]
        for number in order:
            if number in owners:
                calls.append((b"", [pages[number]]))
            data, files = calls.pop()
            calls.append((data + mapping(number), files))
        with server.client() as client:
            for data, files in calls:
                cut = generator.randrange(1, len(data) + 1) if data else 0
                for piece, its in ((data[:cut], files), (data[cut:], [])):
                    if piece:
                        client.send_raw(piece, its)
            assert [client.receive().error for _ in order] == [0] * 8
            assert mapped(server) == [n if n in owners else None for n in range(8)]
        server.disconnected.wait(10)
        server.disconnected.clear()


def test_client_closes_files_of_reply(tmp_path):
    """The protocol has no replies with files."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with Client(path, negotiate=False) as client:
            peer, _ = listener.accept()
            with peer:
                before = open_files()
                socket.send_fds(peer, [header(size=wire.HEADER.size)], [0, 1, 2])
                assert client.receive().files == []
                assert open_files() == before


def test_random_messages_do_not_stop_server(server):
    """Random bytes and almost valid messages: the next client is served after each."""
    seed = new_seed()
    print(f"seed {seed}")
    generator = random.Random(seed)
    deadline = time.monotonic() + 60
    for _ in range(60):
        assert time.monotonic() < deadline, "the server is stuck"
        with server.client() as client:
            client.socket.settimeout(0.02)
            with contextlib.suppress(OSError, ConnectionError, RefusedError):
                for _ in range(generator.randrange(1, 60)):
                    client.send_raw(_nearly(generator))
                while client.socket.recv(1 << 16):
                    pass
    with server.client() as client:
        assert client.read(0, 0, 4) is not None


def _nearly(generator):
    """A message with random values in most fields."""
    payload = bytearray(
        generator.choice(
            [
                wire.REGION_ACCESS.pack(generator.randrange(64), generator.randrange(10), 4),
                wire.DMA_MAP.pack(32, 3, 0, generator.randrange(64) << 12, PAGE),
                wire.DMA_UNMAP.pack(24, 0, generator.randrange(64) << 12, PAGE),
                wire.IRQ_SET.pack(20, generator.randrange(64), 2, 0, generator.randrange(6)),
                wire.REGION_INFO.pack(32, 0, generator.randrange(10), 0, 0, 0),
                wire.WRITE_COUNT.pack(1) + wire.WRITE_OF_MANY.pack(0, 1, 8, b"12345678"),
                generator.randbytes(generator.randrange(80)),
            ]
        )
    )
    if payload and generator.random() < 0.5:
        payload[generator.randrange(len(payload))] = generator.randrange(256)
    size = wire.HEADER.size + len(payload)
    if generator.random() < 0.05:
        size = generator.choice([0, 15, size + 1, size - 1, 1 << 31])
    flags = generator.choice([0, 0, 0, 0x10, generator.randrange(256)])
    command = generator.choice([*Command, generator.randrange(1 << 16)])
    return struct.pack("=HHIII", generator.randrange(1 << 16), command, size, flags, 0) + payload


def test_socket_paths(tmp_path):
    with MemoryServer() as server:
        with pytest.raises(SocketError, match="listens there already"), listening(server.path):
            pass
        stale = server.path.with_name("stale")
        with socket.socket(socket.AF_UNIX) as stale_socket:
            stale_socket.bind(str(stale))
        with listening(stale) as listener:
            assert listener.fileno() >= 0
        assert not stale.exists()
        busy = server.path.with_name("busy")
        with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
            other.bind(str(busy))
            other.listen(0)
            waiting.connect(str(busy))
            with pytest.raises(SocketError, match="listens there already"), listening(busy):
                pass
        with listening(replaced := server.path.with_name("replaced")):
            replaced.unlink()
            replaced.write_text("another file")
        assert replaced.exists()
        occupied = server.path.with_name("file")
        occupied.write_text("a file")
        with pytest.raises(SocketError, match="not a socket"), listening(occupied):
            pass
        assert occupied.read_text() == "a file"
        nowhere = server.path.with_name("no") / "s"
        with pytest.raises(SocketError, match="No such file"), listening(nowhere):
            pass
        long = server.path.with_name("x" * LONGEST_PATH)
        with pytest.raises(SocketError, match="107 bytes"), listening(long):
            pass
