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


class ConfigError(DriverError):
    """The device refused a configuration access, or never stopped changing while read."""


class QueueError(DriverError):
    """A queue does not exist, or did not take its size and addresses."""
