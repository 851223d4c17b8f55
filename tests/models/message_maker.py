# SPDX-License-Identifier: BSD-2-Clause
"""Generator of valid and damaged messages, as a hostile peer may send them."""

from models.dma import PAGE
from models.messages import MessageKind, QueueOperation
from models.messages.layouts import HEADER, HEADER_SIZE

ENTROPY, CONSOLE, DISK, NET = 0, 3, 7, 31
NUMBERS = (ENTROPY, CONSOLE, DISK, NET)
RING_SIZE = 16
WORDS = (0, 1, 2, 3, 4, 7, 15, 16, 17, 32, 63, 64, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)


class Maker:
    """Generates messages of a revision: valid, damaged and random ones."""

    def __init__(self, rng, dialect, memory_base, size):
        self._rng = rng
        self._dialect = dialect
        self._base, self._size = memory_base, size

    def address(self):
        rng = self._rng
        if rng.random() < 0.8:
            return self._base + rng.randrange(0, self._size, 16)
        return rng.choice([0, 1, self._base - 1, self._base + self._size - 1, 2**64 - 1, 2**63])

    def well_formed(self):
        """Message with a valid header and size, and arbitrary fields."""
        rng, dialect = self._rng, self._dialect
        layout = rng.choice(dialect.messages)
        kind = layout.type_bits
        number = 0 if layout.bus and rng.random() < 0.9 else rng.choice((*NUMBERS, 1, 32, 0xFFFF))
        size = layout.min_size
        if layout.arrays or rng.random() < 0.1:
            size = rng.randint(layout.min_size, dialect.max_size)
        body = b"".join(
            (rng.choice(WORDS) if rng.random() < 0.8 else rng.getrandbits(32)).to_bytes(4, "little")
            for _ in range((size - HEADER_SIZE + 3) // 4)
        )
        header = HEADER.pack(kind, layout.msg_id, number, rng.getrandbits(16), size)
        return (header + body)[:size]

    def state_change(self):
        """Message that changes the state of a device."""
        rng = self._rng
        choice = rng.randrange(6)
        if choice < 2:
            status = rng.choice((0, 1, 3, 11, 11, 15, 15, 15, 128, rng.getrandbits(8)))
            message = self._message("SET_DEVICE_STATUS", status=status)
        elif choice == 2:
            features = [rng.choice((0, rng.getrandbits(32))), rng.choice((1, 1, 3, 0xFFFFFFFF))]
            message = self._message("SET_FEATURES", index=0, features=features)
        elif choice == 3:
            size = rng.choice((0, 1, 3, 4, 8, RING_SIZE, RING_SIZE, 64, 0x8000))
            rings = ("descriptor_addr", "driver_addr", "device_addr")
            addresses = {name: self.address() for name in rings}
            message = self._message("SET_VQUEUE", index=rng.randrange(3), size=size, **addresses)
        else:
            message = self._message("EVENT_AVAIL", MessageKind.EVENT, index=rng.randrange(3))
        return message.encode()

    @property
    def _has_flags(self):
        return self._dialect.layout("SET_VQUEUE", MessageKind.REQUEST).has("flags")

    def _message(self, name, kind=MessageKind.REQUEST, *, number=None, **fields):
        """Message with arbitrary values in the fields that are not given."""
        layout = self._dialect.layout(name, kind)
        counts = {array.count for array in layout.arrays}
        for field in layout.fields:
            known = fields.keys() & {field.name, field.alias}
            if not known and not field.reserved and field.name not in counts:
                fields[field.name] = self._rng.choice(WORDS) & field.maximum
        token = 0 if kind is MessageKind.EVENT else self._rng.getrandbits(16)
        number = self._rng.choice(NUMBERS) if number is None else number
        return self._dialect.message(name, kind, dev_num=number, token=token, **fields)

    def ring(self, index):
        """Addresses of descriptor table, available ring and used ring of queue ``index``."""
        table = self._base + 2 * PAGE * index
        return table, table + 16 * RING_SIZE, table + PAGE

    def bring_up(self):
        """Messages that bring a device up, with rings in memory, and notify its queues."""
        number = self._rng.choice(NUMBERS)
        names = ("descriptor_addr", "driver_addr", "device_addr")
        return [
            *(
                self._message("SET_DEVICE_STATUS", number=number, status=status)
                for status in (0, 1, 3)
            ),
            self._message("SET_FEATURES", number=number, index=0, features=[0, 1]),
            self._message("SET_DEVICE_STATUS", number=number, status=11),
            *(
                self._message(
                    "SET_VQUEUE",
                    number=number,
                    index=index,
                    size=RING_SIZE,
                    **dict(zip(names, self.ring(index), strict=True)),
                    **({"flags": QueueOperation.ENABLE} if self._has_flags else {}),
                )
                for index in range(2)
            ),
            self._message("SET_DEVICE_STATUS", number=number, status=15),
            *(
                self._message("EVENT_AVAIL", MessageKind.EVENT, number=number, index=n % 2)
                for n in range(6)
            ),
        ]

    def damaged(self, raw):
        rng = self._rng
        raw = bytearray(raw)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            choice = rng.randrange(5)
            if choice == 0 and raw:
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            elif choice == 1:
                del raw[rng.randint(0, len(raw)) :]
            elif choice == 2:
                raw += rng.randbytes(rng.randint(1, 64))
            elif choice == 3 and len(raw) >= HEADER_SIZE:
                raw[6:8] = rng.choice((0, 7, 8, 12, 47, 48, 64, 65, 0xFFFF)).to_bytes(2, "little")
            elif raw:
                raw[rng.randrange(len(raw))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        return bytes(raw)

    def any(self):
        """Message of any sort."""
        choice = self._rng.random()
        if choice < 0.05:
            return self._rng.randbytes(self._rng.randint(0, 80))
        raw = self.state_change() if choice < 0.5 else self.well_formed()
        return self.damaged(raw) if self._rng.random() < 0.3 else raw
