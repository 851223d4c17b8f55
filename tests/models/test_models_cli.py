# SPDX-License-Identifier: BSD-2-Clause
"""``python -m models``."""

import io
import json
import subprocess
import sys

import pytest
from model_support import VECTORS

from models.__main__ import main


def test_all_vectors(capsys):
    for vector in VECTORS:
        assert main(["decode", vector["wire"]]) == 0
        assert json.loads(capsys.readouterr().out) == vector
        assert main(["encode", json.dumps(vector)]) == 0
        assert capsys.readouterr().out == vector["wire"] + "\n"


def test_stdin_and_text(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(VECTORS[0])))
    assert main(["encode", "-"]) == 0
    assert capsys.readouterr().out == VECTORS[0]["wire"] + "\n"
    assert main(["decode", "--text", "0042040000000c0001000000"]) == 0
    assert capsys.readouterr().out == "EVENT_USED dev 4 index 1\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["decode", "00"], "length is 1: must be at least 8 bytes"),
        (["decode", "zz"], "HEX is 'zz': must be hex digits, two for each byte"),
        (
            ["decode", "0008000001000b0001000000"],
            "SET_DEVICE_STATUS request: msg_size is 11: must be 12 to 48",
        ),
        (["decode", "00", "--revision", "v9"], "revision is 'v9': must be v1, v1.1 or r1"),
        (
            ["encode", "{"],
            "JSON is '{': must be an object in JSON (Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1))",
        ),
        (["encode", "3"], "message is 3: must be an object with the keys message, kind, ..."),
        (
            ["encode", '{"message": "GET_VQUEUE", "kind": "request", "index": 4294967296}'],
            "GET_VQUEUE request: index is 4294967296: must be 0 to 4294967295",
        ),
        (["encode", "[" * 100_000], None),
    ],
)
def test_invalid_message_prints_one_line_and_exits_1(capsys, arguments, text):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    if text is not None:
        assert captured.err == text + "\n"


def test_exit_status_of_the_program():
    command = [sys.executable, "-m", "models", "decode", "000800"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "length is 3: must be at least 8 bytes\n"
