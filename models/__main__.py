# SPDX-License-Identifier: BSD-2-Clause
"""``python -m models``: ``decode HEX``, ``encode JSON``, ``reference``.

For an invalid message the command prints a line that names the field and the limit, and exits 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from . import __version__
from .messages import REVISIONS, FormError, MessageError, decode, describe, from_json, wire
from .reference import reference


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m models", description="virtio-msg messages")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, argument, text in (
        ("decode", "HEX", "print the message as JSON"),
        ("encode", "JSON", "print the bytes in hex, padded to the revision's maximum size"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("message", metavar=argument, help=f"{argument}, or - for stdin")
        command.add_argument("--revision", default="v1", help=" or ".join(REVISIONS))
        if name == "decode":
            command.add_argument(
                "--text", action="store_true", help="print one line of text instead"
            )
    commands.add_parser("reference", help="print docs/reference.md")
    options = parser.parse_args(arguments)
    if options.command == "reference":
        print(reference(), end="")
        return 0
    try:
        text = _read_stdin() if options.message == "-" else options.message
        if options.command == "decode":
            message = decode(_bytes(text), options.revision)
            print(describe(message) if options.text else json.dumps(message.to_json()))
        else:
            print(wire(from_json(_values(text), options.revision)).hex())
    except MessageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _read_stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise FormError("stdin", error.object[:16], "text") from None


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise FormError("HEX", text, "hex digits, two for each byte") from None


def _values(text: str) -> object:
    try:
        values: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormError("JSON", text, f"an object in JSON ({error})") from None
    return values


if __name__ == "__main__":
    sys.exit(main())
