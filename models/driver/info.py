# SPDX-License-Identifier: BSD-2-Clause
"""Contents of the DEVICE_INFO and GET_VQUEUE responses."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ..messages import Message
from .rings import Ring


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """Contents of DEVICE_INFO.

    ``num_feature_bits`` is a multiple of 32 if the revision counts blocks. ``uuid`` is None for a
    device without one and in revisions without the field.
    """

    device_id: int
    vendor_id: int
    num_feature_bits: int
    config_size: int
    max_vqs: int
    admin_vq_idx: int
    admin_vq_count: int
    uuid: UUID | None = None

    @classmethod
    def from_message(cls, response: Message) -> DeviceInfo:
        """Decode a DEVICE_INFO response."""
        numbers = {
            name: response.number(name)
            for name in cls.__dataclass_fields__
            if response.layout.has(name)
        }
        if response.layout.has("num_feature_blocks"):
            numbers["num_feature_bits"] = 32 * response.number("num_feature_blocks")
        uuid = UUID(bytes=response.device_uuid) if response.layout.has("device_uuid") else None
        return cls(**numbers, uuid=uuid if uuid and uuid.int else None)


@dataclass(frozen=True, kw_only=True)
class QueueInfo:
    """Contents of GET_VQUEUE. A queue that does not exist has ``max_size`` 0.

    ``enabled`` is None if the revision does not report it.
    """

    max_size: int
    ring: Ring
    enabled: bool | None = None
