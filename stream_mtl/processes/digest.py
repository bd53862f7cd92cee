"""Hashes of what the processes have made so far, for comparing runs."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_mtl.config.load import Loaded
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.learn.checkpoint import read_checkpoint
from stream_mtl.processes.bus import accounts_of, feed_of
from stream_mtl.processes.declared import declared

Arrays = Mapping[str, npt.NDArray[Any]]


def digest(loaded: Loaded) -> dict[str, object]:
    """Return hashes of the transitions, and of weights, optimiser and sums of the newest checkpoints, where there are."""
    config = loaded.config
    hashed = TransitionDigest(declared(loaded).chain.features_on_final)
    with closing(feed_of(config)) as feed:
        feed.start()
        while (portion := feed.take()) is not None:
            hashed.update(portion.transitions)
    accounts = accounts_of(config)
    made: dict[str, object] = {"transitions": hashed.value(), "rows": hashed.rows, "accounts": accounts}
    learner = read_checkpoint(config.learn.path)
    if learner is not None:
        made |= {"learned_rows": learner.facts["rows"], **of_arrays(learner.arrays, "trainer.")}
    return made


def of_trainer(trainer: Any) -> dict[str, str]:
    """Return the hashes of a trainer's state."""
    return of_arrays(trainer.state()[0], "")


def of_arrays(arrays: Arrays, prefix: str) -> dict[str, str]:
    """Return the hashes of a trainer's state, given as arrays by name behind a prefix."""
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return {
        part: _hash((name, own[name]) for name in sorted(own) if wants(name))
        for part, wants in _PARTS.items()
    }


def _is_optimiser(name: str) -> bool:
    return name.startswith(("learner.adam", "learner.balance")) or name.endswith(".squares")


def _is_measure(name: str) -> bool:
    return name.startswith("segment.measures")


_PARTS: Mapping[str, Callable[[str], bool]] = {
    "weights": lambda name: name.startswith("learner.") and not _is_optimiser(name),
    "optimiser": _is_optimiser,
    "measures": _is_measure,
}


def _hash(named: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    whole = hashlib.sha256()
    for name, array in named:
        whole.update(f"{name} {array.dtype} {array.shape}\0".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()
