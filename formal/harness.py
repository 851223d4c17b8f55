# SPDX-License-Identifier: BSD-2-Clause
"""Proof harness around a part of the gateware: free inputs, assumptions, assertions."""

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
    """Builder of the module that the solver reads.

    The module has one clock and no reset: registers start with their initial values, which the
    gateware's reset restores.

    Attributes
    ----------
    m
        The module.
    inputs
        Signals whose values the solver chooses in each cycle.
    """

    def __init__(self) -> None:
        self.m = Module()
        self.m.domains.sync = clock = ClockDomain(reset_less=True)
        self.inputs: list[Any] = [clock.clk]
        self._names: set[str] = set()

    def free(self, shape: ShapeLike, name: str) -> Any:
        """A signal whose value the solver chooses in each cycle."""
        signal = Signal(shape, name=self._unique(name))
        self.inputs.append(Value.cast(signal))
        return signal

    def constant(self, shape: ShapeLike, name: str) -> Any:
        """A signal whose value the solver chooses once: the proof then holds for every value."""
        chosen = Signal(shape, name=self._unique(name))
        self.m.d.comb += Value.cast(chosen).eq(AnyConst(len(Value.cast(chosen))))
        return chosen

    def add(self, name: str, component: Component, *, driven: Iterable[str] = ()) -> Part:
        """Add ``component`` to the harness with free inputs.

        Inputs whose path, joined by underscores, begins with one of ``driven`` are left to the
        caller.
        """
        fragment = Fragment.get(component, None)
        self.m.submodules[name] = fragment
        for path, member, value in component.signature.flatten(component):
            joined = "_".join(map(str, path))
            if member.flow == In and not any(
                joined == prefix or joined.startswith(f"{prefix}_") for prefix in driven
            ):
                chosen = self.free(len(Value.cast(value)), f"{name}_{joined}")
                self.m.d.comb += Value.cast(value).eq(chosen)
        return Part(name, fragment)

    def signal(self, shape: ShapeLike, name: str) -> Any:
        """A ghost register, which exists only in the harness."""
        return Signal(shape, name=name)

    def latched(self, value: ValueLike, when: ValueLike, name: str) -> Signal:
        """``value`` of the latest earlier cycle in which ``when`` was true."""
        source = Value.cast(value)
        signal = Signal(len(source), name=name)
        with self.m.If(Value.cast(when)):
            self.m.d.sync += signal.eq(source)
        return signal

    def register(
        self, next_value: ValueLike, name: str, *, shape: ShapeLike | None = None, init: int = 0
    ) -> Signal:
        """``next_value`` of the previous cycle."""
        value = Value.cast(next_value)
        signal = Signal(shape if shape is not None else value.shape(), name=name, init=init)
        self.m.d.sync += signal.eq(value)
        return signal

    def latch(self, name: str, *, rises: ValueLike, falls: ValueLike) -> Signal:
        """A bit that ``rises`` sets and ``falls`` clears; setting has priority."""
        signal = Signal(name=name)
        rise, fall = Value.cast(rises), Value.cast(falls)
        self.m.d.sync += signal.eq(rise | (signal & ~fall))
        return signal

    def count(self, name: str, bits: int, *, while_: ValueLike) -> Signal:
        """Consecutive earlier cycles with ``while_`` true; saturates at ``bits`` bits."""
        signal = Signal(bits, name=name)
        holds = Value.cast(while_)
        self.m.d.sync += signal.eq(Mux(holds, signal + ~signal.all(), 0))
        return signal

    def ensure(self, condition: ValueLike) -> None:
        """Assert ``condition`` in every cycle."""
        self.m.d.comb += Assert(Value.cast(condition), src_loc_at=1)

    def assume(self, condition: ValueLike) -> None:
        """Assume ``condition`` of the surrounding logic in every cycle."""
        self.m.d.comb += Assume(Value.cast(condition), src_loc_at=1)

    def cover(self, condition: ValueLike) -> None:
        """Require ``condition`` to be reachable: the assumptions must not exclude it."""
        self.m.d.comb += Cover(Value.cast(condition), src_loc_at=1)

    def ensure_held(self, stream: Any, name: str) -> None:
        """Assert that once valid, valid and payload hold until ready."""
        stalled = self.register(stream.valid & ~stream.ready, f"{name}_stalled")
        previous = self.register(Value.cast(stream.p), f"{name}_previous")
        self.ensure(~stalled | (stream.valid & (Value.cast(stream.p) == previous)))
        self.cover(stalled & stream.ready)

    def assume_held(self, stream: Any, name: str) -> None:
        """Assume that once valid, valid and payload hold until ready."""
        stalled = self.register(stream.valid & ~stream.ready, f"{name}_assumed_stalled")
        previous = self.register(Value.cast(stream.p), f"{name}_assumed_previous")
        self.assume(~stalled | (stream.valid & (Value.cast(stream.p) == previous)))

    def _unique(self, name: str) -> str:
        if name in self._names:
            raise ValueError(f"input name {name} is used twice")
        self._names.add(name)
        return name


class Part:
    """Access to the internals of a part of the gateware.

    An induction needs invariants over internal registers, which exclude unreachable states.
    """

    def __init__(self, name: str, fragment: Fragment):
        self._name = name
        self._fragment = fragment

    def inside(self, *path: str) -> Signal:
        """The signal named last in ``path``, inside the submodules named before it.

        Raises
        ------
        KeyError
            No signal has that name, or more than one has.
        """
        found = [signal for signal in self.signals(*path[:-1]) if signal.name == path[-1]]
        if len(found) != 1:
            raise KeyError(
                f"{len(found)} signals are named {'.'.join((self._name, *path))}: must be 1"
            )
        return found[0]

    def signals(self, *path: str) -> list[Signal]:
        """Signals that the submodule ``path`` itself drives."""
        found = {
            id(signal): signal
            for statements in self._within(path).statements.values()
            for statement in statements
            for signal in statement._lhs_signals()
        }
        return list(found.values())

    def row(self, harness: Harness, address: ValueLike, *path: str) -> Value:
        """Content at ``address`` of the memory in the submodule ``path``."""
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
