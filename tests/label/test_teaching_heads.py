"""When auxiliary logits learn: as labels become final, at the look by an oracle, or no more."""

from dataclasses import replace

import numpy as np
import pytest

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.errors import ConfigError
from stream_mtl.join.transitions import Telling
from stream_mtl.label.base import MATURED, DelayedFeedback, Kind
from stream_mtl.label.heads import Heads, OneLook
from stream_mtl.label.methods import METHODS, make
from stream_mtl.label.oracle import reads_ahead
from stream_mtl.label.told import Foreseen, Told

WAIT, END = 15 * MINUTE, 3 * HOUR
HEADED = [
    name for name, entry in METHODS.items() if entry.least == 1 and isinstance(make(name, WAIT), OneLook)
]
DELAYS = (5 * MINUTE, HOUR, None)  # of three chains that start at 0: in time, late, never


def told(foreseen: bool = True) -> Told:
    """Each chain's look, then each one's end."""
    n = len(DELAYS)
    at = np.array([delay or 0 for delay in DELAYS] * 2)
    came = np.array([delay is not None for delay in DELAYS] * 2)
    when = np.repeat([WAIT, END], n)
    happened = came & (at <= when)
    label, delay = came.copy(), np.where(came, at, END)
    return Told(
        kind=np.repeat([Telling.LOOK, Telling.FINAL], n).astype(np.int8),
        about=np.ones(2 * n, bool),
        wait=np.repeat([WAIT, -1], n),
        told=when,
        start=np.zeros(2 * n, np.int64),
        at=np.where(happened, at, 0),
        defined=np.ones(2 * n, bool),
        known=np.repeat([False, True], n) | happened,
        happened=happened,
        value=None,
        foreseen=Foreseen(np.ones(2 * n, bool), label, delay) if foreseen else None,
    )


def matured(method: DelayedFeedback, of: Told) -> list[tuple[int, Kind]]:
    emission = method.emit(of)
    return [
        (int(row), Kind(kind))
        for row, kind in zip(emission.row, emission.kind, strict=True)
        if kind in MATURED
    ]


AT_LOOKS = [(0, Kind.MATURED_IP), (1, Kind.MATURED_DP), (2, Kind.MATURED_RN)]
AT_ENDS = [(row + 3, kind) for row, kind in AT_LOOKS]


def test_there_are_methods_with_heads() -> None:
    assert {"es_dfm", "ddfm", "defer", "defer_rn", "defuse", "fsiw", "ulc"} <= set(HEADED)


@pytest.mark.parametrize("name", HEADED)
def test_heads_learn_of_each_chain_once_when_it_is_final_or_ahead_at_its_look(name: str) -> None:
    assert matured(make(name, WAIT), told()) == AT_ENDS
    assert matured(make(name, WAIT, heads=Heads(ahead=True)), told()) == AT_LOOKS


@pytest.mark.parametrize("name", HEADED)
def test_frozen_heads_learn_nothing_from_then_on_and_the_task_all_the_same(name: str) -> None:
    frozen, free = make(name, WAIT, heads=Heads(until=END)), make(name, WAIT)
    assert matured(frozen, told()) == []
    assert matured(make(name, WAIT, heads=Heads(until=END + 1)), told()) == AT_ENDS
    taught = [
        emission.kind[~np.isin(emission.kind, list(MATURED))]
        for emission in (frozen.emit(told()), free.emit(told()))
    ]
    assert taught[0].tolist() == taught[1].tolist() != []


def test_only_who_reads_ahead_needs_the_future() -> None:
    ahead = make("es_dfm", WAIT, heads=Heads(ahead=True))
    assert reads_ahead(ahead) and reads_ahead(make("oracle"))
    assert not reads_ahead(make("es_dfm", WAIT)) and not reads_ahead(make("fnw"))
    with pytest.raises(ConfigError, match="reads ahead"):
        ahead.emit(told(foreseen=False))


def test_a_label_whose_end_the_log_does_not_tell_teaches_no_head() -> None:
    whole = told()
    assert whole.foreseen is not None
    unknown = replace(whole, foreseen=replace(whole.foreseen, known=np.zeros(6, bool)))
    assert matured(make("es_dfm", WAIT, heads=Heads(ahead=True)), unknown) == []
