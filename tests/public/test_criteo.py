"""The protocol: nothing is learned before it is known, every hour counts by its clicks, and heads freeze if asked to."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from stream_mtl.cli import app
from stream_mtl.clock import DAY, HOUR, MINUTE
from stream_mtl.errors import ConfigError
from stream_mtl.label.base import MATURED, Kind
from stream_mtl.label.methods import parse
from stream_mtl.label.wait import Mature
from stream_mtl.learn.encoded import Encoded
from stream_mtl.learn.learner import Learner
from stream_mtl.processes import criteo_learners
from stream_mtl.processes.criteo import (
    METHODS,
    ORACLE,
    PRETRAINED,
    VANILLA,
    Protocol,
    Table,
    compare,
    methods_of,
)
from stream_mtl.processes.criteo_learners import Beginning, Student, penalise, recipe_of
from stream_mtl.processes.criteo_log import ClickLog, read_clicks
from stream_mtl.processes.criteo_measures import hour
from stream_mtl.processes.criteo_stream import ClickStream
from tests.public.logs import clicks

SMALL = Protocol(pretrain_days=1, days=2, window_days=1, epochs=1)
SOME = "fnw,es_dfm:15m,bi_defuse:15m,dfm:15m,6h"
Predicted = Mapping[str, list[npt.NDArray[np.float32]]]


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ClickLog:
    path = clicks(700, days=2, early=0.5, most=20 * 3_600).write(
        tmp_path_factory.mktemp("criteo") / "log.tsv"
    )
    return read_clicks(path, lambda *_: None, DAY)


def run(log: ClickLog, methods: str = SOME, protocol: Protocol = SMALL) -> tuple[Table, Predicted]:
    """Run the protocol, and note what every student predicts, hour by hour."""
    predicted: dict[str, list[npt.NDArray[np.float32]]] = {}

    def predict(self: Student, features: Encoded) -> npt.NDArray[np.float32]:
        said = self.learner.predict(features)[:, 0]
        predicted.setdefault(self.name, []).append(said)
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(criteo_learners.Student, "predict", predict)
        table = compare(log, methods_of(methods), protocol, silent)
    return table, predicted


@pytest.fixture(scope="module")
def made(log: ClickLog) -> tuple[Table, Predicted]:
    return run(log)


def turned(log: ClickLog, after: int) -> ClickLog:
    """Return the log as it would be if everything that comes from this instant on were the other way.

    What would have converted never does, the others five minutes later, if they still can.
    """
    comes = (log.delay <= DAY) & (log.click + log.delay >= after)
    soon = np.maximum(after - log.click, 0) + 5 * MINUTE
    could = (log.delay > DAY) & (soon <= DAY)
    return replace(log, delay=np.where(comes, 1 << 60, np.where(could, soon, log.delay)))


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_known_only_after_an_hour_was_not_learned_by_then(
    log: ClickLog, made: tuple[Table, Predicted], frozen: bool
) -> None:
    protocol = replace(SMALL, frozen_heads=frozen)
    methods = "es_dfm:15m" if frozen else SOME
    _, found = run(log, methods, protocol) if frozen else made
    for hours in (0,) if frozen else (0, 9):  # after the stream's beginning; in its midst
        other = turned(log, DAY + hours * HOUR)
        assert (other.delay != log.delay).mean() > 0.2
        _, again = run(other, methods, protocol)
        for name in found.keys() - {ORACLE}:
            same = [bool((a == b).all()) for a, b in zip(found[name], again[name], strict=True)]
            assert all(same[:hours]), name
            assert all(same) == (name == PRETRAINED), name


def test_the_oracle_knows_of_an_hour_what_comes_later(log: ClickLog, made: tuple[Table, Predicted]) -> None:
    _, again = run(turned(log, 2 * DAY), "fnw")
    assert not (made[1][ORACLE][5] == again[ORACLE][5]).all()
    assert (made[1]["fnw"][5] == again["fnw"][5]).all()


def test_a_score_is_the_mean_over_hours_by_their_clicks(log: ClickLog, made: tuple[Table, Predicted]) -> None:
    table, found = made
    hours = [log.click // HOUR == 24 + k for k in range(1, 24)]
    assert [len(said) for said in found["fnw"]] == [int(rows.sum()) for rows in hours]
    label = log.delay <= DAY
    both = [len(set(label[rows])) == 2 for rows in hours]
    assert (table.hours, table.one_class) == (sum(both), len(both) - sum(both))
    assert table.rows == sum(int(rows.sum()) for rows, counts in zip(hours, both, strict=True) if counts)
    for scored in table.methods:
        parts = [
            (rows.sum(), hour(said.astype(np.float64), label[rows]))
            for said, rows, counts in zip(found[scored.name], hours, both, strict=True)
            if counts
        ]
        for name, value in parts[0][1].items():
            del value
            mean = sum(n * measures[name] for n, measures in parts) / table.rows
            assert scored.means[name] == pytest.approx(mean)


def test_the_references_are_the_0_and_the_1_of_improvements(made: tuple[Table, Predicted]) -> None:
    of = {scored.name: scored for scored in made[0].methods}
    assert list(of) == [PRETRAINED, VANILLA, ORACLE, *methods_of(SOME)]
    assert set(of[VANILLA].relative.values()) == {0.0}
    assert set(of[ORACLE].relative.values()) == {1.0}
    assert (of[PRETRAINED].examples, of[PRETRAINED].steps) == ({}, 0)


def test_the_stream_holds_the_corrections_of_clicks_before_it(
    log: ClickLog, made: tuple[Table, Predicted]
) -> None:
    table, _ = made
    at = log.click + log.delay
    begin, end = DAY, 47 * HOUR

    def inside(instant: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return (instant >= begin) & (instant < end)

    came, early = log.delay <= DAY, log.delay <= 15 * MINUTE
    looked, ended = inside(log.click + 15 * MINUTE), inside(log.click + DAY)
    es = {
        "IP": int((looked & early).sum()),
        "ON": int((looked & ~early).sum()),
        "DP": int((inside(at) & came & ~early).sum()),
    }
    matured = {
        "MATURED_IP": int((ended & early).sum()),
        "MATURED_DP": int((ended & came & ~early).sum()),
        "MATURED_RN": int((ended & ~came).sum()),
    }
    found = {scored.name: scored.examples for scored in table.methods}
    assert found["fnw"] == {"ON": int(inside(log.click).sum()), "DP": int((inside(at) & came).sum())}
    assert found["es_dfm:15m"] == es | matured
    assert found["bi_defuse:15m"] == es
    assert found[ORACLE] == {"FINAL": int(inside(log.click).sum())}
    assert (log.click[inside(at) & came] < begin).any()


def test_frozen_heads_are_not_learned_on_the_stream(log: ClickLog, made: tuple[Table, Predicted]) -> None:
    table, found = run(log, "es_dfm:15m", replace(SMALL, frozen_heads=True))
    (scored,) = [one for one in table.methods if one.name == "es_dfm:15m"]
    assert not scored.examples.keys() & {Kind(kind).name for kind in MATURED}
    assert not (found["es_dfm:15m"][-1] == made[1]["es_dfm:15m"][-1]).all()


def beginning(log: ClickLog, known: int = DAY, epochs: int = 1) -> Beginning:
    return Beginning(ClickStream(log, DAY), DAY, known, epochs, 0, lambda rows: None)


def test_before_the_stream_nothing_of_it_is_known_unless_asked_for(log: ClickLog) -> None:
    other = turned(log, DAY)
    base, same = beginning(log).base(), beginning(other).base()
    assert all((base[name] == same[name]).all() for name in base)
    leaky, differs = beginning(log, 1 << 60).base(), beginning(other, 1 << 60).base()
    assert any((leaky[name] != differs[name]).any() for name in leaky)
    method = parse("es_dfm:15m")
    heads, again = (beginning(one).with_heads(base, method, 15 * MINUTE) for one in (log, other))
    assert all((heads[name] == again[name]).all() for name in heads)


def test_heads_that_learn_beside_the_network_change_nothing_of_it(log: ClickLog) -> None:
    base = beginning(log).base()
    state = beginning(log).with_heads(base, parse("es_dfm:15m"), 15 * MINUTE)
    network = [name for name in base if name.startswith(("dense.sharing", "dense.relation", "table"))]
    for name in network:
        if not name.endswith(("seen", "changed")):
            assert (base[name] == state[name]).all(), name
    heads = [name for name in state if name.startswith("dense.auxiliary")]
    new = Learner(recipe_of(parse("es_dfm:15m"), 0)).arrays()
    assert heads
    assert all((state[name] != new[name]).any() for name in heads)


def test_the_heads_know_shares_of_what_is_known(log: ClickLog) -> None:
    made = beginning(log, epochs=25)
    answer = made.heads(15 * MINUTE)
    rows = log.clicks(0, DAY - 15 * MINUTE)
    features = recipe_of(Mature(), 0).features.encode(log.fields(rows))
    came = (log.click + log.delay < DAY)[rows]
    early = (log.delay <= 15 * MINUTE)[rows]
    shares = {name: float(logit.sigmoid().mean()) for name, logit in answer(features).items()}
    assert shares["late"] == pytest.approx((came & ~early).mean(), abs=0.05)
    assert shares["real"] > shares["late"]


def test_the_penalty_is_the_gradient_of_the_squares_of_the_layers(log: ClickLog) -> None:
    recipe = recipe_of(Mature(), 0)
    plain, penalised = Learner(recipe), Learner(recipe)
    penalise(penalised.model, 0.5)
    x = plain.inputs.read(recipe.features.encode(log.fields(slice(0, 64)))).detach()
    for learner in (plain, penalised):
        learner.model(x).logits["cvr"].sum().backward()
    for (name, one), (_, other) in zip(
        plain.model.named_parameters(), penalised.model.named_parameters(), strict=True
    ):
        assert one.grad is not None and other.grad is not None
        matrix = name.startswith("sharing") and "linears" in name and name.endswith("weight")
        expected = one.grad + one.detach() if matrix else one.grad
        assert np.allclose(other.grad, expected, atol=1e-6), name


def test_every_method_goes_along_the_stream(log: ClickLog) -> None:
    table = compare(log, methods_of(METHODS), SMALL, silent)
    assert [scored.name for scored in table.methods] == [PRETRAINED, VANILLA, ORACLE, *methods_of(METHODS)]
    assert all(scored.means["nll"] is not None and scored.means["nll"] < 3 for scored in table.methods)
    assert all(scored.steps >= 23 for scored in table.methods[1:])


def test_methods_are_named_as_in_a_configuration() -> None:
    assert list(methods_of("dfm:15m,1d, fnw,wait:1h,oracle,vanilla:1h")) == ["dfm:15m,1d", "fnw", "wait:1h"]
    assert len(methods_of(METHODS)) == 14
    with pytest.raises(ConfigError, match="no delayed-feedback method"):
        methods_of("es_dfn:15m")


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol(pretrain_days=2, days=2), "leave no stream"),
        (Protocol(pretrain_days=1, days=2, epochs=0), "one pass"),
        (Protocol(pretrain_days=40, days=60), "log shorter"),
    ],
)
def test_a_protocol_that_the_log_cannot_follow_is_refused(
    log: ClickLog, protocol: Protocol, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        compare(log, {}, protocol, silent)


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clicks(300, days=2).write(tmp_path / "log.tsv")
    small = ["--pretrain-days", "1", "--days", "2", "--epochs", "1", "--methods", "fnw", "--rows", "250"]
    app(["criteo", str(path), *small, "--json"], standalone_mode=False)
    out = capsys.readouterr()
    told = json.loads(out.out)
    assert [one["name"] for one in told["methods"]] == [PRETRAINED, VANILLA, ORACLE, "fnw"]
    assert told["relative_improvement"] == {"zero": VANILLA, "one": ORACLE}
    assert told["clicks"] == 250
    assert "pretraining" in out.err and "streaming" in out.err
    app(["criteo", str(path), *small], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "R-AUC" in shown and "0 is vanilla:1h, 1 is oracle" in shown
