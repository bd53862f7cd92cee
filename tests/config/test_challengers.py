"""Challengers are the configuration with some values of their own, and all share one log."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from stream_mtl.clock import HOUR, MINUTE
from stream_mtl.config.challengers import CHAMPION, challenger, family, with_challengers
from stream_mtl.config.load import Loaded, load
from stream_mtl.errors import ConfigError
from stream_mtl.processes.declared import declared

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.toml"


def loaded(*arguments: str) -> Loaded:
    return load(QUICKSTART, {}, arguments)


def test_a_challenger_differs_in_what_it_says_and_keeps_apart_what_it_makes() -> None:
    base = loaded(
        'challengers.fresh=["tasks.cvr.method=es_dfm:1h", "learn.seed=4"]', "learn.metrics_port=9000"
    )
    champion, fresh = family(base)
    assert champion is base and fresh.name == "fresh" and fresh.base is base
    assert fresh.config.tasks["cvr"].method.waits == (HOUR,) and fresh.config.learn.seed == 4
    assert fresh.config.learn.path == base.config.learn.path.parent / "challengers" / "fresh" / "learner"
    assert fresh.config.publish.path.parent.name == "fresh" and fresh.config.learn.metrics_port is None
    assert fresh.config.join == base.config.join and fresh.config.model == base.config.model
    assert base.config.tasks["cvr"].method.name == "fnw"


def test_the_log_holds_the_looks_of_all_and_is_the_same_for_all() -> None:
    base = with_challengers(
        loaded('tasks.cvr.looks=["2h"]'),
        {"a": ["tasks.cvr.method=es_dfm:1h"], "b": ["tasks.cvr.method=wait:15m"]},
    )
    made = [declared(one) for one in family(base)]
    assert {0, 15 * MINUTE, HOUR, 2 * HOUR} == set(made[0].chain.tasks[1].waits)
    assert made[0].declaration == made[1].declaration == made[2].declaration
    assert [one.plan.methods["cvr"].waits for one in made] == [(0,), (HOUR,), (15 * MINUTE,)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["events.click.within=3h"], "nothing that a challenger may choose"),
        (["tasks.cvr.given=x"], "would change the log"),
        (["learn.path=x"], "follows from its name"),
        (["learn.batch_siz=3"], 'did you mean "batch_size"'),
        (["tasks.cvr.method=wait:300d"], "longer than the window"),
        (["model.bottom=wide"], "bottom"),
        (["bla"], "bla"),
    ],
)
def test_what_a_challenger_may_not_say_is_refused_by_name(arguments: Sequence[str], says: str) -> None:
    base = with_challengers(loaded(), {"fresh": arguments})
    with pytest.raises(ConfigError, match=r"challengers\.fresh: ") as refused:
        challenger(base, "fresh")
    assert says in str(refused.value)


def test_there_is_no_other_challenger_than_those_that_are_declared() -> None:
    with pytest.raises(ConfigError, match='no challenger "fresh"'):
        challenger(loaded(), "fresh")
    assert CHAMPION not in loaded().config.challengers
