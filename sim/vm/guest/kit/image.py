# SPDX-License-Identifier: BSD-2-Clause
"""The kit's initramfs: busybox, the tools of ext4, the modules in load order, agent and tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.shell import shell_of
from models.virtio import DeviceId

from ....build import BuildConfiguration
from ....workload import OWN_IP, PEER_IP
from .. import initramfs
from ..fetch.userland import Userland
from ..initramfs import Entry
from .modules import Module

FILES = Path(__file__).parent / "files"
SCRIPTS = ("agent", "library", "tests")
FOLDERS = ("bin", "sbin", "dev", "proc", "sys", "tmp", "kit", "kit/modules", "lib", "lib64")
LOADER_FOLDER = "lib64"
"""Folder of the loader's path in programs."""
LIBRARY_FOLDER = "lib"
"""Folder in which the loader searches for libraries."""
PING_S = 20
"""Time limit of a ping, in seconds: the gateware is simulated."""
BASE_LIST, DRIVER_LIST = "base", "driver"
"""Lists of modules: those of the kernel, and the driver's."""


def facts(configuration: BuildConfiguration) -> str:
    """The constants of the tests, as shell variables."""
    shell = shell_of(configuration.shell)
    values = {
        "VENDOR_ID": f"{shell.vendor_id:#06x}",
        "DEVICE_ID": f"{shell.device_id:#06x}",
        "ID_NETWORK": DeviceId.NET.value,
        "ID_BLOCK": DeviceId.BLOCK.value,
        "ID_ENTROPY": DeviceId.ENTROPY.value,
        "OWN_IP": ".".join(map(str, OWN_IP)),
        "PEER_IP": ".".join(map(str, PEER_IP)),
        "PING_S": PING_S,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def entries(
    configuration: BuildConfiguration,
    userland: Userland,
    base: Sequence[Module],
    driver: Sequence[Module],
) -> Iterator[Entry]:
    """The entries of the archive.

    Parameters
    ----------
    configuration
        The build of the endpoint.
    userland
        Programs.
    base, driver
        Modules of the kernel and of the driver, each in load order.
    """
    yield from map(initramfs.folder, FOLDERS)
    yield initramfs.console()
    yield initramfs.file("init", (FILES / "init").read_bytes(), executable=True)
    yield initramfs.file("bin/busybox", userland.busybox.read_bytes(), executable=True)
    for tool in userland.tools:
        yield initramfs.file(f"sbin/{tool.name}", tool.read_bytes(), executable=True)
    for library in userland.libraries:
        yield initramfs.file(f"{LIBRARY_FOLDER}/{library.name}", library.read_bytes())
    loader = userland.loader
    yield initramfs.file(f"{LOADER_FOLDER}/{loader.name}", loader.read_bytes(), executable=True)
    for script in SCRIPTS:
        yield initramfs.file(f"kit/{script}", (FILES / script).read_bytes())
    yield initramfs.file("kit/facts", facts(configuration).encode())
    for name, modules in ((BASE_LIST, base), (DRIVER_LIST, driver)):
        files = [f"{module.name}.ko" for module in modules]
        yield initramfs.file(f"kit/modules/{name}", "".join(f"{file}\n" for file in files).encode())
        for module, file in zip(modules, files, strict=True):
            yield initramfs.file(f"kit/modules/{file}", module.contents)


def archive(
    configuration: BuildConfiguration,
    userland: Userland,
    base: Sequence[Module],
    driver: Sequence[Module],
    *,
    under: bytes = b"",
) -> bytes:
    """The bytes of the initramfs; ``under`` is an archive that is unpacked before it."""
    own = initramfs.archive(entries(configuration, userland, base, driver))
    return under + bytes(-len(under) % initramfs.ALIGNMENT) + own
