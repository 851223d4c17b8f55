# SPDX-License-Identifier: BSD-2-Clause
"""A directory of a driver: built, taken as it is, or refused."""

from __future__ import annotations

import pytest
from guest_fakes import program
from kit_fakes import RELEASE, module

from sim.vm.guest.fetch.store import Store
from sim.vm.guest.kit import kernel as kit_kernel
from sim.vm.guest.kit.driver import DriverError, find_driver
from sim.vm.guest.kit.kernel import GuestKernel, KernelError, find_kernel, release_of_image
from sim.vm.guest.kit.modules import ModuleError, ModuleIndex

MAKE = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/arguments
for word in "$@"; do case "$word" in M=*) tree="${{word#M=}}" ;; esac; done
{then}
"""


@pytest.fixture
def kernel(tmp_path):
    headers = tmp_path / "headers"
    headers.mkdir()
    return GuestKernel(tmp_path / "bzImage", RELEASE, ModuleIndex(), headers, compiler="gcc")


@pytest.fixture
def build(tmp_path, monkeypatch, kernel):
    """Builds a directory with a make that runs ``then``; returns modules and make's arguments."""
    source = tmp_path / "source"
    source.mkdir()

    def build(files, then="", variables=(), kernel=kernel):
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        program(tmp_path / "bin", "make", MAKE.format(folder=tmp_path, then=then))
        program(tmp_path / "bin", "gcc", "#!/bin/sh\n")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        modules = find_driver(source, kernel, tmp_path / "out", variables)
        return modules, (tmp_path / "arguments").read_text().splitlines()

    (tmp_path / "out").mkdir()
    return build


def built(tmp_path) -> str:
    """A shell command that makes a module of the tree."""
    made = module(tmp_path / "made.ko")
    return f'cp {made} "$tree/amp.ko"'


def test_kbuild_tree_is_copied_and_built(build, tmp_path, kernel):
    files = {"Kbuild": "obj-m := amp.o\n", "amp.c": "", "old.ko": "stale"}
    modules, arguments = build(files, built(tmp_path), ["CONFIG_X=m", "CONFIG_Y=y", "V=1"])
    assert [found.name for found in modules] == ["amp"]
    assert f"M={tmp_path}/out/driver" in arguments and arguments[-1] == "modules"
    assert {"-C", str(kernel.headers), "CC=gcc", "CONFIG_X=m", "V=1"} <= set(arguments)
    assert "KCPPFLAGS=-DCONFIG_X_MODULE=1 -DCONFIG_Y=1" in arguments
    assert not (tmp_path / "source/amp.ko").exists()


def test_makefile_with_objects_is_for_kbuild(build, tmp_path):
    _, arguments = build({"Makefile": "ifneq ($(K),)\n  obj-m += amp.o\nendif\n"}, built(tmp_path))
    assert arguments[-1] == "modules"


def test_other_makefile_gets_folder_of_kernel(build, tmp_path, kernel):
    then = f"cp {module(tmp_path / 'made.ko')} {tmp_path}/out/driver/amp.ko"
    modules, arguments = build({"Makefile": "all:\n\t$(MAKE) -C $(KDIR) M=$(PWD)/src\n"}, then)
    assert [found.name for found in modules] == ["amp"]
    assert f"KDIR={kernel.headers}" in arguments and "modules" not in arguments


def test_messages_of_compiler_name_the_source(build, tmp_path):
    then = 'echo "$tree/amp.c:3:1: error: no"; echo "  3 | x"; exit 2'
    with pytest.raises(DriverError) as caught:
        build({"Kbuild": "obj-m := amp.o\n"}, then)
    text = str(caught.value)
    assert f"{tmp_path}/source/amp.c:3:1: error: no\n  3 | x" in text
    assert (tmp_path / "out/driver.log").read_text() in f"{text}\n"


def test_failed_build_names_compiler_of_kernel(build, tmp_path):
    kernel = GuestKernel(
        *(tmp_path / "k", RELEASE, ModuleIndex(), tmp_path), compiler_note="install gcc-14"
    )
    with pytest.raises(DriverError, match="install gcc-14"):
        build({"Kbuild": "obj-m := amp.o\n"}, "exit 2", kernel=kernel)


def test_build_without_module_names_options(build):
    files = {"Makefile": "obj-$(CONFIG_VIRTIO_MSG) += a.o\n", "sub/Kbuild": "obj-$(CONFIG_B) += b"}
    with pytest.raises(DriverError, match=r"--make CONFIG_B=m --make CONFIG_VIRTIO_MSG=m"):
        build(files)


def test_modules_without_makefile_are_taken(tmp_path, kernel):
    module(tmp_path / "d/a.ko")
    module(tmp_path / "d/sub/b.ko", depends="a")
    found = find_driver(tmp_path / "d", kernel, tmp_path)
    assert [item.name for item in found] == ["a", "b"]
    module(tmp_path / "d/c.ko", release="6.1.0")
    with pytest.raises(ModuleError, match=rf"c.ko is built for Linux 6.1.0: must be {RELEASE}"):
        find_driver(tmp_path / "d", kernel, tmp_path)


def test_useless_directory_is_named(tmp_path, kernel):
    with pytest.raises(DriverError, match=r"DRIVER is .*/gone: there is no such directory"):
        find_driver(tmp_path / "gone", kernel, tmp_path)
    (tmp_path / "d").mkdir()
    with pytest.raises(DriverError, match=r"has no Kbuild, no Makefile and no module"):
        find_driver(tmp_path / "d", kernel, tmp_path)
    with pytest.raises(DriverError, match=r"make variable is '-k': must be NAME=VALUE"):
        find_driver(tmp_path / "d", kernel, tmp_path, ["-k"])


def test_sources_need_headers(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/Kbuild").touch()
    kernel = GuestKernel(tmp_path / "bzImage", None, ModuleIndex())
    with pytest.raises(DriverError, match=r"the headers of .*bzImage are not known; --headers"):
        find_driver(tmp_path / "d", kernel, tmp_path)


def image(path, release=b"6.12.1-x (me) #1") -> None:
    """A bzImage's header, with its release at the offset that it names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray(0x400)
    data[0x202:0x206] = b"HdrS"
    data[0x20E:0x210] = (0x100).to_bytes(2, "little")
    data[0x300 : 0x300 + len(release)] = release
    path.write_bytes(bytes(data))


def test_release_of_image(tmp_path):
    image(tmp_path / "bzImage")
    assert release_of_image(tmp_path / "bzImage") == RELEASE
    (tmp_path / "other").write_bytes(b"text")
    assert release_of_image(tmp_path / "other") is None


def test_own_kernel_is_found_with_its_tree(tmp_path):
    path = tmp_path / "linux/arch/x86/boot/bzImage"
    image(path)
    store = Store(tmp_path / "store")
    assert find_kernel(store, pytest.fail, image=path).headers is None
    (tmp_path / "linux/Makefile").touch()
    module(tmp_path / "linux/drivers/block/virtio_blk.ko")
    found = find_kernel(store, pytest.fail, image=path)
    assert found.headers == tmp_path / "linux" and found.release == RELEASE
    assert found.modules.has("virtio_blk") and found.compiler == "gcc"
    (tmp_path / "empty").mkdir()
    found = find_kernel(store, pytest.fail, image=path, modules=tmp_path / "empty")
    assert found.headers == tmp_path / "linux" and not found.modules.has("virtio_blk")


def test_missing_files_of_own_kernel_are_named(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(KernelError, match=r"KERNEL is .*gone: there is no such file"):
        find_kernel(store, pytest.fail, image=tmp_path / "gone")
    with pytest.raises(KernelError, match=r"--headers is .*: needs the kernel as well"):
        find_kernel(store, pytest.fail, headers=tmp_path)
    with pytest.raises(KernelError, match=r"--modules is .*: needs the kernel as well"):
        find_kernel(store, pytest.fail, modules=tmp_path)
    image(tmp_path / "bzImage")
    with pytest.raises(KernelError, match=r"--modules is .*gone: there is no such folder"):
        find_kernel(store, pytest.fail, image=tmp_path / "bzImage", modules=tmp_path / "gone")
    with pytest.raises(KernelError, match=r"--headers is .*: has no Makefile"):
        find_kernel(store, pytest.fail, image=tmp_path / "bzImage", headers=tmp_path)


def test_compiler_is_the_kernels(tmp_path, monkeypatch):
    (tmp_path / ".config").write_text("CONFIG_GCC_VERSION=140200\n")
    programs = tmp_path / "bin"
    monkeypatch.setenv("PATH", str(programs))
    assert kit_kernel._compiler(tmp_path) == ("gcc-14", "")
    program(programs, "gcc", "#!/bin/sh\necho 12.2.0\n")
    compiler, note = kit_kernel._compiler(tmp_path)
    assert compiler == "gcc" and note == (
        "the kernel is built with gcc 14, and gcc is version 12: install gcc-14"
    )
    program(programs, "gcc", "#!/bin/sh\necho 14\n")
    assert kit_kernel._compiler(tmp_path) == ("gcc", "")
    program(programs, "gcc-14", "#!/bin/sh\n")
    assert kit_kernel._compiler(tmp_path) == ("gcc-14", "")
    assert kit_kernel._compiler(None) == ("gcc", "")
