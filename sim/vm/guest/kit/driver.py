# SPDX-License-Identifier: BSD-2-Clause
"""The driver of a directory: builds its modules, or takes those that are there.

The tree is copied, so that nothing is written to the user's directory. Messages of the compiler
name the files of the original.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from .kernel import GuestKernel
from .modules import Module, ModuleError, is_module, read_module

MAKEFILES = ("Kbuild", "Makefile")
KBUILD_PATTERN = re.compile(r"^\s*(?:obj-(?:[ym]|\$\()|subdir-)", re.MULTILINE)
"""Lines by which kbuild finds the objects of a folder."""
FOLDER_VARIABLES = ("KDIR", "KERNELDIR", "KERNEL_DIR", "KERNEL_SRC", "KSRC", "KBUILD_DIR")
"""Names that makefiles of out-of-tree modules use for the kernel's folder."""
IGNORED = shutil.ignore_patterns(
    *(".git", "*.o", "*.ko", "*.mod", "*.mod.c", "*.cmd", ".tmp_versions", "Module.symvers"),
    *("modules.order",),
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*=.*")
"""An assignment on make's command line."""


class DriverError(ModuleError):
    """The driver cannot be built; the text has the compiler's messages."""


def find_driver(
    source: Path, kernel: GuestKernel, folder: Path, variables: Sequence[str] = ()
) -> list[Module]:
    """The modules of ``source``, built if it has a Kbuild or a Makefile.

    Parameters
    ----------
    source
        The user's directory.
    kernel
        The kernel to build for.
    folder
        Folder for the copy of the tree and ``driver.log``.
    variables
        Assignments for make's command line, such as ``CONFIG_VIRTIO_MSG=m``.

    Raises
    ------
    DriverError
        There is nothing to build, or the build failed.
    ModuleError
        A module is not one, or is for another kernel.
    """
    if not source.is_dir():
        raise DriverError(f"DRIVER is {source}: there is no such directory")
    for variable in variables:
        if VARIABLE.fullmatch(variable) is None:
            raise DriverError(f"make variable is {variable!r}: must be NAME=VALUE")
    if any((source / name).is_file() for name in MAKEFILES):
        tree = folder / "driver"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(source, tree, ignore=IGNORED, symlinks=False)
        _build(source, tree, kernel, folder / "driver.log", variables)
    else:
        tree = source
    modules = [read_module(path) for path in sorted(tree.rglob("*.ko*")) if is_module(path)]
    if not modules:
        raise DriverError(_nothing_built(source, tree))
    for module in modules:
        if kernel.release is not None and module.release != kernel.release:
            raise ModuleError(
                f"{module.path} is built for Linux {module.release}: must be {kernel.release}, "
                "the kernel that boots; KERNEL= selects another"
            )
    return modules


def _macros(variables: Sequence[str]) -> Iterator[str]:
    """Compiler options for the kernel's options in ``variables``, as its own header has them."""
    for variable in variables:
        name, _, value = variable.partition("=")
        if name.startswith("CONFIG_") and value in ("y", "m"):
            yield f"-D{name}{'_MODULE' if value == 'm' else ''}=1"


def _nothing_built(source: Path, tree: Path) -> str:
    """Why a tree has no module."""
    if tree == source:
        return f"DRIVER is {source}: has no Kbuild, no Makefile and no module (*.ko)"
    text = f"the build of {source} made no module: obj-m in its Kbuild or Makefile names modules"
    options: set[str] = set()
    for path in tree.rglob("*"):
        if path.name in MAKEFILES:
            options |= set(re.findall(r"obj-\$\((CONFIG_\w+)\)", path.read_text(errors="replace")))
    if options:
        example = " ".join(f"--make {name}=m" for name in sorted(options))
        text += f'. It depends on options of the kernel, which ARGS="{example}" sets'
    return text


def _build(
    source: Path, tree: Path, kernel: GuestKernel, log: Path, variables: Sequence[str]
) -> None:
    if kernel.headers is None:
        raise DriverError(
            f"DRIVER is {source}: has sources, and the headers of {kernel.image} are not known; "
            "--headers names the folder of its build"
        )
    for name, package in (("make", "make"), (kernel.compiler, "gcc")):
        if shutil.which(name) is None:
            raise DriverError(
                f"{name} is not on this machine: install it (Debian: apt-get install {package})"
            )
    path = os.pathsep.join(
        part for part in (str(kernel.libraries or ""), os.environ.get("LD_LIBRARY_PATH")) if part
    )
    # pahole, which BTF needs, is not among the headers' programs.
    common = [f"CC={kernel.compiler}", "CONFIG_DEBUG_INFO_BTF_MODULES=", *variables]
    if macros := " ".join(_macros(variables)):
        common.append(f"KCPPFLAGS={macros}")
    texts = [
        (tree / name).read_text(errors="replace") for name in MAKEFILES if (tree / name).is_file()
    ]
    if (tree / "Kbuild").is_file() or any(map(KBUILD_PATTERN.search, texts)):
        command = ["make", "-C", str(kernel.headers), f"M={tree.absolute()}", *common, "modules"]
    else:
        folders = [f"{name}={kernel.headers}" for name in FOLDER_VARIABLES]
        command = ["make", "-C", str(tree), *folders, *common]
    outcome = subprocess.run(
        [command[0], f"-j{os.cpu_count() or 1}", *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # The flags of an outer make must not reach this one.
        env={**os.environ, "LD_LIBRARY_PATH": path, "MAKEFLAGS": "", "MFLAGS": "", "LC_ALL": "C"},
    )
    output = outcome.stdout.replace(str(tree.absolute()), str(source))
    log.write_text(output)
    if outcome.returncode:
        text = f"the build of {source} failed, log {log}\n{output.strip()}"
        if kernel.compiler_note:
            text += f"\n{kernel.compiler_note}"
        raise DriverError(text)
