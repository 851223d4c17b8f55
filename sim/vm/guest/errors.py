# SPDX-License-Identifier: BSD-2-Clause
"""Errors of the guest, by what the caller can do about them."""

from __future__ import annotations

from ...errors import CommandFailedError

DOWNLOAD_FAILED = 75
"""Exit status when a download failed (``EX_TEMPFAIL``): the same command may succeed later."""


class GuestError(CommandFailedError):
    """The guest could not be run; the text gives the reason."""


class DownloadError(GuestError):
    """A download failed; the text has apt's messages."""

    exit_status = DOWNLOAD_FAILED


class UnavailableError(GuestError):
    """Something is missing and cannot be downloaded on this machine; the text says what to do."""


class ProgramError(GuestError):
    """The guest's program or module did not compile; the text has the compiler's last lines."""


class OptionError(GuestError):
    """An option that has no effect on this guest; the text names it and says what to add."""
