# SPDX-License-Identifier: BSD-2-Clause
"""Store of downloads between runs; a folder in it is always complete."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DownloadError, GuestError

MARKER = "complete.json"
PARTIAL = "partial-"


class Store:
    """Folders by name, each with a file of facts.

    Parameters
    ----------
    root
        Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other processes; removes incomplete folders of a process that died.

        Raises
        ------
        GuestError
            The store cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock_file = open(self.root / "lock", "w")  # noqa: SIM115
        except OSError as error:
            raise GuestError(f"cannot write to {self.root}: {error.strerror}") from error
        with lock_file as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for partial in self.root.glob(f"{PARTIAL}*"):
                shutil.rmtree(partial, ignore_errors=True)
            yield

    def facts(self, name: str, recipe: int) -> dict[str, Any] | None:
        """Facts of folder ``name``; ``None`` if it is missing or made by another recipe."""
        try:
            facts = json.loads((self.root / name / MARKER).read_text())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) and facts.get("recipe") == recipe else None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's file system, removed at the end of the context.

        Raises
        ------
        DownloadError
            A file operation in the context failed, for example because the disk is full.
        """
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.root))
        try:
            yield folder
        except OSError as error:
            raise DownloadError(f"cannot fill {self.root}: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, name: str, recipe: int, facts: dict[str, Any]) -> None:
        """Move ``folder`` from the scratch folder into the store as ``name``."""
        (folder / MARKER).write_text(json.dumps({**facts, "recipe": recipe}, indent=2) + "\n")
        shutil.rmtree(self.root / name, ignore_errors=True)
        folder.rename(self.root / name)
