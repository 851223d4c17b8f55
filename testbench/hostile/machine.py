# SPDX-License-Identifier: BSD-2-Clause
"""Histories chosen by Hypothesis, with one or more rules for each action."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import cocotb.task
import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.layout import MIN_MESSAGE, SharedLayout
from models.shell import MAX_FIFOS

from .actions import LONGEST_PAUSE, Hostile
from .budget import Budget
from .malformed import KINDS
from .quiesce import longest_packet
from .recovery import WAYS, recover

STEPS = 40
"""Longest history in steps."""
SHORT, LONG = 12, 250
"""Limits of short waits, which vary the overlap of actions, and of waits in which most work ends,
in cycles."""

# cocotb loads pytest's plugins to rewrite assertions. Hypothesis's plugin then warns of slow code
# because no pytest session starts.
warnings.filterwarnings("ignore", "Slow code in plugin", HypothesisWarning)

RARE = frozenset({"reload_driver", "reset_function", "hot_reset", "pace"})
"""Actions that end most work in flight, or slow it down for long."""
STEPS_BETWEEN_RARE = 8
"""Minimum number of steps between two rare actions."""

END_ARGUMENTS: dict[str, dict[str, Any]] = {
    "mask": {"masked": False},
    "mask_function": {"masked": False},
    "enable_msix": {"enabled": True},
    "enable_bus_master": {"enabled": True},
    "enable_memory": {"enabled": True},
    "stall_host": {"stalled": False},
    "stall_device": {"stalled": False},
    "stop_packet": {"cycles": 0},
}
"""Actions with a temporary effect on all others, and the arguments that end the effect."""
LONGEST_EFFECT = 12
"""Longest temporary effect in steps."""

Strategies = dict[str, st.SearchStrategy[Any]]


def _strategies(num_fifos: int, layout: SharedLayout) -> dict[str, list[Strategies]]:
    """Strategies for the arguments of each action; each set is one rule."""
    queue = layout.queue
    fifo = st.integers(0, num_fifos - 1)
    seed = st.integers(0, 2**16)
    flag = st.booleans()
    lasts = st.integers(1, LONGEST_EFFECT)
    word = st.one_of(
        st.integers(0, queue.capacity - 1),
        st.sampled_from([queue.capacity, queue.capacity + 1, 2**31, 2**32 - 1]),
        st.integers(0, 2**32 - 1),
    )
    few = st.one_of(st.integers(1, 4), st.integers(1, queue.capacity + 2))
    size = st.one_of(st.integers(1, 80), st.integers(1, 600))
    index = {
        "fifo": fifo,
        "queue": st.sampled_from(["driver", "device"]),
        "word": st.sampled_from(["head", "tail"]),
    }
    return {
        "wait": [
            {"cycles": st.integers(1, SHORT)},
            {"cycles": st.integers(SHORT, LONG)},
            {"cycles": st.integers(SHORT, LONG)},
        ],
        "rest": [{}, {}],
        "publish": [
            {"fifo": fifo, "count": st.integers(1, 3)},
            {
                "fifo": fifo,
                "count": st.integers(1, 4),
                "order": seed,
                "cuts": st.integers(0, 6),
                "ring": flag,
            },
            {"fifo": fifo, "count": few},
            {"fifo": fifo, "count": few, "careful": flag},
        ],
        "doorbells": [
            {"first": st.integers(0, MAX_FIFOS + 1)},
            {
                "first": st.integers(0, num_fifos),
                "count": st.integers(1, MAX_FIFOS),
                "times": st.integers(1, 40),
            },
        ],
        "scribble_index": [
            {**index, "value": word},
            {
                **index,
                "value": word,
                "first": st.integers(0, 3),
                "size": st.integers(1, 4),
            },
        ],
        "scribble": [
            {
                "fifo": fifo,
                "offset": st.integers(0, layout.fifo_stride - 1),
                "size": size,
                "seed": seed,
            },
            {
                "fifo": fifo,
                "offset": st.sampled_from([layout.driver_queue, layout.device_queue]).flatmap(
                    lambda base: st.integers(base - 16, base + 4 * queue.slot_size)
                ),
                "size": size,
                "seed": seed,
            },
        ],
        "reload_driver": [{"fifo": fifo, "size": st.sampled_from([64, 256])}],
        "read": [
            {"bar": st.integers(0, 2), "offset": st.integers(0, 2**17), "size": size},
        ],
        "malformed": [{"kind": st.sampled_from(KINDS), "fifo": fifo}],
        "mask": [{"vector": fifo, "masked": st.just(True), "rest": flag, "lasts": lasts}],
        "mask_function": [{"masked": st.just(True), "rest": flag, "lasts": lasts}],
        "enable_msix": [{"enabled": st.just(False), "rest": flag, "lasts": lasts}],
        "enable_bus_master": [{"enabled": st.just(False), "rest": flag, "lasts": lasts}],
        "enable_memory": [{"enabled": st.just(False), "lasts": lasts}],
        "stall_host": [{"stalled": st.just(True), "which": st.integers(0, 3), "lasts": lasts}],
        "stall_device": [{"stalled": st.just(True), "lasts": lasts}],
        "stop_packet": [{"cycles": st.integers(1, LONGEST_PAUSE), "lasts": lasts}],
        "pace": [{"seed": seed, "longest": st.integers(0, 8)}],
        "answer": [
            {"fifo": fifo, "size": st.integers(MIN_MESSAGE, queue.slot_size)},
            {"fifo": fifo},
            {"fifo": fifo, "count": st.integers(1, 4)},
            {"fifo": fifo, "count": st.integers(1, 4)},
            {"fifo": fifo, "count": few},
        ],
        "answer_with_data": [
            {"fifo": fifo, "dwords": st.integers(1, 150)},
            {"fifo": fifo, "dwords": st.integers(100, 150)},
        ],
        "bad_packet": [
            {"fifo": st.integers(0, MAX_FIFOS - 1), "size": st.integers(1, MIN_MESSAGE - 1)},
            {
                "fifo": st.integers(0, MAX_FIFOS - 1),
                "size": st.integers(queue.slot_size + 1, longest_packet(queue)),
            },
        ],
        "consume": [{"fifo": fifo}],
        "reset_function": [{}],
        "hot_reset": [{"cycles": st.integers(2, 5)}],
    }


class History(RuleBasedStateMachine):
    """A history of host and device side; it ends with :func:`recover`.

    Attributes
    ----------
    hostile, budget
        The bench and the budget, set by a subclass.
    since_rare
        Steps since the last rare action.
    temporary
        Temporary effects: remaining steps, action and arguments that end it.
    """

    hostile: Hostile
    budget: Budget

    def __init__(self) -> None:
        super().__init__()
        self.budget.check()
        self._failed = False
        self.since_rare = 0
        self.temporary: list[tuple[int, str, dict[str, Any]]] = []
        self._ending: dict[str, Any] = {"way": WAYS[0]}
        self.do(self.hostile.begin)

    def do(self, coroutine: Callable[..., Coroutine[Any, Any, None]], **arguments: Any) -> None:
        """Run a coroutine in the simulation; record its failure in the budget."""
        try:
            cocotb.task.resume(coroutine)(**arguments)
        except Exception as error:
            self._failed = True
            self.budget.failed(error, self.hostile.program)
            raise

    def end_temporary(self) -> None:
        """End the temporary effects that are over."""
        before, self.temporary = self.temporary, []
        for steps, name, arguments in before:
            if steps > 1:
                self.temporary.append((steps - 1, name, arguments))
            else:
                self.do(getattr(self.hostile, name), **arguments)

    @initialize(way=st.sampled_from(WAYS), fifo=st.integers(0, MAX_FIFOS - 1))
    def ends(self, way: str, fifo: int) -> None:
        """Choose how the history ends."""
        self._ending = {"way": way, "fifo": fifo % self.hostile.num_fifos}

    def teardown(self) -> None:
        """Recover, and check that the endpoint works."""
        if not self._failed:
            self.do(recover, hostile=self.hostile, **self._ending)


def _rule(name: str, strategies: Strategies) -> Callable[..., None]:
    def step(self: History, **arguments: Any) -> None:
        self.since_rare = 0 if name in RARE else self.since_rare + 1
        lasts = arguments.pop("lasts", 0)
        self.do(getattr(self.hostile, name), **arguments)
        self.end_temporary()
        if lasts:
            ends = {
                key: value for key, value in arguments.items() if key != "rest"
            } | END_ARGUMENTS[name]
            self.temporary.append((lasts, name, ends))

    step.__name__ = step.__qualname__ = name
    chosen: Any = strategies
    ruled = rule(**chosen)(step)
    return (
        precondition(lambda self: self.since_rare >= STEPS_BETWEEN_RARE)(ruled)
        if name in RARE
        else ruled
    )


def run_histories(hostile: Hostile, budget: Budget, *, seed: int, histories: int) -> None:
    """Run histories; shrink the first that fails. Blocking: call it through ``bridge``.

    Parameters
    ----------
    hostile
        The bench.
    budget
        The budget; also records failures.
    seed
        Seed of the histories.
    histories
        Number of histories, without those for shrinking.

    Raises
    ------
    HostileFailure
        The failure of the shrunk history; ``budget`` has its steps.
    OutOfTime
        The budget is used up.
    """
    rules = {
        f"{name}_{number}" if number else name: _rule(name, strategies)
        for name, ways in _strategies(hostile.num_fifos, hostile.bench.queues.layout).items()
        for number, strategies in enumerate(ways)
    }
    bench = {"hostile": hostile, "budget": budget}
    machine = type("BenchHistory", (History,), {**rules, **bench})
    run_state_machine_as_test(
        hypothesis.seed(seed)(machine),
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
