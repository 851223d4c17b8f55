# SPDX-License-Identifier: BSD-2-Clause
"""The base of errors that end a command."""

from __future__ import annotations


class CommandFailedError(RuntimeError):
    """Ends a command: its text is printed, without a traceback.

    Attributes
    ----------
    exit_status
        Exit status of the command.
    """

    exit_status = 1
