# SPDX-License-Identifier: BSD-2-Clause
"""Callbacks that watch: one that raises stops nobody else's work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")
_LOG = logging.getLogger(__name__)
MAX_ERRORS = 16
"""Errors that an :class:`Observers` keeps."""


class Observers(list[Callable[P, object]]):
    """Callbacks, called in the order in which they were added.

    An exception of one is logged with its traceback the first time, kept, and goes no further.

    Parameters
    ----------
    what
        What they observe, for the log.

    Attributes
    ----------
    errors
        The first exception of each callback that raised, the first 16 of them.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self._what = what
        self._failed: list[Callable[P, object]] = []

    def notify(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call each of them."""
        for observer in tuple(self):
            try:
                observer(*args, **kwargs)
            except Exception as error:
                self._keep(observer, error)

    def _keep(self, observer: Callable[P, object], error: Exception) -> None:
        if observer in self._failed or len(self.errors) == MAX_ERRORS:
            return
        self._failed.append(observer)
        self.errors.append(error)
        _LOG.error("%s: an observer raised %r", self._what, error, exc_info=error)
