# SPDX-License-Identifier: BSD-2-Clause
"""The project is used from a checkout: no wheel, no sdist, pinned dependencies."""

import subprocess
import sys
import tomllib
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import checkout_only

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()


def requirements_by_name(lines):
    """Requirements by normalized name. No name may occur with two specifiers."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert found.setdefault(name, requirement) == requirement
    return found


def constraints():
    """The requirement lines of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def run_pip(*arguments):
    # Without build isolation pip needs no network.
    command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--no-build-isolation"]
    return subprocess.run([*command, str(ROOT)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "command", [("wheel", "--wheel-dir"), ("install", "--target")], ids=["wheel", "install"]
)
def test_pip_builds_no_wheel_and_says_why(command, tmp_path):
    outcome = run_pip(*command, str(tmp_path))
    assert outcome.returncode == 1
    assert checkout_only.MESSAGE in outcome.stdout + outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_build_hook_exits_with_message(kind, tmp_path):
    requirements = getattr(checkout_only, f"get_requires_for_build_{kind}")
    build = getattr(checkout_only, f"build_{kind}")
    for hook, arguments in ((requirements, ()), (build, (str(tmp_path),))):
        with pytest.raises(SystemExit) as error:
            hook(*arguments)
        assert error.value.code == checkout_only.MESSAGE
    assert list(tmp_path.iterdir()) == []


def test_setuptools_builds_editable_wheel(monkeypatch):
    setuptools = mock.Mock()
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    name = checkout_only.build_editable("wheels", {"key": "value"}, "metadata")
    setuptools.build_meta.build_editable.assert_called_once_with(
        "wheels", {"key": "value"}, "metadata"
    )
    assert name is setuptools.build_meta.build_editable.return_value


def test_description_says_used_from_a_checkout():
    assert "used from a checkout, installs nothing" in PROJECT["description"]


def test_each_dependency_has_one_pin_within_its_range():
    required = requirements_by_name(
        [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in extra)]
    )
    pins = requirements_by_name(constraints())
    assert len(constraints()) == len(pins)
    assert set(pins) == set(required)
    for name, pin in pins.items():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert required[name].specifier.contains(specifier.version)


def test_each_dependency_of_the_library_has_a_range():
    assert all(Requirement(line).specifier for line in PROJECT["dependencies"])
    assert "==" not in "".join(PROJECT["dependencies"])


def test_makefile_installs_within_the_constraints():
    lines = (ROOT / "Makefile").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 1
    assert installs[0].endswith(" -c constraints.txt")
