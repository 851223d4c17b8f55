# SPDX-License-Identifier: BSD-2-Clause
"""Index arithmetic for the capacity of the default layout."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Mux, Signal

from hdl.queues.modulo import IndexModulo, index_width, successor
from models.layout import SPSC_PAGES

from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["CAPACITY", "PROOFS"]

CAPACITY = SPSC_PAGES.queue.capacity


def index_modulo_is_exact(h: Harness) -> None:
    """By induction over the bits: the remainder of 0 is 0, and setting a bit adds its weight.

    Solvers do not finish on a comparison with a divider.
    """
    clear, set_ = IndexModulo(CAPACITY), IndexModulo(CAPACITY)
    h.add("clear", clear, driven=["value"])
    h.add("set", set_, driven=["value"])
    value = h.free(32, "value")
    bit = h.free(5, "bit")
    one_hot = Signal(32)
    weight = Signal(index_width(CAPACITY))
    h.m.d.comb += [
        one_hot.eq(1 << bit),
        weight.eq(Array((1 << place) % CAPACITY for place in range(32))[bit]),
        clear.value.eq(value & ~one_hot),
        set_.value.eq(value | one_hot),
    ]
    before = h.register(weight, "weight_before")
    total = clear.remainder + before
    h.ensure(set_.remainder == Mux(total >= CAPACITY, total - CAPACITY, total)[: len(before)])
    h.ensure(clear.remainder < CAPACITY)
    h.ensure(h.register(clear.value, "value_before").any() | ~clear.remainder.any())
    for sanitiser, name in ((clear, "clear"), (set_, "set")):
        beyond = h.register(sanitiser.value >= CAPACITY, f"{name}_is_beyond")
        h.ensure(sanitiser.out_of_range == beyond)
    h.cover(set_.out_of_range & (set_.remainder == CAPACITY - 1))


def successor_is_next(h: Harness) -> None:
    index = h.free(index_width(CAPACITY), "index")
    h.assume(index < CAPACITY)
    after = successor(index, CAPACITY)
    h.ensure(after == (Const(0, 8) + index + 1) % CAPACITY)
    h.cover(after == 0)


PROOFS = (
    Proof(
        property="index-modulo-is-exact",
        statement=f"one cycle after any 32-bit value the remainder is the value mod {CAPACITY}, "
        f"and out_of_range is high for values of {CAPACITY} and above",
        source="patch series, spsc_load_index",
        module="hdl.queues.modulo",
        harness=index_modulo_is_exact,
        mutant=Mutant(
            module="hdl.queues.modulo",
            before="digit[1:].all() & (digit[0] ^ top)",
            after="digit[1:].all() & digit[0] & ~top",
        ),
    ),
    Proof(
        property="successor-is-next",
        statement=f"the successor of an index below {CAPACITY} is the next one, 0 after the last",
        source="patch series, spsc_send and spsc_recv",
        module="hdl.queues.modulo",
        harness=successor_is_next,
        mutant=Mutant(
            module="hdl.queues.modulo",
            before="Mux(index == capacity - 1, 0, after)",
            after="Mux(index == capacity, 0, after)",
        ),
    ),
)
