# SPDX-License-Identifier: BSD-2-Clause
"""PEP 517 build backend that builds editable installs only: the project is used from a checkout.

A wheel would install `hdl`, `models`, `sim` and the other folders as top-level packages, whose
names collide with those of other projects. Below a package of their own they would have two import
names, one in a checkout and one in an environment.
"""

from typing import Any, NoReturn

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

MESSAGE = (
    "virtio-msg-amp is used from a checkout and builds no wheel or sdist: run make in the "
    "checkout, or install it editable with pip install -c constraints.txt -e ."
)


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the editable wheel with setuptools. Returns its file name."""
    # Imported late: the other hooks work without setuptools.
    from setuptools import build_meta

    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def _refuse() -> NoReturn:
    raise SystemExit(MESSAGE)


# pip calls the hooks for requirements first, before it downloads any dependency.
def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> NoReturn:
    """Exit with a message that says how to use the project."""
    _refuse()


def get_requires_for_build_sdist(config_settings: dict[str, Any] | None = None) -> NoReturn:
    """Exit with the same message."""
    _refuse()


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> NoReturn:
    """Exit with the same message."""
    _refuse()


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> NoReturn:
    """Exit with the same message."""
    _refuse()
