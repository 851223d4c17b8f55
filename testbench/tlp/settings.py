# SPDX-License-Identifier: BSD-2-Clause
"""What a host allows a function, as the packets between them tell.

A configuration write takes effect at some time from its acceptance on, and holds from its
completion on (PCI Express Base 4.0 sections 2.2.2, 7.5.3.4). In between the function may follow
either value; after it, no packet of the function may break the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from models import config_space as space
from models.config_space import ConfigField

from .codec import MEMORY_READS, CplStatus, Tlp
from .rules import Outstanding, Violation

D0_AND_D3HOT = (space.POWER_D0, space.POWER_D3HOT)
"""Power states that every function has; a write of another one changes nothing here."""


@dataclass
class Setting:
    """A number, the larger the more it allows.

    Parameters
    ----------
    value
        In force.
    written
        Values of writes without a completion, by whatever tells the writes apart.
    """

    value: int
    written: dict[Hashable, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """What may be followed now: the value in force, or one that is written."""
        return max(self.value, *self.written.values()) if self.written else self.value

    def write(self, key: Hashable, value: int) -> None:
        """``value`` is written, by the write ``key``."""
        self.written[key] = value

    def set(self, value: int) -> None:
        """Put ``value`` in force at once."""
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
        ``None`` not to follow the register.

    Attributes
    ----------
    max_payload_size, max_read_request_size, extended_tags
        Each a :class:`Setting`.
    on_function_reset
        Called when a function-level reset completed.
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
        """Return to what the function starts with."""
        payload, read_request, extended_tags, bus_master = self._initial
        self.max_payload_size = Setting(payload)
        self.max_read_request_size = Setting(read_request)
        self.extended_tags = Setting(extended_tags)
        self._bus_master = Setting(bool(bus_master))
        # Not judged before the Command register is written.
        self._memory_space = Setting(True)
        self._in_d0 = Setting(True)
        self._function_reset = Setting(False)

    @property
    def bus_master(self) -> bool:
        """Whether the function may send requests."""
        return bool(self._bus_master.most and self._in_d0.most)

    @property
    def memory_space(self) -> bool:
        """Whether the function may serve memory requests."""
        return bool(self._memory_space.most and self._in_d0.most)

    def request_rules(self, tlp: Tlp) -> Iterator[Violation]:
        """Whether the function may send a request."""
        if not self.bus_master:
            yield Violation("bus-master", "7.5.1.1.3", "Bus Master Enable is not set", tlp)

    def completion_rules(self, tlp: Tlp, pending: Outstanding) -> Iterator[Violation]:
        """Whether a memory read may be served, by when it came and by when it is answered."""
        served = pending.request.kind in MEMORY_READS and tlp.status == CplStatus.SC
        if served and not (self.memory_space and pending.memory_space):
            yield Violation("memory-space", "7.5.1.1.3", "Memory Space Enable is not set", tlp)

    def written(self, request: Tlp, key: Hashable) -> None:
        """A configuration write was accepted, whose completion is ``key``'s."""
        register = request.address & 0xFFC
        data = int.from_bytes(request.payload[:4], "little")
        if register == space.COMMAND and request.first_be & 1:
            self._memory_space.write(key, space.MEMORY_SPACE_ENABLE.of(data))
            if self._learns_bus_master:
                self._bus_master.write(key, space.BUS_MASTER_ENABLE.of(data))
        if register == self._power_control and request.first_be & 1 and self._learns_bus_master:
            state = ConfigField(register, 0, space.POWER_STATE.width).of(data)
            if state in D0_AND_D3HOT:
                self._in_d0.write(key, state == space.POWER_D0)
        if register == self._device_control:
            self._write_device_control(data, request.first_be, key)

    def completed(self, key: Hashable, status: int) -> None:
        """The write ``key`` was completed: its values are in force if it was successful."""
        resets = self._function_reset.written.pop(key, 0)
        for setting in self._all():
            value = setting.written.pop(key, None)
            if value is not None and status == CplStatus.SC:
                setting.value = value
        if resets and status == CplStatus.SC:
            # Max_Payload_Size survives (section 6.6.2).
            _, read_request, extended_tags, _ = self._initial
            self.max_read_request_size.set(read_request)
            self.extended_tags.set(extended_tags)
            self._memory_space.set(False)
            self._in_d0.set(True)
            if self._learns_bus_master:
                self._bus_master.set(False)
            self.on_function_reset()

    def pins_changed(self, pins: dict[str, int], key: Hashable) -> None:
        """A hard block's pins have these values from now on; :meth:`completed` ends the change."""
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
