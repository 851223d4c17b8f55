# SPDX-License-Identifier: BSD-2-Clause
"""Settings of a function, derived from its configuration writes and their completions.

A configuration write may take effect from its acceptance on, and is in effect from its completion
on (PCI Express Base 4.0 sections 2.2.2, 7.5.3.4). In between the function may use either value;
after the completion, every packet of the function must obey the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from models import config_space as space
from models.config_space import ConfigField

from .codec import MEMORY_READS, CplStatus, Tlp
from .rules import Outstanding, Violation

SUPPORTED_STATES = (space.POWER_D0, space.POWER_D3HOT)
"""Power states of every function; writes of other states are ignored."""


@dataclass
class Setting:
    """A limit; larger values allow more.

    Parameters
    ----------
    value
        Value in effect.
    written
        Values of writes without a completion, by the key of the write.
    """

    value: int
    written: dict[Hashable, int] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """Largest value that the function may use: of the value in effect and the written ones."""
        return max(self.value, *self.written.values()) if self.written else self.value

    def write(self, key: Hashable, value: int) -> None:
        """Record that write ``key`` writes ``value``."""
        self.written[key] = value

    def set(self, value: int) -> None:
        """Set ``value`` with immediate effect."""
        self.value = value
        self.written.clear()


class Settings:
    """Settings of one function, learned from configuration writes or from a hard block's pins.

    Parameters
    ----------
    max_payload_size, max_read_request_size
        Bytes.
    extended_tags
        Extended Tag Field Enable.
    bus_master
        Whether the function may send requests; ``None`` to learn it from configuration writes.
    device_control, power_control
        Offsets of Device Control and of Power Management Control/Status in configuration space;
        ``None`` to ignore the register.

    Attributes
    ----------
    max_payload_size, max_read_request_size, extended_tags
        Each a :class:`Setting`.
    on_function_reset
        Called when a function-level reset completes.
    """

    def __init__(
        self,
        *,
        max_payload_size: int,
        max_read_request_size: int,
        extended_tags: bool,
        bus_master: bool | None,
        device_control: int | None,
        power_control: int | None,
    ) -> None:
        self._initial = (max_payload_size, max_read_request_size, extended_tags, bus_master)
        self._learns_bus_master = bus_master is None
        self._device_control = device_control
        self._power_control = power_control
        self.on_function_reset: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Return to the initial settings."""
        payload, read_request, extended_tags, bus_master = self._initial
        self.max_payload_size = Setting(payload)
        self.max_read_request_size = Setting(read_request)
        self.extended_tags = Setting(extended_tags)
        self._bus_master = Setting(bool(bus_master))
        # Unknown before the Command register is written: do not check until then.
        self._memory_space = Setting(True)
        self._in_d0 = Setting(True)
        self._function_reset = Setting(False)

    @property
    def bus_master(self) -> bool:
        """Whether the function may send requests."""
        return bool(self._bus_master.limit and self._in_d0.limit)

    @property
    def memory_space(self) -> bool:
        """Whether the function may complete memory requests successfully."""
        return bool(self._memory_space.limit and self._in_d0.limit)

    def request_rules(self, tlp: Tlp) -> Iterator[Violation]:
        """Rules of a request of the function: Bus Master Enable must be set."""
        if not self.bus_master:
            yield Violation("bus-master", "7.5.1.1.3", "Bus Master Enable is not set", tlp)

    def completion_rules(self, tlp: Tlp, pending: Outstanding) -> Iterator[Violation]:
        """Rules of a completion: a successful memory read requires Memory Space Enable.

        It must be possible both when the request arrives and when the completion is sent.
        """
        successful_read = pending.request.kind in MEMORY_READS and tlp.status == CplStatus.SC
        if successful_read and not (self.memory_space and pending.memory_space):
            yield Violation("memory-space", "7.5.1.1.3", "Memory Space Enable is not set", tlp)

    def written(self, request: Tlp, key: Hashable) -> None:
        """Record an accepted configuration write; :meth:`completed` with ``key`` ends it."""
        register = request.address & 0xFFC
        data = int.from_bytes(request.payload[:4], "little")
        if register == space.COMMAND and request.first_be & 1:
            self._memory_space.write(key, space.MEMORY_SPACE_ENABLE.of(data))
            if self._learns_bus_master:
                self._bus_master.write(key, space.BUS_MASTER_ENABLE.of(data))
        if register == self._power_control and request.first_be & 1 and self._learns_bus_master:
            state = ConfigField(register, 0, space.POWER_STATE.width).of(data)
            if state in SUPPORTED_STATES:
                self._in_d0.write(key, state == space.POWER_D0)
        if register == self._device_control:
            self._write_device_control(data, request.first_be, key)

    def completed(self, key: Hashable, status: int) -> None:
        """Complete the write ``key``; if successful, its values are in effect."""
        resets = self._function_reset.written.pop(key, 0)
        for setting in self._all():
            value = setting.written.pop(key, None)
            if value is not None and status == CplStatus.SC:
                setting.value = value
        if resets and status == CplStatus.SC:
            # FLR does not change Max_Payload_Size (section 6.6.2).
            _, read_request, extended_tags, _ = self._initial
            self.max_read_request_size.set(read_request)
            self.extended_tags.set(extended_tags)
            self._memory_space.set(False)
            self._in_d0.set(True)
            if self._learns_bus_master:
                self._bus_master.set(False)
            self.on_function_reset()

    def pins_changed(self, pins: dict[str, int], key: Hashable) -> None:
        """Record new values of a hard block's pins; :meth:`completed` with ``key`` ends it."""
        for name, setting, value in (
            ("max_payload_size", self.max_payload_size, space.coded_size),
            ("max_read_request_size", self.max_read_request_size, space.coded_size),
            ("bus_master_enable", self._bus_master, bool),
        ):
            if name in pins:
                setting.write(key, value(pins[name]))

    def _write_device_control(self, data: int, first_be: int, key: Hashable) -> None:
        if first_be & 1:
            self.max_payload_size.write(key, space.coded_size(space.MAX_PAYLOAD_SIZE.of(data)))
        if first_be & 2:
            size = space.coded_size(space.MAX_READ_REQUEST_SIZE.of(data))
            self.max_read_request_size.write(key, size)
            self.extended_tags.write(key, space.EXTENDED_TAG_ENABLE.of(data))
            self._function_reset.write(key, space.INITIATE_FLR.of(data))

    def _all(self) -> tuple[Setting, ...]:
        return (
            self.max_payload_size,
            self.max_read_request_size,
            self.extended_tags,
            self._bus_master,
            self._memory_space,
            self._in_d0,
        )
