"""What a stream of clicks tells is what the join tells of the same events, and counts are those of closed forms."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.connectors.base import Format
from stream_mtl.connectors.memory import MemorySource
from stream_mtl.errors import DataError
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import EventSpec, Limits
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.transitions import Transitions
from stream_mtl.label.base import DelayedFeedback, Kind
from stream_mtl.label.methods import METHODS, make
from stream_mtl.label.oracle import Oracle
from stream_mtl.label.plan import Plan
from stream_mtl.processes.criteo_log import FEATURES, INTEGER_BINS, TEXT_BINS, ClickLog, cut, read_clicks
from stream_mtl.processes.criteo_methods import HeadsAlone, Vanilla
from stream_mtl.processes.criteo_stream import TASK, ClickStream, chain, looks, spans
from tests.public.logs import clicks

WINDOW = 3 * DAY
WAIT = 15 * MINUTE
EVERY: dict[str, DelayedFeedback] = {
    name: make(name, *[WAIT, HOUR, DAY][: entry.least or entry.most]) for name, entry in METHODS.items()
} | {"vanilla": Vanilla(HOUR), "heads": HeadsAlone(WAIT)}
WAITS = looks([wait for method in EVERY.values() for wait in method.waits])


def silent(done: int, total: int, rows: int) -> None:
    """Say nothing."""


def click_log(click: list[int], delay: list[int]) -> ClickLog:
    """Return a log of these clicks (ms, ascending) with features that nobody looks at; a delay of -1: never."""
    delays = np.array([d if d >= 0 else 1 << 60 for d in delay], np.int64)
    return ClickLog(np.array(click, np.int64), delays, np.zeros((len(click), len(FEATURES)), np.int16))


def random_log(n: int, seed: int) -> ClickLog:
    """Return clicks of five days, many in one instant; delays are ties of every border too."""
    random = np.random.default_rng(seed)
    click = np.sort(random.integers(0, 5 * 24, n)) * HOUR
    borders = [0, 1, WAIT, WAIT + 1, HOUR, HOUR + 1, DAY, WINDOW, WINDOW + 1, WINDOW - 1]
    delay = np.where(random.random(n) < 0.5, random.integers(1, 4 * DAY, n), random.choice(borders, n))
    return click_log(click.tolist(), np.where(random.random(n) < 0.6, delay, -1).tolist())


def joined(log: ClickLog, spec: ChainSpec) -> list[Transitions]:
    """Return what the join tells of the log's events."""
    sources = {kind: MemorySource(kind, Format("json")) for kind in ("click", "conversion")}
    came = sorted(
        (int(c + d), i) for i, (c, d) in enumerate(zip(log.click, log.delay, strict=True)) if d < 1 << 59
    )
    sources["click"].append(
        [json.dumps({"click_id": i, "ts": int(c)}).encode() for i, c in enumerate(log.click)]
    )
    if came:
        sources["conversion"].append([json.dumps({"click_id": i, "ts": at}).encode() for at, i in came])
    specs = [EventSpec(kind, kind, "ts", {"click_id": "long"}, required=("click_id",)) for kind in sources]
    codec = Codec(specs, Limits(), clock=lambda: 100 * DAY)
    joiner = Joiner(spec, {one.kind: one.schema for one in specs}, [(kind, 0) for kind in sources])
    for source in sources.values():
        for records in source.poll(limit=10_000):
            joiner.admit(codec.decode(records))
    return joiner.tell(upto=100 * DAY)


def told(
    plan: Plan, some: Transitions, stream: ClickStream, ids: npt.NDArray[np.int64]
) -> list[tuple[int, int, float, int, float]]:
    """Return (instant, click, label, kind, seconds) of every example."""
    truth = stream.truth() if isinstance(plan.methods["cvr"], Oracle) else None
    examples = plan.emit(some, truth)
    click = ids[some.rows.column("row").to_numpy()[examples.telling]]
    columns = (examples.told, click, examples.label[:, 0], examples.kind[:, 0], examples.elapsed[:, 0])
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000), st.sampled_from([n for n in EVERY if n != "oracle"]))
def test_the_stream_teaches_what_the_join_teaches(n: int, seed: int, name: str) -> None:
    log, method = random_log(n, seed), EVERY[name]
    stream = ClickStream(log, WINDOW, WAITS)
    plan = Plan((TASK,), {"cvr": method})
    spec = replace(chain(WINDOW), tasks=(replace(TASK, waits=WAITS),), features_on_final=True)
    by_join = [
        row
        for some in joined(log, spec)
        for row in told(plan, some, stream, some.keys.column("click_id").to_numpy())
    ]
    by_stream = [
        row
        for begin, end in spans(0, 12 * DAY, 7 * HOUR)
        for some in [stream.tell(begin, end)]
        for row in told(plan, some, stream, some.keys.column("click_id").to_numpy())
    ]
    assert sorted(by_stream) == sorted(by_join)
    assert [row[0] for row in by_stream] == sorted(row[0] for row in by_stream)


def counted(log: ClickLog, method: DelayedFeedback) -> dict[str, int]:
    """Return the number of examples by kind, over the life of all clicks."""
    stream = ClickStream(log, WINDOW, method.waits)
    truth = stream.truth() if isinstance(method, Oracle) else None
    plan, found = Plan((TASK,), {"cvr": method}), Counter[str]()
    for begin, end in spans(0, 12 * DAY, 5 * HOUR):
        found.update(Kind(k).name for k in plan.emit(stream.tell(begin, end), truth).kind[:, 0].tolist())
    return dict(found)


@pytest.mark.parametrize("seed", range(3))
def test_examples_are_as_many_as_the_closed_forms_say(seed: int) -> None:
    log = random_log(400, seed)
    n, delay = len(log), log.delay
    came, early = int((delay <= WINDOW).sum()), int((delay <= WAIT).sum())
    late, never = came - early, n - came
    es = {"IP": early, "ON": n - early, "DP": late}
    heads = {"MATURED_IP": early, "MATURED_DP": late, "MATURED_RN": never}
    forms = {
        "wait": {"IP": early, "ON": n - early},
        "fnw": {"ON": n, "DP": came},
        "fnc": {"ON": n, "DP": came},
        "pu": {"ON": n, "DP": came},
        "oracle": {"FINAL": n},
        "es_dfm": es | heads,
        "defuse": es | heads,
        "bi_defuse": es,
        "ddfm": es | {"RN": never} | heads,
        "defer_rn": es | {"RN": never} | heads,
        "defer": es | {"RN": never, "IP2": early} | heads,
        "fsiw": {"IP": early, "ON": n - early} | heads,
        "ulc": {"IP": early, "ON": n - early} | heads,
        "heads": heads,
    }
    assert {name: counted(log, EVERY[name]) for name in forms} == forms
    hour = int((delay <= HOUR).sum())
    assert counted(log, Vanilla(HOUR)) == {"IP": hour, "ON": n - hour, "DP": came - hour}


def test_a_conversion_behind_its_window_is_told_to_nobody_but_as_a_no() -> None:
    log = click_log([0, 0], [WINDOW, WINDOW + 1])
    assert counted(log, make("wait")) == {"FINAL": 2}
    assert counted(log, make("fnw")) == {"ON": 2, "DP": 1}
    known = ClickStream(log, WINDOW).truth().of("cvr", np.arange(2))
    assert known.label.tolist() == [True, False]


def test_the_log_in_memory_is_the_file_in_order_of_time(tmp_path: Path) -> None:
    made = clicks(1_500, days=50)
    lines = made.lines()
    path = tmp_path / "log.tsv"
    path.write_text("\n".join([*lines[:700], "bad", *lines[700:]]))
    log = read_clicks(path, silent)
    order = np.argsort(made.click, kind="stable")
    assert log.click.tolist() == (made.click[order] * 1_000).tolist()
    delay = np.where(made.conversion >= 0, (made.conversion - made.click) * 1_000, 1 << 60)
    assert log.delay.tolist() == delay[order].tolist()
    assert log.unreadable == {"1 columns in place of 19": 1}
    assert log.bins.shape == (1_500, 17)
    assert (log.bins >= 0).all() and (log.bins < np.array([*INTEGER_BINS, *TEXT_BINS])).all()
    for i in range(9):
        texts = [made.texts[row][i] for row in order.tolist()]
        bins = {
            text: {int(b) for b, t in zip(log.bins[:, 8 + i], texts, strict=True) if t == text}
            for text in set(texts)
        }
        assert all(len(found) == 1 for found in bins.values())


def test_fewer_rows_are_spread_over_the_whole_time(tmp_path: Path) -> None:
    path = clicks(1_000, days=60).write(tmp_path / "log.tsv")
    whole, some = read_clicks(path, silent), read_clicks(path, silent, rows=100)
    assert len(some) == 100
    assert (some.click[0], some.click[-1]) == (whole.click[0], whole.click[-1])
    assert np.isin(some.click, whole.click).all()
    assert len(read_clicks(path, silent, rows=5_000)) == 1_000


def test_a_log_without_a_row_that_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("\t".join("x" * 19) + "\n")
    with pytest.raises(DataError, match="no row can be read"):
        read_clicks(tmp_path / "log.tsv", silent)


@given(st.lists(st.integers(-2_000, 2_000), min_size=1, max_size=30), st.integers(1, 30))
def test_integers_are_cut_into_equal_parts_of_the_range_that_was_known(values: list[int], known: int) -> None:
    column = np.array(values, np.int32)
    fitted = column[:known]
    low, width = int(fitted.min()), max(int(fitted.max()) - int(fitted.min()), 1)
    bins = cut(np.repeat(column[:, None], 8, axis=1), min(known, len(values)))
    for i, size in enumerate(INTEGER_BINS):
        plainly = [sum(j / (size - 1) <= (value - low) / width for j in range(size - 1)) for value in values]
        assert bins[:, i].tolist() == plainly
    assert bins[: len(fitted)].min() >= 1


def test_the_future_moves_no_bin_of_the_past(tmp_path: Path) -> None:
    made = clicks(400, days=50, sort=True)
    path = made.write(tmp_path / "log.tsv")
    before = made.click < 30 * 86_400
    made.integers[~before] *= 1_000
    later = read_clicks(made.write(tmp_path / "later.tsv"), silent)
    assert (read_clicks(path, silent).bins[before] == later.bins[before]).all()
