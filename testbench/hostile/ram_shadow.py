# SPDX-License-Identifier: BSD-2-Clause
"""Possible contents of each word of the FIFO BAR's RAM.

A word is the unit that an engine reads or writes in one cycle. The host's stores take effect in the
order in which they were sent, at the latest when a later read completes or a later doorbell pulses.
Writes of the push engine interleave with them in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TOO_MANY = 64
"""Maximum number of possible values of a word; beyond it the word is unknown."""


def merged(old: bytes, data: bytes, enables: Iterable[bool]) -> bytes:
    """``old`` with the enabled bytes of ``data``."""
    return bytes(new if on else kept for kept, new, on in zip(old, data, enables, strict=True))


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

    def pieces(
        self, offset: int, data: bytes, enables: Iterable[bool] | None = None
    ) -> Iterator[tuple[int, bytes, tuple[bool, ...]]]:
        """Split a store into words: number of the word, data and byte enables."""
        size = self.word_bytes
        lead = offset % size
        tail = -(lead + len(data)) % size
        on = [True] * len(data) if enables is None else list(enables)
        data = bytes(lead) + data + bytes(tail)
        on = [False] * lead + on + [False] * tail
        for start in range(0, len(data), size):
            if any(on[start : start + size]):
                yield (
                    (offset - lead + start) // size,
                    data[start : start + size],
                    tuple(on[start : start + size]),
                )

    def host_store(
        self, number: int, offset: int, data: bytes, enables: Iterable[bool] | None = None
    ) -> None:
        """Record a store of the host."""
        for index, piece, on in self.pieces(offset, data, enables):
            word = self._word(index)
            last = self._all(word) if word.engine else word.versions[-1][1]
            values = frozenset(merged(old, piece, on) for old in last)
            # A concurrent engine write may overwrite the store.
            word.versions.append((number, values | last if word.engine else values))
            word.stores.append((number, piece, on))
            self._bound(word)
            for read in self._reads:
                if index in read:
                    read[index] |= self._all(word) if word.engine else values

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
        for index, piece, _ in self.pieces(offset, data):
            word = self._word(index)
            values = {piece}
            racing = [store for store in word.stores if store[0] >= floor]
            for _, store, on in racing:
                values |= {merged(old, store, on) for old in values}
            if not certain or racing:
                values |= self._all(word)
            word.versions.append((number, frozenset(values)))
            word.engine = True
            self._bound(word)
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
                    (at for at, (issued, _) in enumerate(word.versions) if issued < number),
                    default=0,
                )
                del word.versions[:last]

    def abandon(self) -> None:
        """Record a reset, which may have dropped any store in flight."""
        for word in self._words.values():
            word.versions = [(word.versions[-1][0], frozenset(self._all(word)))]
        self._reads.clear()

    def possible(self, index: int) -> frozenset[bytes] | None:
        """Possible values of a word since the last :meth:`forget_before`; ``None`` for any."""
        word = self._words.get(index)
        if word is None:
            return frozenset([self._settled(index)])
        return None if word.unknown else frozenset(self._all(word))

    def range(self, offset: int, size: int) -> range:
        """Numbers of the words that contain ``size`` bytes from ``offset``."""
        return range(offset // self.word_bytes, -(-(offset + size) // self.word_bytes))

    @property
    def touched(self) -> list[int]:
        """Numbers of the words with writes since their contents were last known, in order."""
        return sorted(self._words)

    def settle(self) -> None:
        """Record the quiescent state: all stores have taken effect and the engine is idle."""
        for word in self._words.values():
            if not word.engine:
                del word.versions[:-1]
            elif len(word.versions[-1][1]) == 1:
                # The last write is certain and, as packets are in order, later than all others.
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
                want = " or ".join(sorted(value.hex() for value in values))
                return f"BAR1+{offset + start:#x} reads {found.hex()}, must be {want}"
            kept = values is not None and len(values) == 1
            known = next(iter(values)) if values is not None and kept else found
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
                read[index] = {self._settled(index)}
            elif word.unknown:
                return None
            elif word.engine:
                read[index] = set(self._all(word))
            else:
                read[index] = set(word.versions[-1][1])
        self._reads.append(read)
        return read

    def close_read(self, read: dict[int, set[bytes]]) -> None:
        """End a read, which has completed or was not sent."""
        self._reads = [other for other in self._reads if other is not read]

    def latest(self, offset: int, size: int) -> bytes:
        """Latest data written by the host; one of the possible values after a reset."""
        found = b""
        for index in self.range(offset, size):
            word = self._words.get(index)
            found += self._settled(index) if word is None else min(word.versions[-1][1])
        lead = offset % self.word_bytes
        return found[lead : lead + size]

    def _settled(self, index: int) -> bytes:
        return bytes(self._content[index * self.word_bytes : (index + 1) * self.word_bytes])

    def _word(self, index: int) -> ShadowWord:
        word = self._words.get(index)
        if word is None:
            word = self._words[index] = ShadowWord([(-1, frozenset([self._settled(index)]))])
        return word

    @staticmethod
    def _all(word: ShadowWord) -> frozenset[bytes]:
        return frozenset().union(*(values for _, values in word.versions))

    def _bound(self, word: ShadowWord) -> None:
        if len(word.versions[-1][1]) > TOO_MANY:
            word.unknown = True
            word.versions = word.versions[-1:]

    def _same(self, index: int, found: bytes, value: bytes, ignored: frozenset[int]) -> bool:
        base = index * self.word_bytes
        return all(
            found[lane : lane + 4] == value[lane : lane + 4]
            for lane in range(0, self.word_bytes, 4)
            if base + lane not in ignored
        )
