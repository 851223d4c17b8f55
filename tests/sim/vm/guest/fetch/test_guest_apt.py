# SPDX-License-Identifier: BSD-2-Clause
"""The private apt: configuration, parsed output and failures."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from guest_fakes import program

from sim.vm.guest.errors import DOWNLOAD_FAILED, DownloadError
from sim.vm.guest.fetch import apt
from sim.vm.guest.fetch.apt import Archive, PackageSource, PrivateApt, mirrors

SOURCES = [
    PackageSource("mirror:/x", ("trixie", "trixie-backports")),
    PackageSource("mirror:/y", ("security",)),
]
TARGETS = """mirror:/a/ bookworm main
mirror:/a/ bookworm contrib
mirror:/a/ bookworm-updates main
mirror:/a/ bookworm main
mirror:/docker/ bookworm stable
mirror:/s/ bookworm-security main
mirror:/node/ nodistro main
"""
URIS = """'mirror:/x/pool/a_1.deb' a_1.deb 1200 SHA256:00
'mirror:/x/pool/b_2%3a.deb' b_2%3a.deb 34 SHA256:11
NOTE: nothing
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH with only the test's programs and the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


def answering(folder, text, name="apt-get"):
    return program(folder, name, f"#!/bin/sh\ncat <<'END'\n{text}END\n")


def test_mirrors_of_machine(path):
    answering(path, TARGETS)
    assert mirrors("bookworm") == [
        PackageSource("mirror:/a/", ("bookworm", "bookworm-updates")),
        PackageSource("mirror:/s/", ("bookworm-security",)),
    ]
    with pytest.raises(DownloadError, match="no source of Debian trixie, main"):
        mirrors("trixie")


def test_configuration_is_private(tmp_path):
    PrivateApt(tmp_path, SOURCES, release="trixie-backports")
    text = (tmp_path / "apt.conf").read_text()
    for name in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert f'{name} "{tmp_path}/' in text
    assert 'APT::Default-Release "trixie-backports";' in text
    assert 'APT::Get::Download-Only "true";' in text
    assert "#clear APT::Update::Post-Invoke-Success;" in text
    assert (tmp_path / "status").read_bytes() == b""
    own = (tmp_path / "own.sources").read_text()
    assert "URIs: mirror:/x\nSuites: trixie trixie-backports\nComponents: main\n" in own
    assert own.count(f"Signed-By: {apt.KEYRING}") == 2 and "rusted" not in own


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="no apt here")
def test_apt_accepts_configuration(tmp_path):
    PrivateApt(tmp_path, SOURCES)
    command = ["apt-config", "-c", str(tmp_path / "apt.conf"), "dump"]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f'Dir::State "{tmp_path}/state";' in dump
    assert f'Dir::Cache::archives "{tmp_path}/archives";' in dump
    assert "Post-Invoke::" not in dump and "Post-Invoke-Success::" not in dump
    assert dump.count("APT::Architectures::") == 1


def test_archives_to_download(tmp_path, path):
    own = PrivateApt(tmp_path / "apt", SOURCES)
    answering(path, URIS)
    expected = [Archive("a_1.deb", 1200), Archive("b_2%3a.deb", 34)]
    assert own.closure(["a"]) == expected and own.only(["a"]) == expected


def test_package_fields(tmp_path, path):
    own = PrivateApt(tmp_path / "apt", SOURCES)
    answering(path, "Package: a\nVersion: 1:2\nDepends: b, c (>= 1)\n more\n", "apt-cache")
    assert own.show("a") == {"Package": "a", "Version": "1:2", "Depends": "b, c (>= 1)"}
    answering(path, "\n", "apt-cache")
    with pytest.raises(DownloadError, match="no source has a package a"):
        own.show("a")


def test_error_has_apts_message(tmp_path, path):
    own = PrivateApt(tmp_path / "apt", SOURCES)
    program(path, "apt-get", "#!/bin/sh\necho 'E: Could not resolve mirror' >&2\nexit 100\n")
    for call in (own.closure, own.only, own.download_only, own.download_closure):
        with pytest.raises(DownloadError, match="apt-get failed\nE: Could not resolve") as caught:
            call(["a"])
    assert caught.value.exit_status == DOWNLOAD_FAILED == 75


def test_missing_apt_and_timeout_raise_errors(tmp_path, path, monkeypatch):
    own = PrivateApt(tmp_path / "apt", SOURCES)
    monkeypatch.setattr(apt, "KEYRING", tmp_path)
    monkeypatch.setenv("PATH", str(path))
    with pytest.raises(DownloadError, match="apt-get is not on this machine"):
        own.update()
    monkeypatch.setenv("PATH", f"{path}:/bin")
    monkeypatch.setattr(apt, "TIMEOUT_S", 0.05)
    program(path, "apt-get", "#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(DownloadError, match=r"apt-get did not end within 0.05 s"):
        own.update()


def test_missing_keyring_raises_error(tmp_path, monkeypatch):
    own = PrivateApt(tmp_path, SOURCES)
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(DownloadError, match=r"none.gpg is missing"):
        own.update()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg here")
def test_broken_archive_is_reported(tmp_path):
    (tmp_path / "a.deb").write_bytes(b"!<arch>\nno")
    with pytest.raises(DownloadError, match=r"cannot extract a.deb: dpkg-deb: error"):
        apt.unpack(tmp_path / "a.deb", tmp_path / "root")
