# SPDX-License-Identifier: BSD-2-Clause
"""Errors of a driver."""

from __future__ import annotations


class DriverError(Exception):
    """An operation of the driver failed."""


class RequestTimeoutError(DriverError):
    """There was no response in time; the text names message, device and time."""


class DriverStoppedError(DriverError):
    """The driver is not running, or stopped while the request was pending."""


class ProtocolError(DriverError):
    """The device sent a response that the protocol does not allow."""


class NoDeviceError(DriverError):
    """There is no device with this number."""


class FeaturesRefusedError(DriverError):
    """The device did not keep FEATURES_OK, or does not offer VERSION_1."""


class StatusError(DriverError):
    """The device's status lacks DRIVER_OK."""


class ConfigError(DriverError):
    """A configuration access is invalid, was refused, or found changing contents each time."""


class QueueError(DriverError):
    """A queue does not exist, is in the wrong state for a step, or did not accept its ring."""
