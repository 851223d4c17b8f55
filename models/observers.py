# SPDX-License-Identifier: BSD-2-Clause
"""Observer callbacks whose exceptions do not reach the caller."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")
_LOG = logging.getLogger(__name__)
MAX_ERRORS = 16
"""Errors that an :class:`Observers` keeps."""


class Observers(list[Callable[P, object]]):
    """List of callbacks, called in the order in which they were added.

    Exceptions of a callback do not propagate. The first one is logged with its traceback and kept.

    Parameters
    ----------
    subject
        Subject of the observations, for the log.

    Attributes
    ----------
    errors
        First exception of each callback that raised, at most :data:`MAX_ERRORS`.
    """

    def __init__(self, subject: str) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self._subject = subject
        self._failed: list[Callable[P, object]] = []

    def notify(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every callback."""
        for observer in tuple(self):
            try:
                observer(*args, **kwargs)
            except Exception as error:
                self._record(observer, error)

    def _record(self, observer: Callable[P, object], error: Exception) -> None:
        if observer in self._failed or len(self.errors) == MAX_ERRORS:
            return
        self._failed.append(observer)
        self.errors.append(error)
        _LOG.error("%s: an observer raised %r", self._subject, error, exc_info=error)
