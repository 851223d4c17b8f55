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
from sim.vm.guest.options import GuestOptions
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
        command.run_guest(
            BuildConfiguration(), options=GuestOptions(devices=[f"blk={folders}/image"])
        )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--device", "rng"], "--device is for a driver or a guest of your own"),
        (["--gdb"], "--gdb is for a driver or a guest"),
        (["--wait"], "--wait is for a driver or a guest"),
        (["--revision", "r1"], "--revision r1 is for a driver or a guest"),
        (["--keep"], "--keep is for a driver of your own: add DRIVER="),
        (["--soak"], "--soak is for a driver of your own"),
        (["--long"], "--long is for a driver of your own"),
        (["--only", "entropy"], "--only is for a driver of your own"),
        (["--make", "A=1"], "--make is for a driver of your own"),
        (["--headers", "x"], "--headers is for a driver of your own"),
        (["--modules", "x"], "--modules is for a driver of your own"),
        (["--smp", "0"], "--smp is 0: must be 1 or more"),
        (["--memory", "0"], "--memory is 0: must be 1 or more"),
        (["--soak", "-1", "--driver", "x"], "--soak is -1: must be 0 or more"),
    ],
)
def test_option_without_effect_is_refused(arguments, text, monkeypatch, capsys):
    monkeypatch.setattr(
        fetch_qemu, "find", lambda *arguments: pytest.fail("a download was started")
    )
    assert main(["guest", *arguments]) == 1
    assert text in capsys.readouterr().err


def test_kit_report_is_written(folders, monkeypatch):
    """The command passes its options to the kit, and writes the kit's report."""
    made = []

    def run_kit(configuration, qemu, store, kit, options, **rest):
        made.append((kit, options, rest))
        return {"ok": False, "problems": ["console: no"], "battery": []}

    monkeypatch.setattr(fetch_qemu, "find", lambda *arguments: Qemu(("qemu",), "fake"))
    monkeypatch.setattr(command, "run_kit", run_kit)
    arguments = ["--driver", "d", "--revision", "r1", "--smp", "2", "--qemu-args", "-d 'a b'"]
    assert main(["guest", *arguments, "--only", "entropy", "--soak"]) == 1
    kit, options, _ = made[0]
    assert str(kit.driver) == "d" and kit.tests == ["entropy"] and kit.soak_s == 3600
    assert options.revision == "r1" and options.processors == 2
    assert options.qemu_arguments == ["-d", "a b"]
    report = json.loads((folders / "build/guest/report.json").read_text())
    assert report["problems"] == ["console: no"] and report["qemu"] == "fake"
