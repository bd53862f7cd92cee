"""Every bench runs, checks what came out, and says as much as it should; how fast is nobody's business here."""

import json
import math
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_mtl.bench import replays, score
from stream_mtl.bench.measure import Latency, Rate
from stream_mtl.cli.app import app
from stream_mtl.cli.bench import bench_app
from stream_mtl.errors import StreamMtlError

assert bench_app is not None  # importing it gave `app` its commands

ARGUMENTS = {
    "join": ["--impressions", "2000", "--batch", "500", "--rounds", "1"],
    "features": ["--rows", "600", "--rounds", "2"],
    "train": ["--batch", "64", "--blocks", "2"],
    "replay": ["--impressions", "2000", "--rounds", "1"],
}
WAYS = {"join": [7], "features": [3, 3], "train": [3, 3], "replay": [3]}


def printed(*arguments: str) -> str:
    ran = CliRunner().invoke(app, ["bench", *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.parametrize("bench", ARGUMENTS)
def test_a_bench_tells_a_rate_of_every_way(bench: str) -> None:
    told: Any = json.loads(printed(bench, *ARGUMENTS[bench], "--json"))
    made = told if isinstance(told, list) else [told]
    assert [len(one["rates"]) for one in made] == WAYS[bench]
    for one in made:
        assert one["peak_megabytes"] > 0
        assert one["machine"]
        for rate in one["rates"].values():
            assert all(math.isfinite(value) and value > 0 for value in rate.values())
        assert next(iter(one["rates"].values()))["times_the_first"] == 1


def test_a_table_names_what_it_compares_with() -> None:
    text = printed("features", *ARGUMENTS["features"])
    assert "rows per CPU s" in text
    assert "times batches of 256" in text


def test_a_server_is_asked_and_its_answers_are_those_of_the_scorer() -> None:
    measured = score.bench_score(1_000, 5, (1, 3))
    assert [one.candidates for one in measured] == [1, 3]
    for one in measured:
        assert len(one.wall) == 5
        assert 0 < one.millis(0.5) <= one.millis(0.99)
        assert one.scorer_ms > 0
        assert one.answer_ms > 0


def test_a_replay_that_lost_a_record_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "_join", lambda loaded, letters: {"impression": {"joined": 1}})
    with pytest.raises(StreamMtlError, match="differs from the truth"):
        replays.bench_replay(500, 1)


def test_rates_and_shares_are_medians_and_order_statistics() -> None:
    slow, fast = Rate("slow", 10, (1.0, 2.0, 4.0), (1.0,) * 3), Rate("fast", 10, (0.5, 0.5, 0.5), (1.0,) * 3)
    assert slow.per_cpu_second == 5
    assert fast.times(slow) == (4, 2, 8)
    one = Latency(1, tuple(i / 1_000 for i in range(100, 0, -1)), 0.0, 0.0, 0.0)
    assert (one.millis(0.5), one.millis(0.99)) == (51, 100)


def test_a_comparison_says_what_is_not_learning() -> None:
    one, ten = json.loads(printed("compare", "--impressions", "1500", "--json"))
    assert (one["ways"], ten["ways"]) == (1, 10)
    assert ten["learning"] > one["learning"] > 0
    assert 0 < ten["rest"] < 1


def test_advice_is_judged_by_what_it_was_not_given() -> None:
    """On streams of seeds that were not used while the rule was built; the second half is not known to it at all."""
    told = json.loads(
        printed("advice", "--streams", "10", "--clicks", "4000", "--seed", "2026", "--workers", "1", "--json")
    )
    for one in told["streams"]:
        assert 0 <= one["behind"] <= one["spread"]
    assert told["mean"]["inside"] <= 0.002
    assert told["mean"]["behind"] <= told["mean"]["spread"] / 2  # any way, blindly, loses about that
