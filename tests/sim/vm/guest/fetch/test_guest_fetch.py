# SPDX-License-Identifier: BSD-2-Clause
"""Sources of QEMU and kernel, and the files that are kept of them."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from guest_fakes import program, qemu

from sim.vm.guest.errors import DownloadError, UnavailableError
from sim.vm.guest.fetch import kernel as fetch_kernel
from sim.vm.guest.fetch import machine
from sim.vm.guest.fetch import qemu as fetch_qemu
from sim.vm.guest.fetch.apt import PackageSource
from sim.vm.guest.fetch.machine import Debian
from sim.vm.guest.fetch.store import Store

MACHINE = [
    PackageSource("mirror:/s", ("bookworm-security",)),
    PackageSource("mirror:/a", ("bookworm",)),
]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright", (11, 1)),
        ("QEMU emulator version 7.2.17", (7, 2)),
        ("QEMU emulator version 10.1.0-rc1", (10, 1)),
        ("bash: qemu: not found", None),
        ("", None),
    ],
)
def test_parse_version(text, version):
    assert fetch_qemu.parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "device", "good"),
    [
        ("10.1.0", "vfio-user-pci", True),
        ("11.0.50", "vfio-user-pci", True),
        ("10.0.8", "vfio-user-pci", False),
        ("9.2.0", "vfio-user-pci", False),
        ("11.1.0", "vfio-pci", False),
    ],
)
def test_qemu_must_be_new_and_have_device(tmp_path, version, device, good):
    found = fetch_qemu.examine([str(qemu(tmp_path, version, device))])
    assert (found is not None) == good
    if found is not None:
        assert found.version == f"{version} (fake)"


def test_program_that_fails_is_not_qemu(tmp_path):
    assert fetch_qemu.examine([str(tmp_path / "nothing")]) is None
    assert fetch_qemu.examine([str(program(tmp_path, "q", "#!/bin/sh\nexit 1\n"))]) is None


def test_qemu_on_path_is_preferred(tmp_path, monkeypatch):
    own = qemu(tmp_path / "bin", "10.1.2")
    monkeypatch.setenv("PATH", f"{own.parent}:/bin")
    found = fetch_qemu.find(Store(tmp_path / "store"), pytest.fail)
    assert found.command == (str(own),)
    assert not (tmp_path / "store").exists()


def test_no_qemu_and_no_debian_is_one_line(tmp_path, monkeypatch):
    old = qemu(tmp_path / "bin", "9.0.0")
    monkeypatch.setenv("PATH", f"{old.parent}:/bin")
    monkeypatch.setattr(machine, "debian", lambda: None)
    with pytest.raises(UnavailableError) as caught:
        fetch_qemu.find(Store(tmp_path / "store"), pytest.fail)
    text = str(caught.value)
    assert "not Debian on amd64: install QEMU 10.1 or newer" in text and "\n" not in text
    assert caught.value.exit_status == 1
    with pytest.raises(UnavailableError, match=r"KERNEL=… INITRD=…"):
        fetch_kernel.find(Store(tmp_path / "store"), pytest.fail)


@pytest.mark.parametrize("find", [fetch_qemu.find, fetch_kernel.find])
def test_failed_download_leaves_no_files(find, tmp_path, monkeypatch):
    targets = "mirror:/a/ bookworm main"
    program(
        tmp_path / "bin",
        "apt-get",
        f'#!/bin/sh\ncase "$*" in *indextargets*) echo "{targets}"; exit 0;; esac\n'
        "echo 'E: Temporary failure resolving' >&2; exit 100\n",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "debian", lambda: Debian("bookworm", 12))
    monkeypatch.setattr("sim.vm.guest.fetch.apt.KEYRING", tmp_path)
    store = Store(tmp_path / "store")
    with pytest.raises(DownloadError, match="apt-get failed\nE: Temporary failure resolving"):
        find(store, lambda text: None)
    assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_sources_of_qemu_by_release():
    backported = [PackageSource("mirror:/a", ("trixie", "trixie-backports"))]
    for release in (Debian("bookworm", 12), Debian("trixie", 13)):
        sources = [PackageSource("mirror:/a", (release.codename,)), MACHINE[0]]
        assert fetch_qemu.sources_for(release, sources) == (backported, "trixie-backports")
    for release in (Debian("forky", 14), Debian("sid", None)):
        assert fetch_qemu.sources_for(release, MACHINE) == (MACHINE, None)


@pytest.mark.parametrize(
    ("text", "machine_name", "found"),
    [
        ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n', "x86_64", ("bookworm", 12)),
        ("ID=debian\nVERSION_CODENAME='forky'\n", "x86_64", ("forky", None)),
        ("ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID=12\n", "aarch64", None),
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", "x86_64", None),
        ("ID=debian\n", "x86_64", None),
        ("", "x86_64", None),
    ],
)
def test_os_release(tmp_path, text, machine_name, found):
    path = tmp_path / "os-release"
    path.write_text(text)
    assert machine.debian(path, machine_name) == (found and Debian(*found))
    assert machine.debian(tmp_path / "none", machine_name) is None


def test_default_machine_is_this_one(tmp_path, monkeypatch):
    path = tmp_path / "os-release"
    path.write_text("ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID=12\n")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine.debian(path) is None


def test_metapackage_names_release():
    fields = {"Depends": "linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), x"}
    assert fetch_kernel.release_of(fields) == "6.1.0-56-cloud-amd64"
    with pytest.raises(DownloadError, match="linux-image-cloud-amd64 depends on no kernel"):
        fetch_kernel.release_of({"Depends": "nothing"})


def test_needed_dependencies_of_headers(monkeypatch):
    depends = {
        "linux-headers-1": "linux-headers-1-common (= 1), linux-kbuild-1, linux-compiler-gcc-12",
        "linux-headers-1-common": "",
        "linux-kbuild-1": "libc6 (>= 2.34), libelf1:amd64 (>= 0.1) | libelf2, linux-headers-1",
        "libelf1": "libc6, zlib1g",
    }

    class Apt:
        def show(self, name: str) -> dict[str, str]:
            return {"Version": "1", "Depends": depends[name]}

    monkeypatch.setattr(fetch_kernel, "installed", lambda name: name == "libc6")
    found = fetch_kernel.needed(Apt(), "linux-headers-1")
    assert sorted(found) == sorted(depends)


def test_kernel_must_be_new_enough():
    fields = {"Depends": "linux-base-amd64, linux-image-6.1.0-57-amd64 (= 6.1.192-3)"}
    with pytest.raises(DownloadError, match=r"linux-image-amd64 is Linux 6.1.0.*: must be 6.12"):
        fetch_kernel.release_of(fields, fetch_kernel.FULL)
    fields = {"Depends": "linux-base-amd64 (= 7.2.13-1), linux-image-7.2.13+deb14-amd64"}
    assert fetch_kernel.release_of(fields, fetch_kernel.FULL) == "7.2.13+deb14-amd64"


def test_sources_of_full_kernel_by_release():
    backports = PackageSource("mirror:/a", ("bookworm-backports",))
    bookworm, full = Debian("bookworm", 12), fetch_kernel.FULL
    found = fetch_kernel.sources_for(bookworm, MACHINE, full)
    assert found == ([*MACHINE, backports], "bookworm-backports")
    assert fetch_kernel.sources_for(bookworm, MACHINE, fetch_kernel.CLOUD) == (MACHINE, None)
    for release in (Debian("trixie", 13), Debian("sid", None)):
        assert fetch_kernel.sources_for(release, MACHINE, full) == (MACHINE, None)


def test_empty_image_package_depends_on_kernel_and_modules():
    class Apt:
        def show(self, name: str) -> dict[str, str]:
            assert name == "linux-image-7"
            return {"Depends": "dracut | x, linux-base-7, linux-binary-7 (= 1), linux-modules-7"}

    found = fetch_kernel.image_packages(Apt(), "linux-image-7", modules=True)
    assert found == ["linux-image-7", "linux-binary-7", "linux-modules-7"]
    found = fetch_kernel.image_packages(Apt(), "linux-image-7", modules=False)
    assert found == ["linux-image-7", "linux-binary-7"]


def test_paths_of_headers_become_relative(tmp_path):
    headers = tmp_path / "linux-headers-1"
    headers.mkdir()
    makefile = headers / "Makefile"
    makefile.write_text(
        "KBUILD_OUTPUT=/usr/src/linux-headers-1\ninclude /usr/src/linux-headers-1-common/Makefile\n"
    )
    (tmp_path / "linux-headers-1-common").mkdir()
    (tmp_path / "linux-headers-1-common/Makefile").write_text("all:\n\t@echo $(KBUILD_OUTPUT)\n")
    fetch_kernel.relocate(headers)
    made = subprocess.run(["make", "-s", "-C", headers], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == str(headers)


def make_package(folder, files) -> Path:
    """A Debian package with files."""
    control = "Package: k\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    for name, text in {"DEBIAN/control": control, **files}.items():
        path = folder / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    archive = folder / "k.deb"
    command = ["dpkg-deb", "-b", folder / "package", archive]
    subprocess.run(command, check=True, capture_output=True)
    return archive


def extracted(archive, root, *, modules: bool) -> dict[str, str]:
    """What the store keeps of a package of Linux 1-x."""
    root.mkdir()
    fetch_kernel._extract_kernel(archive, root, "1-x", modules=modules)
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_text() for path in files}


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg here")


@needs_dpkg
def test_kernel_and_modules_are_extracted_from_package(tmp_path):
    archive = make_package(
        tmp_path,
        {
            "boot/vmlinuz-1-x": "kernel",
            "boot/System.map-1-x": "map",
            "lib/modules/1-x/kernel/fs/m.ko.xz": "module",
            "lib/modules/1-x/modules.builtin": "list",
            "lib/modules/1-x/modules.order": "order",
        },
    )
    kernel = {"boot/vmlinuz-1-x": "kernel"}
    assert extracted(archive, tmp_path / "image", modules=False) == kernel
    both = {**kernel, "modules/kernel/fs/m.ko.xz": "module", "modules/modules.builtin": "list"}
    assert extracted(archive, tmp_path / "both", modules=True) == both
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DownloadError, match=r"cannot extract k.deb"):
        extracted(archive, tmp_path / "broken", modules=True)


@needs_dpkg
def test_kernel_of_merged_system_is_extracted_beside_its_modules(tmp_path):
    """Debian sid: the kernel is in ``linux-binary-…``, below /usr."""
    files = {
        "usr/lib/modules/1-x/vmlinuz": "kernel",
        "usr/lib/modules/1-x/kernel/m.ko": "module",
        "usr/lib/modules/2-x/vmlinuz": "another",
    }
    found = extracted(make_package(tmp_path, files), tmp_path / "root", modules=True)
    assert found == {"boot/vmlinuz-1-x": "kernel", "modules/kernel/m.ko": "module"}


def test_prune_keeps_run_time_files(tmp_path):
    root = tmp_path / "root"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    for name in ("libz.so.1", "libunused.so"):
        libraries.mkdir(parents=True, exist_ok=True)
        (libraries / name).write_text(name)
    for name in ("usr/bin/qemu-system-x86_64", "usr/share/qemu/kvmvapic.bin", "usr/share/doc/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "usr/share/seabios").mkdir()
    (root / "usr/share/seabios/bios-256k.bin").write_text("bios")
    (root / "usr/share/qemu/bios.bin").symlink_to("../seabios/gone.bin")
    listing = f"linux-vdso.so.1 (0x1)\\nlibz.so.1 => {libraries}/libz.so.1 (0x2)"
    program(libraries, "ld-linux-x86-64.so.2", f"#!/bin/sh\nprintf '{listing}\\n'\n")
    fetch_qemu.prune(root, tmp_path / "kept")
    kept = sorted(
        str(path.relative_to(tmp_path / "kept"))
        for path in (tmp_path / "kept").rglob("*")
        if path.is_file()
    )
    assert kept == [
        "bin/qemu-system-x86_64",
        "firmware/bios-256k.bin",
        "firmware/kvmvapic.bin",
        "lib/ld-linux-x86-64.so.2",
        "lib/libz.so.1",
    ]
    program(libraries, "ld-linux-x86-64.so.2", "#!/bin/sh\necho 'libz.so.1 => not found'\n")
    with pytest.raises(DownloadError, match=r"loader of the fetched QEMU reports:\nlibz"):
        fetch_qemu.prune(root, tmp_path / "kept")
