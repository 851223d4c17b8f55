# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules: their names and dependencies, and the order in which to load them.

A module's section ``.modinfo`` has strings ``key=value``; ``depends`` lists the modules whose
symbols it uses. Sources: the ELF specification, section "Sections"; Linux's scripts/mod/modpost.c.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import GuestError

SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
SECTION = b".modinfo"
ALIASES = {"crypto_crc32c": "crc32c_generic"}
"""Modules that implement what a soft dependency names by an alias."""
ELF_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little-endian."""
ELF_HEADER = struct.Struct("<40xQ10xHHH")
"""Of the file header: offset, entry size and number of section headers, index of their names."""
SECTION_HEADER = struct.Struct("<I20xQQ24x")
"""Of a section header: name, offset, size."""


class ModuleError(GuestError):
    """A module cannot be used; the text names it and the reason."""


@dataclass(frozen=True)
class Module:
    """A kernel module.

    Attributes
    ----------
    name
        Name, with ``_`` for ``-``.
    path
        The file, which may be compressed.
    contents
        The uncompressed file.
    depends
        Names of the modules that must be loaded before.
    wanted
        Names or aliases of modules that should be loaded before if they exist.
    vermagic
        Release and options of the kernel that it is built for.
    """

    name: str
    path: Path
    contents: bytes = field(repr=False)
    depends: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    vermagic: str = ""

    @property
    def release(self) -> str:
        """Release of the kernel that it is built for."""
        return self.vermagic.partition(" ")[0]


def normalized(name: str) -> str:
    """The name of a module as Linux prints it."""
    return name.replace("-", "_")


def module_name(path: Path) -> str:
    """The name of the module in a file."""
    return normalized(path.name.partition(".ko")[0])


def is_module(path: Path) -> bool:
    """Whether the file's name is that of a module."""
    return path.name.endswith(SUFFIXES)


def read_module(path: Path) -> Module:
    """Read a module.

    Raises
    ------
    ModuleError
        The file is not a module for a 64-bit little-endian machine, or cannot be decompressed.
    """
    contents = _decompressed(path)
    facts: dict[str, list[str]] = {}
    for entry in _section(path, contents).split(b"\0"):
        key, _, value = entry.decode(errors="replace").partition("=")
        facts.setdefault(key, []).append(value)
    depends = ",".join(facts.get("depends", ())).split(",")
    wanted = (
        word
        for value in facts.get("softdep", ())
        for word in value.partition("pre:")[2].partition("post:")[0].split()
    )
    return Module(
        module_name(path),
        path,
        contents,
        tuple(normalized(name) for name in depends if name),
        tuple(map(normalized, wanted)),
        facts.get("vermagic", [""])[0].strip(),
    )


def _decompressed(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix == ".gz":
            return gzip.decompress(data)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise ModuleError(f"{path} cannot be read: {error}") from error
    if path.suffix != ".zst":
        return data
    if shutil.which("zstd") is None:
        raise ModuleError(f"{path} needs zstd: install it (Debian: apt-get install zstd)")
    outcome = subprocess.run(["zstd", "-dc", str(path)], capture_output=True)
    if outcome.returncode:
        raise ModuleError(f"{path} cannot be read: {outcome.stderr.decode(errors='replace')}")
    return outcome.stdout


def _section(path: Path, contents: bytes) -> bytes:
    try:
        if not contents.startswith(ELF_MAGIC):
            raise ValueError
        table, size, count, names_index = ELF_HEADER.unpack_from(contents)
        headers = [
            SECTION_HEADER.unpack_from(contents, table + size * index) for index in range(count)
        ]
        _, names, names_size = headers[names_index]
        for name, offset, length in headers:
            found = contents[names + name : names + names_size].partition(b"\0")[0]
            if found == SECTION:
                return contents[offset : offset + length]
    except (ValueError, IndexError, struct.error):
        pass
    raise ModuleError(f"{path} is not a kernel module for a 64-bit little-endian machine")


class ModuleIndex:
    """The modules of a kernel, by name.

    Parameters
    ----------
    folder
        Folder of the modules, with ``modules.builtin`` if it exists; ``None`` for a kernel whose
        modules are unknown.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._paths: Mapping[str, Path] = {}
        self._builtin: frozenset[str] = frozenset()
        if folder is not None:
            self._paths = {module_name(path): path for path in _files(folder)}
            listing = folder / "modules.builtin"
            if listing.exists():
                names = listing.read_text().split()
                self._builtin = frozenset(module_name(Path(name)) for name in names)

    def has(self, name: str) -> bool:
        """Whether the kernel has the module as a file."""
        return normalized(name) in self._paths

    def is_builtin(self, name: str) -> bool:
        """Whether the module is part of the kernel."""
        return normalized(name) in self._builtin

    def read(self, name: str) -> Module:
        """The module of this name; raises as :func:`read_module`."""
        return read_module(self._paths[normalized(name)])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.ko*")) if is_module(path) and path.is_file())


def load_order(modules: Iterable[Module], index: ModuleIndex) -> list[Module]:
    """``modules`` and all that they depend on, dependencies first.

    A dependency is one of ``modules``, a file of ``index``, or part of the kernel.

    Raises
    ------
    ModuleError
        A dependency is missing or circular.
    """
    own = {module.name: module for module in modules}
    ordered: list[Module] = []

    def add(module: Module, pending: Sequence[str]) -> None:
        if module in ordered:
            return
        if module.name in pending:
            raise ModuleError(f"modules depend on each other: {', '.join((*pending, module.name))}")
        for name in module.depends:
            found = own.get(name) or (index.read(name) if index.has(name) else None)
            if found is not None:
                add(found, (*pending, module.name))
            elif not index.is_builtin(name) and index.folder is not None:
                raise ModuleError(
                    f"{module.path.name} depends on module {name}: neither its folder nor "
                    f"{index.folder} has it"
                )
        for alias in module.wanted:
            name = ALIASES.get(alias, alias)
            if index.has(name):
                add(index.read(name), (*pending, module.name))
        ordered.append(module)

    for module in own.values():
        add(module, ())
    return ordered
