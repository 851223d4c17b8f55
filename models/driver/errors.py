# SPDX-License-Identifier: BSD-2-Clause
"""How a driver's request can fail."""

from __future__ import annotations


class DriverError(Exception):
    """Something that the driver asked for did not happen."""


class RequestTimeoutError(DriverError):
    """No answer in time; the text names message, device and time."""


class DriverStoppedError(DriverError):
    """The driver is not running, or stopped while the request was under way."""


class ProtocolError(DriverError):
    """The device answered something that the protocol does not allow."""


class NoDeviceError(DriverError):
    """There is no device of this number."""


class FeaturesRefusedError(DriverError):
    """The device did not keep FEATURES_OK, or does not offer VERSION_1."""


class StatusError(DriverError):
    """The device's status lacks DRIVER_OK."""


class ConfigError(DriverError):
    """A configuration access that cannot be, was refused, or never found the bytes at rest."""


class QueueError(DriverError):
    """A queue does not exist, is not in the state that a step needs, or did not take its ring."""
