# SPDX-License-Identifier: BSD-2-Clause
"""What surrounds a part of the gateware in a proof: free inputs, assumptions, assertions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.asserts import AnyConst
from amaranth.hdl import (
    Assert,
    Assume,
    ClockDomain,
    Cover,
    Fragment,
    MemoryInstance,
    Module,
    Mux,
    ShapeLike,
    Signal,
    Value,
    ValueLike,
)
from amaranth.lib.wiring import Component, In

__all__ = ["Harness"]


class Harness:
    """Builds the module that is given to the solver. There is one clock and no reset: registers
    begin with their initial value, which is what the gateware's reset restores.

    Attributes
    ----------
    m
        The module.
    inputs
        What the solver chooses anew in each cycle.
    """

    def __init__(self) -> None:
        self.m = Module()
        self.m.domains.sync = clock = ClockDomain(reset_less=True)
        self.inputs: list[Any] = [clock.clk]
        self._names: set[str] = set()

    def free(self, shape: ShapeLike, name: str) -> Any:
        """Something that the solver chooses in each cycle."""
        signal = Signal(shape, name=self._unique(name))
        self.inputs.append(Value.cast(signal))
        return signal

    def constant(self, shape: ShapeLike, name: str) -> Any:
        """Something that the solver chooses once: what is proven of it holds of every value."""
        chosen = Signal(shape, name=self._unique(name))
        self.m.d.comb += Value.cast(chosen).eq(AnyConst(len(Value.cast(chosen))))
        return chosen

    def add(self, name: str, component: Component, *, driven: Iterable[str] = ()) -> Part:
        """Put ``component`` into the harness. Its inputs are free, but for those whose path, joined
        by underscores, begins with one of ``driven``."""
        fragment = Fragment.get(component, None)
        self.m.submodules[name] = fragment
        for path, member, value in component.signature.flatten(component):
            full = "_".join(map(str, path))
            if member.flow == In and not any(
                full == prefix or full.startswith(f"{prefix}_") for prefix in driven
            ):
                chosen = self.free(len(Value.cast(value)), f"{name}_{full}")
                self.m.d.comb += Value.cast(value).eq(chosen)
        return Part(name, fragment)

    def signal(self, shape: ShapeLike, name: str) -> Any:
        """A ghost: a register of the harness's own."""
        return Signal(shape, name=name)

    def kept(self, value: ValueLike, when: ValueLike, name: str) -> Signal:
        """``value`` as it was when ``when`` was last so, before this cycle."""
        source = Value.cast(value)
        signal = Signal(len(source), name=name)
        with self.m.If(Value.cast(when)):
            self.m.d.sync += signal.eq(source)
        return signal

    def register(
        self, next_value: ValueLike, name: str, *, shape: ShapeLike | None = None, init: int = 0
    ) -> Signal:
        """``next_value`` as it was in the cycle before."""
        value = Value.cast(next_value)
        signal = Signal(shape if shape is not None else value.shape(), name=name, init=init)
        self.m.d.sync += signal.eq(value)
        return signal

    def latch(self, name: str, *, rises: ValueLike, falls: ValueLike) -> Signal:
        """A bit that is set by one and cleared by the other; setting goes first."""
        signal = Signal(name=name)
        rise, fall = Value.cast(rises), Value.cast(falls)
        self.m.d.sync += signal.eq(rise | (signal & ~fall))
        return signal

    def count(self, name: str, bits: int, *, while_: ValueLike) -> Signal:
        """Cycles that ``while_`` has lasted, up to the largest number of ``bits`` bits."""
        signal = Signal(bits, name=name)
        holds = Value.cast(while_)
        self.m.d.sync += signal.eq(Mux(holds, signal + ~signal.all(), 0))
        return signal

    def ensure(self, condition: ValueLike) -> None:
        """Assert it in every cycle."""
        self.m.d.comb += Assert(Value.cast(condition), src_loc_at=1)

    def assume(self, condition: ValueLike) -> None:
        """What surroundings that behave see to, in every cycle."""
        self.m.d.comb += Assume(Value.cast(condition), src_loc_at=1)

    def cover(self, condition: ValueLike) -> None:
        """Something that must be possible: no assumption rules it out."""
        self.m.d.comb += Cover(Value.cast(condition), src_loc_at=1)

    def ensure_held(self, stream: Any, name: str) -> None:
        """Once valid is up, valid and payload hold until ready."""
        waits = self.register(stream.valid & ~stream.ready, f"{name}_waits")
        before = self.register(Value.cast(stream.p), f"{name}_before")
        self.ensure(~waits | (stream.valid & (Value.cast(stream.p) == before)))
        self.cover(waits & stream.ready)

    def assume_held(self, stream: Any, name: str) -> None:
        """The other side of a stream keeps that rule."""
        waits = self.register(stream.valid & ~stream.ready, f"{name}_waited")
        before = self.register(Value.cast(stream.p), f"{name}_offered")
        self.assume(~waits | (stream.valid & (Value.cast(stream.p) == before)))

    def _unique(self, name: str) -> str:
        if name in self._names:
            raise ValueError(f"{name} is the name of two inputs of the harness")
        self._names.add(name)
        return name


class Part:
    """A part of the gateware in a harness, to look into: an induction needs to be told in which
    states its registers never are together."""

    def __init__(self, name: str, fragment: Fragment):
        self._name = name
        self._fragment = fragment

    def inside(self, *path: str) -> Signal:
        """The signal whose name is last in ``path``, in the submodules that go before.

        Raises
        ------
        KeyError
            There is none of that name, or more than one.
        """
        found = [signal for signal in self.signals(*path[:-1]) if signal.name == path[-1]]
        if len(found) != 1:
            raise KeyError(f"{len(found)} signals are {'.'.join((self._name, *path))}: must be one")
        return found[0]

    def signals(self, *path: str) -> list[Signal]:
        """What the submodule ``path`` itself drives."""
        found = {
            id(signal): signal
            for statements in self._within(path).statements.values()
            for statement in statements
            for signal in statement._lhs_signals()
        }
        return list(found.values())

    def row(self, harness: Harness, address: ValueLike, *path: str) -> Value:
        """What the memory in the submodules ``path`` holds at ``address``."""
        memory = self._within(path)
        if not isinstance(memory, MemoryInstance):
            ((memory, _, _),) = (
                entry for entry in memory.subfragments if isinstance(entry[0], MemoryInstance)
            )
        name = "_".join((self._name, *path, "row"))
        index = Signal((memory._data.depth - 1).bit_length(), name=f"{name}_address")
        content = Signal(memory._data.shape, name=name)
        harness.m.d.comb += index.eq(Value.cast(address))
        memory.read_port(
            domain="comb",
            addr=index,
            data=Value.cast(content),
            en=Value.cast(1),
            transparent_for=(),
        )
        return Value.cast(content)

    def _within(self, path: Iterable[str]) -> Fragment:
        fragment = self._fragment
        for step in path:
            fragment = fragment.find_subfragment(step)
        return fragment
