# SPDX-License-Identifier: BSD-2-Clause
"""The cpio writer, read back by an independent reader that follows the format's description."""

from __future__ import annotations

import stat
from typing import NamedTuple

import pytest

from sim.vm.guest.initramfs import Entry, InitramfsError, archive, console, file, folder

FIELDS = (
    *("inode", "mode", "uid", "gid", "links", "mtime", "size", "major", "minor"),
    *("node_major", "node_minor", "name_size", "check"),
)
HEADER = 6 + 8 * len(FIELDS)


class Read(NamedTuple):
    name: str
    fields: dict[str, int]
    contents: bytes


def read(data: bytes) -> list[Read]:
    found, at = [], 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * k : at + 14 + 8 * k], 16) for k in range(len(FIELDS))]
        fields = dict(zip(FIELDS, numbers, strict=True))
        end = at + HEADER + fields["name_size"]
        name = data[at + HEADER : end]
        assert name.endswith(b"\0") and name.count(b"\0") == 1
        start = -(-end // 4) * 4
        contents = data[start : start + fields["size"]]
        assert len(contents) == fields["size"]
        at = -(-(start + fields["size"]) // 4) * 4
        if name == b"TRAILER!!!\0":
            assert at == len(data)
            return found
        found.append(Read(name[:-1].decode(), fields, contents))


def test_archive_is_read_back():
    contents = bytes(range(256)) * 5
    entries = [folder("dev"), console(), file("init", contents, executable=True), file("a", b"1")]
    found = {entry.name: entry for entry in read(archive(entries))}
    assert list(found) == ["dev", "dev/console", "init", "a"]
    assert found["init"].contents == contents and found["a"].contents == b"1"
    assert found["init"].fields["mode"] == stat.S_IFREG | 0o755
    assert found["a"].fields["mode"] == stat.S_IFREG | 0o644
    assert stat.S_ISDIR(found["dev"].fields["mode"]) and found["dev"].fields["links"] == 2
    device = found["dev/console"].fields
    assert stat.S_ISCHR(device["mode"]) and (device["node_major"], device["node_minor"]) == (5, 1)
    inodes = [entry.fields["inode"] for entry in found.values()]
    assert len(set(inodes)) == len(inodes), "the same inode would be a hard link"


@pytest.mark.parametrize("size", range(9))
def test_contents_and_names_of_every_length(size):
    entries = [file("n" * (size + 1), bytes(size)), file("after", b"after")]
    found = read(archive(entries))
    assert [entry.contents for entry in found] == [bytes(size), b"after"]


def test_archive_is_reproducible():
    entries = [folder("proc"), file("init", b"x")]
    assert archive(entries) == archive(entries)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([file("", b"")], "name is '': must be a relative path"),
        ([file("/init", b"")], "name is '/init': must be a relative path"),
        ([file("TRAILER!!!", b"")], "must be a relative path"),
        ([file("a", b""), file("a", b"")], "a is a duplicate"),
        ([console()], "dev/console: there is no folder dev"),
        ([file("dev", b""), console()], "there is no folder dev"),
    ],
)
def test_invalid_entries_are_refused(entries: list[Entry], text: str):
    with pytest.raises(InitramfsError, match=text.replace("?", r"\?")):
        archive(entries)
