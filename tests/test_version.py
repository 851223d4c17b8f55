# SPDX-License-Identifier: BSD-2-Clause
"""The version is declared once: ``models.__version__``."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from models import __version__

ROOT = Path(__file__).parents[1]


def test_version_is_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


@pytest.mark.parametrize("package", ["hdl", "models", "sim"])
def test_command_prints_the_version(package):
    command = [sys.executable, "-m", package, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == f"{__version__}\n"


def test_pyproject_reads_the_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in declared["project"] and declared["project"]["dynamic"] == ["version"]
    assert declared["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "models.__version__"}


def test_fusesoc_core_has_the_version():
    core = (ROOT / "virtio-msg-amp.core").read_text()
    name = re.search(r"^name: ::virtio-msg-amp:(.+)$", core, re.MULTILINE)
    assert name is not None and name[1] == __version__


def test_changelog_begins_with_the_version():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None and first[1] == __version__


def test_tag_of_the_commit_is_the_version():
    command = ["git", "describe", "--tags", "--exact-match", "--match", "v[0-9]*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        pytest.skip("the commit has no tag of a release")
    assert done.stdout.strip() == f"v{__version__}"
