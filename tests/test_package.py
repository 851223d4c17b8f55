# SPDX-License-Identifier: BSD-2-Clause
"""The dependencies: ranges in pyproject.toml, pins in constraints.txt."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
