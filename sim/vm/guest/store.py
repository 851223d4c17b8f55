# SPDX-License-Identifier: BSD-2-Clause
"""What was fetched, kept between runs: a folder is there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DownloadError, GuestError

MARKER = "complete.json"
PARTIAL = "partial-"


class Store:
    """Folders by name, each with the facts that its maker noted.

    Parameters
    ----------
    root
        Where they lie.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; what one that died left half done goes.

        Raises
        ------
        GuestError
            Nothing can be kept there.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock_file = open(self.root / "lock", "w")  # noqa: SIM115
        except OSError as error:
            raise GuestError(f"nothing can be kept in {self.root}: {error.strerror}") from error
        with lock_file as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self.root.glob(f"{PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def facts(self, name: str, recipe: int) -> dict[str, Any] | None:
        """What is known of folder ``name``; None if it is not there or made by another recipe."""
        try:
            facts = json.loads((self.root / name / MARKER).read_text())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) and facts.get("recipe") == recipe else None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder beside the others, gone afterwards.

        Raises
        ------
        DownloadError
            There is no room, or what is to be put there is not as it should be.
        """
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.root))
        try:
            yield folder
        except OSError as error:
            raise DownloadError(f"cannot fill {self.root}: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, name: str, recipe: int, facts: dict[str, Any]) -> None:
        """Make ``folder``, which lies in the store's scratch, the one called ``name``."""
        (folder / MARKER).write_text(json.dumps({**facts, "recipe": recipe}, indent=2) + "\n")
        shutil.rmtree(self.root / name, ignore_errors=True)
        folder.rename(self.root / name)
