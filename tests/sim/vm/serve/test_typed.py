# SPDX-License-Identifier: BSD-2-Clause
"""Typed text and commands, in lines and pieces; the control socket for scripts."""

import contextlib
import socket
import threading
import time

import pytest

from sim.vm.bridge.files import BlockingReadiness, run_alone
from sim.vm.serve import remote as remote_module
from sim.vm.serve.remote import MOST_CLIENTS, ControlSocket
from sim.vm.serve.typed import LONGEST_COMMAND, TypedText


def split(*pieces):
    """Feed pieces of input; returns text and commands, adjacent text joined."""
    found = []

    def text(words):
        if found and found[-1][0] == "text":
            words = found.pop()[1] + words
        found.append(("text", words))

    typed = TypedText(text, lambda command: found.append(("command", command)))
    for piece in pieces:
        typed.feed(piece)
    typed.end()
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"ls -l\n", [("text", "ls -l\n")]),
        (b"login", [("text", "login")]),
        (b"!help\n", [("command", "!help")]),
        (b"!help", [("command", "!help")]),
        (b"a\n!b\nc !d\n", [("text", "a\n"), ("command", "!b"), ("text", "c !d\n")]),
        (b"!!x\n!y\n", [("text", "!x\n"), ("command", "!y")]),
        (b"!!!x\n", [("text", "!!x\n")]),
        (b"!\n", [("command", "!")]),
        (b"\n\n", [("text", "\n\n")]),
        ("é!\n!plug blk=é\n".encode(), [("text", "é!\n"), ("command", "!plug blk=é")]),
        (b"\xff\n", [("text", "\ufffd\n")]),
        (b"", []),
    ],
)
def test_line_with_mark_is_command(data, expected):
    assert split(data) == expected
    assert split(*(bytes([byte]) for byte in data)) == expected


def test_text_is_passed_on_before_line_end():
    found = []
    typed = TypedText(found.append, found.append)
    typed.feed(b"pass")
    typed.feed(b"!word")
    assert found == ["pass", "!word"]


def test_length_of_command_is_limited():
    found = split(*[b"!" + b"x" * 1000] * 20)
    assert found[0] == ("command", "!" + found[0][1][1:]) and len(found[0][1]) == LONGEST_COMMAND
    assert all(len(words) <= LONGEST_COMMAND for kind, words in found if kind == "command")


class Remote:
    """A control socket with its server in a thread; the test's ``run`` answers the lines."""

    def __init__(self, path, run):
        self._stop = socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(20)
        self.path = path
        self.readiness = BlockingReadiness()
        self._control = ControlSocket(self._listener, self.readiness, run)
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        run_alone(self.readiness.readable(self._stop[1].fileno()))
        self._control.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop[0].close()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not end"
        self._stop[1].close()
        self._listener.close()

    def client(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(str(self.path))
        return connection

    def ask(self, *pieces):
        """Send ``pieces`` and shut down sending; returns all answers."""
        with self.client() as client:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(1 << 16), b""))


def echo(line, answer):
    answer(not line.startswith("no"), f"did {line}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


def test_each_line_gets_one_answer(path):
    with Remote(path, echo) as remote:
        assert remote.ask(b"one\n") == b"ok did one\n"
        assert remote.ask(b"one\nno\nthr", b"ee\n") == b"ok did one\nerror did no\nok did three\n"
        assert remote.ask(b"without end") == b"ok did without end\n"
        assert remote.ask(b"") == b""
        assert remote.ask(b"\n\n") == b"ok did \nok did \n"


def test_every_line_of_answer_has_status(path):
    with Remote(path, lambda line, answer: answer(True, "a\nb")) as remote:
        assert remote.ask(b"help\n") == b"ok a\nok b\n"


def test_control_characters_in_answer_are_escaped(path):
    with Remote(path, echo) as remote:
        assert remote.ask(b"\x1b[2J\xc2\x9b\xff\n") == "ok did \\x1b[2J\\x9b\ufffd\n".encode()


def test_lines_of_one_client_are_executed_in_order(path):
    """Late answers keep their order; other clients are served meanwhile."""
    answers = []

    def later(line, answer):
        if line == "now":
            answer(True, "done")
        else:
            answers.append((line, answer))

    with Remote(path, later) as remote, remote.client() as slow:
        slow.sendall(b"first\nsecond\n")
        assert remote.ask(b"now\n") == b"ok done\n"
        assert [line for line, _ in answers] == ["first"]
        remote.readiness.call_later(0, lambda: answers[0][1](False, "late"))
        remote.ask(b"now\n")
        assert slow.recv(100) == b"error late\n"
        remote.ask(b"now\n")
        assert [line for line, _ in answers] == ["first", "second"]


def test_answer_to_closed_connection_is_dropped(path):
    answers = []
    with Remote(path, lambda line, answer: answers.append(answer)) as remote:
        with remote.client() as client:
            client.sendall(b"one\n")
            _wait_for(lambda: answers)
        answers[0](True, "x" * 100)
        answers[0](True, "again")
        with remote.client() as client:
            client.sendall(b"two\n")
            _wait_for(lambda: len(answers) > 1)


def test_thousands_of_lines_are_answered(path):
    with Remote(path, echo) as remote:
        assert remote.ask(b"x\n" * 3000) == b"ok did x\n" * 3000


def test_client_that_does_not_read_is_disconnected(path, monkeypatch):
    monkeypatch.setattr(remote_module, "MOST_RETRIES", 3)
    answer = "x" * 100_000
    with (
        Remote(path, lambda line, answer_line: answer_line(True, answer)) as remote,
        remote.client() as client,
    ):
        client.sendall(b"x\n" * 100)
        time.sleep(0.2)
        assert remote.ask(b"") == b""
        with pytest.raises(ConnectionError):
            while client.recv(1 << 20):
                client.sendall(b"y\n")


def test_line_without_end_is_refused(path):
    with Remote(path, echo) as remote, remote.client() as client:
        client.sendall(b"x" * (2 * LONGEST_COMMAND))
        assert client.recv(200).startswith(b"error line has ")
        assert client.recv(200) == b""


def test_clients_beyond_limit_are_disconnected(path):
    with Remote(path, echo) as remote:
        clients = [remote.client() for _ in range(MOST_CLIENTS)]
        for client in clients:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"ok did hello\n"
        with remote.client() as surplus:
            assert surplus.recv(100) == b""
        clients.pop().close()

        def has_room():
            with contextlib.suppress(ConnectionError):
                return remote.ask(b"again\n") == b"ok did again\n"

        _wait_for(has_room)
        for client in clients:
            client.close()


def _wait_for(what):
    deadline = threading.Event()
    for _ in range(1000):
        if what():
            return
        deadline.wait(0.005)
    raise AssertionError("time limit exceeded")
