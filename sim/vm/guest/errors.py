# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong with the guest, apart by what the caller can do about it."""

from __future__ import annotations

DOWNLOAD_FAILED = 75
"""Exit status when something could not be fetched (``EX_TEMPFAIL``): nothing is known to be broken,
and the same command may do later."""


class GuestError(RuntimeError):
    """The guest could not be run; the text says why."""

    exit_status = 1


class DownloadError(GuestError):
    """Something could not be fetched; the text has what apt said of it."""

    exit_status = DOWNLOAD_FAILED


class UnavailableError(GuestError):
    """Something is not on this machine, nor can it be fetched here; the text says what to do."""


class ProgramError(GuestError):
    """The guest's program or module did not compile; the text has the compiler's last lines."""
