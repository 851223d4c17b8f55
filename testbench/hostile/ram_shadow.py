# SPDX-License-Identifier: BSD-2-Clause
"""Possible contents of each word of the FIFO BAR's RAM.

A word is the unit that an engine reads or writes in one cycle. The host's stores take effect in the
order in which they were sent, at the latest when a later read completes or a later doorbell pulses.
Writes of the push engine interleave with them in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MAX_VALUES = 64
"""Maximum number of possible values of a word; beyond it the word is unknown."""


def merged(old: bytes, data: bytes, enables: Iterable[bool]) -> bytes:
    """``old`` with the enabled bytes of ``data``."""
    return bytes(
        written if enabled else kept
        for kept, written, enabled in zip(old, data, enables, strict=True)
    )


@dataclass(slots=True)
class ShadowWord:
    """A word with writes since its contents were last known.

    Parameters
    ----------
    versions
        Possible values of the word after each store, with the number of the store; oldest first.
    stores
        The host's stores: number, data and byte enables.
    engine
        Whether the push engine wrote the word.
    unknown
        Whether the word may have any value.
    """

    versions: list[tuple[int, frozenset[bytes]]]
    stores: list[tuple[int, bytes, tuple[bool, ...]]] = field(default_factory=list)
    engine: bool = False
    unknown: bool = False

    @property
    def latest(self) -> frozenset[bytes]:
        """Possible values after the last store."""
        return self.versions[-1][1]

    @property
    def possible(self) -> frozenset[bytes]:
        """Possible values after any of the stores."""
        return frozenset().union(*(values for _, values in self.versions))

    def add(self, number: int, values: frozenset[bytes]) -> None:
        """Add a version; if it has more than :data:`MAX_VALUES`, the word is unknown."""
        self.versions.append((number, values))
        if len(values) > MAX_VALUES:
            self.unknown = True
            del self.versions[:-1]


class RamShadow:
    """Possible contents of the RAM.

    Parameters
    ----------
    content
        Initial contents.
    word_bytes
        Bytes of a word.
    """

    def __init__(self, content: bytes, word_bytes: int) -> None:
        self.word_bytes = word_bytes
        self._content = bytearray(content)
        self._words: dict[int, ShadowWord] = {}
        self._reads: list[dict[int, set[bytes]]] = []

    def __len__(self) -> int:
        return len(self._content)

    def split(
        self, offset: int, data: bytes, enables: Iterable[bool] | None = None
    ) -> Iterator[tuple[int, bytes, tuple[bool, ...]]]:
        """Split a store into words: number of the word, data and byte enables."""
        size = self.word_bytes
        before = offset % size
        after = -(before + len(data)) % size
        enabled = [True] * len(data) if enables is None else list(enables)
        data = bytes(before) + data + bytes(after)
        enabled = [False] * before + enabled + [False] * after
        for start in range(0, len(data), size):
            if any(enabled[start : start + size]):
                yield (
                    (offset - before + start) // size,
                    data[start : start + size],
                    tuple(enabled[start : start + size]),
                )

    def host_store(
        self, number: int, offset: int, data: bytes, enables: Iterable[bool] | None = None
    ) -> None:
        """Record a store of the host."""
        for index, part, enabled in self.split(offset, data, enables):
            word = self._word(index)
            last = word.possible if word.engine else word.latest
            values = frozenset(merged(old, part, enabled) for old in last)
            # A concurrent engine write may overwrite the store.
            word.add(number, values | last if word.engine else values)
            word.stores.append((number, part, enabled))
            for read in self._reads:
                if index in read:
                    read[index] |= word.possible if word.engine else values

    def engine_store(
        self, number: int, offset: int, data: bytes, *, certain: bool, floor: int
    ) -> None:
        """Record a write of whole words by the push engine.

        Parameters
        ----------
        number
            Number of the host's newest store.
        offset, data
            Offset and data of the write.
        certain
            Whether the write certainly happened at ``offset``, rather than in another slot or not
            at all.
        floor
            Stores of the host with a lower number took effect before the write.
        """
        for index, part, _ in self.split(offset, data):
            word = self._word(index)
            values = {part}
            concurrent = [store for store in word.stores if store[0] >= floor]
            for _, store, enabled in concurrent:
                values |= {merged(old, store, enabled) for old in values}
            if not certain or concurrent:
                values |= word.possible
            word.add(number, frozenset(values))
            word.engine = True
            for read in self._reads:
                if index in read:
                    read[index] |= values

    def forget_before(self, number: int, words: Iterable[int]) -> None:
        """Drop versions of ``words`` from before the last store below ``number``.

        All these stores have taken effect, and no read of the words is in flight.
        """
        for index in words:
            word = self._words.get(index)
            if word is not None and not word.engine:
                last = max(
                    (
                        position
                        for position, (store, _) in enumerate(word.versions)
                        if store < number
                    ),
                    default=0,
                )
                del word.versions[:last]

    def abandon(self) -> None:
        """Record a reset, which may have dropped any store in flight."""
        for word in self._words.values():
            word.versions = [(word.versions[-1][0], word.possible)]
        self._reads.clear()

    def possible(self, index: int) -> frozenset[bytes] | None:
        """Possible values of a word since the last :meth:`forget_before`; ``None`` for any."""
        word = self._words.get(index)
        if word is None:
            return frozenset([self._known(index)])
        return None if word.unknown else word.possible

    def range(self, offset: int, size: int) -> range:
        """Numbers of the words that contain ``size`` bytes from ``offset``."""
        return range(offset // self.word_bytes, -(-(offset + size) // self.word_bytes))

    @property
    def touched(self) -> list[int]:
        """Numbers of the words with writes since their contents were last known, in order."""
        return sorted(self._words)

    def quiesce(self) -> None:
        """Record the quiescent state: all stores have taken effect and the engine is idle."""
        for word in self._words.values():
            # A certain write of the engine is later than all others: packets are in order.
            if not word.engine or len(word.latest) == 1:
                del word.versions[:-1]

    def mismatch(self, offset: int, data: bytes, ignored: frozenset[int]) -> str | None:
        """Compare whole words read back; the contents of matching words are known afterwards.

        Parameters
        ----------
        offset, data
            Offset and contents of the words.
        ignored
            Offsets of dwords that are not RAM.

        Returns
        -------
        str or None
            Description of the first difference, ``None`` without one.
        """
        size = self.word_bytes
        for start in range(0, len(data), size):
            index = (offset + start) // size
            found = data[start : start + size]
            values = self.possible(index)
            if values is not None and not any(
                self._same(index, found, value, ignored) for value in values
            ):
                expected = " or ".join(sorted(value.hex() for value in values))
                return f"FIFO BAR+{offset + start:#x} reads {found.hex()}, must be {expected}"
            certain = values is not None and len(values) == 1
            known = next(iter(values)) if values is not None and certain else found
            self._content[index * size : (index + 1) * size] = known
            self._words.pop(index, None)
        return None

    def open_read(self, offset: int, size: int) -> dict[int, set[bytes]] | None:
        """Start a read: collect its possible results until :meth:`close_read`.

        Returns ``None`` if one of its words may have any value.
        """
        read: dict[int, set[bytes]] = {}
        for index in self.range(offset, size):
            word = self._words.get(index)
            if word is None:
                read[index] = {self._known(index)}
            elif word.unknown:
                return None
            else:
                read[index] = set(word.possible if word.engine else word.latest)
        self._reads.append(read)
        return read

    def close_read(self, read: dict[int, set[bytes]]) -> None:
        """End a read, which has completed or was not sent."""
        self._reads = [other for other in self._reads if other is not read]

    def _known(self, index: int) -> bytes:
        """Last known contents of a word."""
        return bytes(self._content[index * self.word_bytes : (index + 1) * self.word_bytes])

    def _word(self, index: int) -> ShadowWord:
        word = self._words.get(index)
        if word is None:
            word = self._words[index] = ShadowWord([(-1, frozenset([self._known(index)]))])
        return word

    def _same(self, index: int, found: bytes, value: bytes, ignored: frozenset[int]) -> bool:
        base = index * self.word_bytes
        return all(
            found[lane : lane + 4] == value[lane : lane + 4]
            for lane in range(0, self.word_bytes, 4)
            if base + lane not in ignored
        )
