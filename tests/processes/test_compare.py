"""Ways are compared over one read and one join: each learns and predicts what it would have alone."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from stream_mtl.errors import ConfigError
from stream_mtl.join.transitions import Telling
from stream_mtl.label.oracle import Truth
from stream_mtl.learn.trainer import Trainer
from stream_mtl.measures import BinarySums, log_loss
from stream_mtl.processes import compare as module
from stream_mtl.processes.compare import Compared, CompareOptions, Trial, compare, ways_of
from stream_mtl.processes.declared import declared
from stream_mtl.processes.joined import joined
from stream_mtl.processes.recipe import recipe_of
from stream_mtl.processes.replay import replay
from stream_mtl.processes.verdict import comparison_of
from stream_mtl.watch.comparison_page import as_plain, html
from tests.processes.small import SMALL, done, loaded, market

WAYS = ("wait:15m", "fnw", "es_dfm:15m", "oracle", "wide")
WIDE = 'challengers.wide=["model.bottom=[16]", "tasks.cvr.method=fnw"]'


def never() -> bool:
    return False


def compared(config: Path, options: CompareOptions, *overrides: str) -> Compared:
    return compare(
        loaded(config, [*SMALL, WIDE, *overrides]), options, config.parent / "c", never, lambda *_: None
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("compare") / "market", 2_000, knobs=['duration="20h"'])


@pytest.fixture(scope="module")
def made(config: Path) -> Compared:
    return compared(config, CompareOptions(WAYS, seeds=2))


def test_the_label_that_takes_longest_is_compared(made: Compared) -> None:
    assert made.tasks == made.outputs == ("cvr",)
    assert made.settings["wide"] == ("model.bottom=[16]", "tasks.cvr.method=fnw")
    assert made.settings["wait:15m"] == ("tasks.cvr.method=wait:15m",)
    assert made.oracles == {"oracle"}
    assert len(made.trials) == 2 * len(WAYS)


def test_all_are_graded_on_the_same_exposures(made: Compared) -> None:
    graded = {graded.marks["cvr"].examples for graded in made.trials.values()}
    assert len(graded) == 1
    assert sum(graded.pop()) > 100


def test_events_are_read_and_joined_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(*arguments: object) -> object:
        reads.append(arguments)
        return joined(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "joined", counted)
    compared(config, CompareOptions(("wait:15m", "oracle"), seeds=2))
    assert len(reads) == 1


@pytest.mark.parametrize("way", ["wait:15m", "oracle"])
def test_each_learns_and_predicts_what_it_would_alone(config: Path, made: Compared, way: str) -> None:
    """A learner of its own over a join of its own, and its outcomes row by row."""
    alone = declared(loaded(config, [*SMALL, f"tasks.cvr.method={way}"]))
    told = [transitions for _, transitions in joined(alone, config.parent / "aside", never, lambda *_: None)]
    truth = Truth(alone.plan.tasks)
    for transitions in told:
        truth.add(transitions)
    rows: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float64]]] = []
    trainer = Trainer(recipe_of(alone), lambda *outcome: rows.append(outcome))
    steps = sum(len(trainer.take(transitions, 0, truth)) for transitions in told)
    steps += trainer.flush() is not None
    time, predicted, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
    column = alone.plan.outputs.index("cvr")
    keep = ~np.isnan(labels[:, column]) & (time >= made.span.since) & (time < made.span.until)
    sums = BinarySums.of(predicted[keep, column], labels[keep, column])
    graded = made.trials[Trial(way, 1, 0)]
    assert graded.tally.steps == steps
    assert sum(graded.marks["cvr"].examples) == keep.sum()
    assert graded.marks["cvr"].values["log_loss"].whole == pytest.approx(log_loss(sums), rel=1e-6)


def test_exposures_whose_end_the_log_does_not_tell_are_not_graded(config: Path, made: Compared) -> None:
    alone = declared(loaded(config))
    last = 0
    for _, transitions in joined(alone, config.parent / "aside", never, lambda *_: None):
        rows = transitions.rows
        final = rows.column("kind").to_numpy() == Telling.FINAL
        last = max(last, int(rows.column("time").to_numpy()[final].max(initial=0)))
    assert made.read.first <= made.span.since < made.span.until <= last + 1


def test_processes_learn_what_one_does(config: Path, made: Compared) -> None:
    several = compared(config, CompareOptions(WAYS, seeds=2, workers=2))
    assert {trial: graded.marks for trial, graded in several.trials.items()} == {
        trial: graded.marks for trial, graded in made.trials.items()
    }


def test_rates_are_tried_and_the_best_of_each_way_is_shown(config: Path) -> None:
    made = compared(config, CompareOptions(("fnw", "wait:15m"), rates=(0.01, 1)))
    shown = comparison_of(made, "t", config).outputs[0]
    assert {(one.name, one.rate) for one in shown.tried} == {
        (w, r) for w in ("fnw", "wait:15m") for r in (0.01, 1)
    }
    best = {one.name: one.log_loss for one in shown.contenders}
    for one in shown.tried:
        assert (best[one.name] or 9) <= (one.log_loss or 0)


def test_a_product_is_graded_where_all_learn_it(config: Path) -> None:
    made = compared(config, CompareOptions(("fnw", "wait:15m")), "model.relation=esmm")
    assert made.outputs == ("cvr", "joint.cvr")
    outputs = as_plain(comparison_of(made, "t", config))["outputs"]
    assert (
        outputs["joint.cvr"]["ways"][0]["examples_graded"] > 3 * outputs["cvr"]["ways"][0]["examples_graded"]
    )


def test_nothing_is_left_but_dead_letters(config: Path, made: Compared) -> None:
    assert [path.name for path in (config.parent / "c").iterdir()] == ["dead-letters"]
    again = replay(loaded(config), config.parent / "aside", never, lambda *_: None)
    assert made.read.accounts == again.accounts


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("wait:15m, fnw", ("wait:15m", "fnw")),
        ("dfm:15m,1h,1d,es_dfm:15m", ("dfm:15m,1h,1d", "es_dfm:15m")),
        ("fnw,fnw,champion", ("fnw", "champion")),
    ],
)
def test_ways_are_read_as_they_are_written(text: str, ways: tuple[str, ...]) -> None:
    assert ways_of(text) == ways


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (CompareOptions(("fwn",)), 'did you mean "fnw"'),
        (CompareOptions(()), "names nothing"),
        (CompareOptions(("fnw",), tasks=("cvrr",)), 'did you mean "cvr"'),
        (CompareOptions(("fnw",), seeds=0), "--seeds"),
        (CompareOptions(("fnw",), rates=(0.0,)), "--rates"),
        (CompareOptions(("es_dfm:100d",)), "longer than the window"),
        (CompareOptions(("fnw",), grade_after=1 << 40), "--grade-after"),
    ],
)
def test_what_cannot_be_compared_is_refused(config: Path, options: CompareOptions, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compared(config, options)


def test_the_command_prints_what_the_page_shows(config: Path, tmp_path: Path) -> None:
    words = (
        "replay",
        config,
        "--compare",
        "fnw,wait:15m,oracle",
        "--out",
        tmp_path / "out",
        "--json",
        "--workers",
        "1",
    )
    printed = json.loads(done(*words, overrides=SMALL))
    ways = printed["outputs"]["cvr"]["ways"]
    assert {way["way"] for way in ways} == {"fnw", "wait:15m", "oracle"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{ways[0]['measures']['log_loss']['value']:.4f}"[:6] in page


def test_the_page_says_what_to_do_next(config: Path, made: Compared) -> None:
    page = html(comparison_of(made, "Which way", config))
    way = as_plain(comparison_of(made, "Which way", config))["outputs"]["cvr"]["recommended"]
    assert way in page
    assert "[challengers]" in page
