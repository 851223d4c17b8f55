# SPDX-License-Identifier: BSD-2-Clause
"""The command's exit status and report when no guest is booted."""

from __future__ import annotations

import json

import pytest

from sim.__main__ import main
from sim.build import BuildConfiguration
from sim.vm.guest import command
from sim.vm.guest.errors import DOWNLOAD_FAILED, DownloadError, UnavailableError
from sim.vm.guest.fetch import qemu as fetch_qemu
from sim.vm.guest.fetch.qemu import Qemu
from sim.vm.serve.devices import DeviceError


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "BUILD_ROOT", tmp_path / "build")
    monkeypatch.setattr(command, "STORE", tmp_path / "store")
    return tmp_path


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DownloadError("apt-get failed\nE: [404]"), DOWNLOAD_FAILED),
        (UnavailableError("this machine is not Debian"), 1),
    ],
)
def test_failure_before_boot_is_reported(error, status, folders, monkeypatch, capsys):
    def find(*arguments):
        raise error

    monkeypatch.setattr(fetch_qemu, "find", find)
    assert command.run_guest(BuildConfiguration(), seed=3) == status
    report = json.loads((folders / "build/guest/report.json").read_text())
    assert report == {
        "ok": False,
        "download_failed": status == DOWNLOAD_FAILED,
        "problems": [str(error)],
        "seed": 3,
    }
    assert f"The guest was not run: {error}" in capsys.readouterr().out


def test_keyboard_interrupt_gives_exit_status(monkeypatch):
    def find(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_qemu, "find", find)
    assert main(["guest", "--seed", "3"]) == 130


@pytest.mark.parametrize("name", ["kernel", "initrd"])
def test_missing_file_is_reported(name, folders, monkeypatch, capsys):
    monkeypatch.setattr(fetch_qemu, "find", lambda *arguments: Qemu(("qemu",), "fake"))
    (folders / "there").touch()
    files = {"kernel": folders / "there", "initrd": folders / "there", name: folders / "gone"}
    assert command.run_guest(BuildConfiguration(), seed=3, **files) == 1
    assert f"{name.upper()} is {folders}/gone: there is no such file" in capsys.readouterr().out


def test_invalid_device_is_refused_before_download(folders, monkeypatch):
    monkeypatch.setattr(
        fetch_qemu, "find", lambda *arguments: pytest.fail("a download was started")
    )
    (folders / "image").touch()
    with pytest.raises(DeviceError, match="has 0 bytes"):
        command.run_guest(BuildConfiguration(), devices=[f"blk={folders}/image"])
