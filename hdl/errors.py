# SPDX-License-Identifier: BSD-2-Clause
"""Causes of errors that the endpoint reports, declared once for core, DMA window and configuration
space.

PCI Express Base 4.0 section 6.2, table 6-3.
"""

from dataclasses import dataclass

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["COMPLETION_ERRORS", "ERRORS", "REQUEST_ERRORS", "ErrorCause", "ErrorPulses"]


@dataclass(frozen=True)
class ErrorCause:
    """One cause.

    Parameters
    ----------
    name
        Name of the pulse; ``status_<name>`` is a port of the core.
    text
        The event.
    correctable, uncorrectable
        The pulse is part of ``status_error_cor``, of ``status_error_uncor``.
    """

    name: str
    text: str
    correctable: bool = False
    uncorrectable: bool = False


REQUEST_ERRORS = (
    ErrorCause(
        "unsupported_posted", "a posted request is not supported; it is dropped", uncorrectable=True
    ),
    ErrorCause(
        "unsupported_non_posted",
        "a non-posted request is completed with Unsupported Request (an advisory error)",
        correctable=True,
    ),
    ErrorCause("poisoned", "a write is poisoned; it is dropped", uncorrectable=True),
)
"""Errors in requests of the host."""

COMPLETION_ERRORS = (
    ErrorCause(
        "completion_unexpected",
        "a completion does not belong to an outstanding read (an advisory error)",
        correctable=True,
    ),
    ErrorCause("completion_unsupported", "a read is completed with Unsupported Request"),
    ErrorCause("completion_aborted", "a read is completed with Completer Abort"),
    ErrorCause("completion_poisoned", "a completion is poisoned", uncorrectable=True),
    ErrorCause("completion_timeout", "a read is not completed in time", uncorrectable=True),
)
"""Errors in completions of the reads of the DMA window."""

ERRORS = (*REQUEST_ERRORS, *COMPLETION_ERRORS)
"""All errors."""


class ErrorPulses(wiring.Signature):
    """A one-cycle pulse for each cause.

    Parameters
    ----------
    causes : tuple of ErrorCause
        Members, each ``Out(1)``.
    """

    def __init__(self, causes: tuple[ErrorCause, ...] = ERRORS):
        super().__init__({cause.name: Out(1) for cause in causes})
