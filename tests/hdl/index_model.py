# SPDX-License-Identifier: BSD-2-Clause
"""Model of one index word, for the benches of the index words."""


def merged(word, data, mask):
    """``word`` with the bytes of ``mask`` from ``data``."""
    for byte in range(4):
        if mask >> byte & 1:
            field = 0xFF << 8 * byte
            word = word & ~field | data & field
    return word


class IndexModel:
    """The word and the index at the beginning of a cycle, from the events of the cycles before.

    A host write changes the word at once and the index two cycles later; an advance changes the
    index at once and the word a cycle later, unless the host wrote in between.
    """

    def __init__(self, capacity):
        self.capacity = capacity
        self.clear()

    def clear(self):
        self.word = self.index = 0
        # Words that the host wrote in the last cycle and the one before, and the last advance.
        self.written = [None, None]
        self.advanced = None

    @property
    def updates(self):
        """The index takes over a host write at the end of this cycle."""
        return self.written[1] is not None

    @property
    def remainder(self):
        """What the index takes over."""
        return self.written[1] % self.capacity

    def step(self, *, reset=False, write=None, advance=None):
        """A cycle; ``write`` is data and mask, ``advance`` the next index."""
        if reset:
            self.clear()
            return
        word, index = self.word, self.index
        if advance is not None:
            index = advance
        if self.updates:
            index = self.remainder
        if write is not None:
            word = merged(self.word, *write)
        elif self.advanced is not None and self.written == [None, None]:
            word = self.index
        self.advanced = advance
        self.written = [word if write is not None else None, self.written[0]]
        self.word, self.index = word, index
