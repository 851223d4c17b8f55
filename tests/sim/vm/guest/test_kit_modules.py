# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules: facts of a file, load order, and the kernel that they are for."""

from __future__ import annotations

import lzma

import pytest
from kit_fakes import RELEASE, module

from sim.vm.guest.kit.modules import ModuleError, ModuleIndex, load_order, read_module


@pytest.fixture
def index(tmp_path):
    """A kernel with ext4, what it needs, and one module built in."""
    folder = tmp_path / "modules"
    for name, facts in {
        "kernel/fs/ext4/ext4.ko": {"depends": "mbcache,jbd2", "softdep": "pre: crypto-crc32c"},
        "kernel/fs/jbd2/jbd2.ko": {"softdep": "pre: absent post: mbcache"},
        "kernel/fs/mbcache.ko": {},
        "kernel/crypto/crc32c_generic.ko": {},
        "kernel/drivers/char/hw_random/virtio-rng.ko": {"depends": "rng-core"},
    }.items():
        module(folder / name, **facts)
    (folder / "modules.builtin").write_text("kernel/drivers/char/hw_random/rng-core.ko\n")
    return ModuleIndex(folder)


def test_facts_of_module(tmp_path):
    found = read_module(module(tmp_path / "amp-pci.ko", depends="amp-transport,virtio"))
    assert found.name == "amp_pci" and found.depends == ("amp_transport", "virtio")
    assert found.release == RELEASE and found.wanted == ()


def test_compressed_module_is_read(tmp_path):
    plain = module(tmp_path / "m.ko", depends="a")
    packed = tmp_path / "m.ko.xz"
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    found = read_module(packed)
    assert found.depends == ("a",) and found.contents == plain.read_bytes()


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF\x02\x01" + bytes(10), b"\x7fELF\x01\x01"])
def test_other_file_is_no_module(tmp_path, data):
    path = tmp_path / "m.ko"
    path.write_bytes(data)
    with pytest.raises(ModuleError, match=r"m.ko is not a kernel module for a 64-bit"):
        read_module(path)


def test_broken_compression_is_named(tmp_path):
    path = tmp_path / "m.ko.xz"
    path.write_bytes(b"no")
    with pytest.raises(ModuleError, match=r"m.ko.xz cannot be read"):
        read_module(path)


def test_dependencies_are_loaded_first(index, tmp_path):
    bus = read_module(module(tmp_path / "bus.ko", depends="transport"))
    transport = read_module(module(tmp_path / "transport.ko", depends="ext4"))
    order = [found.name for found in load_order([bus, transport], index)]
    # Of a soft dependency only what is there, and only what comes before.
    assert order == ["mbcache", "jbd2", "crc32c_generic", "ext4", "transport", "bus"]
    assert [found.name for found in load_order([index.read("virtio-rng")], index)] == ["virtio_rng"]


def test_missing_dependency_is_named(index, tmp_path):
    bus = read_module(module(tmp_path / "bus.ko", depends="transport"))
    with pytest.raises(ModuleError, match=r"bus.ko depends on module transport: neither"):
        load_order([bus], index)
    # Of a kernel whose modules are unknown, it may be built in.
    assert load_order([bus], ModuleIndex()) == [bus]


def test_circular_dependency_is_named(index, tmp_path):
    first = read_module(module(tmp_path / "a.ko", depends="b"))
    second = read_module(module(tmp_path / "b.ko", depends="a"))
    with pytest.raises(ModuleError, match="modules depend on each other: a, b, a"):
        load_order([first, second], index)
