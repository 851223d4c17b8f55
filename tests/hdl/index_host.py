# SPDX-License-Identifier: BSD-2-Clause
"""Host writes of indices, as they arrive at the queues of one kind."""

from itertools import product

from streams import geometry

from models.layout import SMALL_PAGES, SPSC_PAGES, QueueLayout, SharedLayout

TWO_SLOTS = SharedLayout(name="two-slots", queue=QueueLayout(capacity=2))
"""The smallest queue: it is empty or full."""

LAYOUTS = (SMALL_PAGES, SPSC_PAGES, TWO_SLOTS)

QUEUES = tuple(product((1, 3, 8), LAYOUTS))
"""Numbers of FIFOs, each with each layout."""


def queue_id(value):
    """Name of a parameter of :data:`QUEUES` in the name of a test."""
    return getattr(value, "name", str(value))


def queue_geometry(fifos, layout):
    """Geometry of a component that has no words of ``data_width``."""
    return geometry(64, fifos, layout=layout)


def slot_at(g, index):
    """Fields of a :class:`~hdl.geometry.SlotPlace`: index, place in its page, index after it."""
    word = g.layout.queue.slot_offset(index) // g.word_bytes
    aligned = g.layout.queue.slots_offset % g.layout.queue.slot_size == 0
    place = word // g.slot_words if aligned else word
    return index, place, g.layout.queue.next(index)


def read_slot(ctx, slot):
    """Fields of a slot from a component."""
    return ctx.get(slot.index), ctx.get(slot.place), ctx.get(slot.next)


def check_view(ctx, bench, shown):
    """Check one view of a queue component: ``shown`` has the index that the host reads of each
    FIFO, None if the engine has not moved it since the host wrote it."""
    view = bench.rng.choice(list(bench.dut.views))
    fifo = bench.rng.randrange(len(shown))
    ctx.set(view.fifo, fifo)
    found = ctx.get(view.index) if ctx.get(view.moved) else None
    assert found == shown[fifo], f"the host reads another index of FIFO {fifo}"


class IndexHost:
    """Drives an ``IndexUpdate`` and ``clear`` as the index words do.

    A write takes effect two cycles later. From power-up and from each reset on, every index is
    zeroed in random order, with gaps, while ``clear`` is high.

    Parameters
    ----------
    update, clear
        Ports of the component.
    g : Geometry
    owned : str
        ``head`` or ``tail``: the index that the engine owns.
    rng : random.Random

    Attributes
    ----------
    may_write : bool
        The host may write in this cycle.
    clears : bool
        ``clear`` is high in this cycle.
    coming, lands : tuple or None
        End (``head`` or ``tail``), FIFO and index that take effect at the end of the next cycle,
        of this one.
    """

    def __init__(self, update, clear, g, owned, rng):
        self._update, self._clear, self._g = update, clear, g
        self._owned, self._rng = owned, rng
        self.may_write, self.clears = False, True
        self.coming = self.lands = None
        self._zeros = self._all_zeros()
        self._ending = 2

    def _all_zeros(self):
        """Writes that zero every index, and those of FIFOs that the number has bits for."""
        bits = (self._g.num_fifos - 1).bit_length()
        zeros = [(end, fifo, 0) for end in ("head", "tail") for fifo in range(1 << bits)]
        zeros += [None] * len(zeros)
        self._rng.shuffle(zeros)
        return zeros

    def start(self, ctx, *, reset):
        """Begin a cycle: drive the ports."""
        rng, update = self._rng, self._update
        self.clears = reset or bool(self._zeros) or self._ending > 0
        ctx.set(self._clear, self.clears)
        fifos, capacity = self._g.num_fifos, self._g.layout.queue.capacity
        for prefix, write in (("", self.lands), ("coming_", self.coming)):
            end, fifo, index = write or (None, rng.randrange(fifos), rng.randrange(capacity))
            for name in ("head", "tail"):
                ctx.set(getattr(update, prefix + name), end == name)
            ctx.set(getattr(update, f"{prefix}fifo"), fifo)
            if not prefix:
                ctx.set(update.index, index)

    def end(self, write, *, reset):
        """End a cycle in which the host made ``write`` or none."""
        assert write is None or self.may_write
        self.lands, self.coming = self.coming, write
        self.may_write = not reset and not (write and write[0] == self._owned)
        if reset:
            self.lands = self.coming = None
            self._zeros, self._ending = self._all_zeros(), 2
        elif self._zeros:
            self.coming = self._zeros.pop()
            self.may_write = False
        elif self._ending:
            # The host may write in the cycle in which the last word lands.
            self._ending -= 1
            self.may_write = self._ending == 1
