"""A process says what Prometheus may know: renewed by itself, read by a server beside it, counted from its own beginning."""

import math
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from structlog.testing import capture_logs

from stream_mtl.clock import SECOND, system_clock
from stream_mtl.errors import Unavailable
from stream_mtl.processes.metrics import MetricsPage, Since
from stream_mtl.processes.top import STALE
from stream_mtl.testing import ManualClock
from tests.processes.scraped import families, page_of, values
from tests.processes.small import SMALL, market, truth

HOST = "127.0.0.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000)


@pytest.fixture
def page(clock: ManualClock) -> Iterator[MetricsPage]:
    with capture_logs(), MetricsPage("join", HOST, 0, clock) as one:
        yield one


def counted(*values: float) -> list[Metric]:
    """Return a counter and a gauge of every partition."""
    counter = CounterMetricFamily("seen", "What was seen.", labels=("partition",))
    gauge = GaugeMetricFamily("waiting", "What waits.", labels=("partition",))
    for number, value in enumerate(values):
        counter.add_metric((str(number),), value)
        gauge.add_metric((str(number),), value)
    return [counter, gauge]


def get(page: MetricsPage, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"{page.address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def seen(metrics: Iterator[Metric]) -> dict[str, list[float]]:
    return {metric.name: [sample.value for sample in metric.samples] for metric in metrics}


def test_counters_begin_at_zero_and_gauges_are_what_they_are() -> None:
    since = Since()
    since.begin(counted(100, 7))
    assert seen(since(counted(103, 7, 5))) == {"seen": [3, 0, 5], "waiting": [103, 7, 5]}


def test_what_is_begun_again_begins_at_zero_again() -> None:
    since = Since()
    since.begin(counted(100))
    since.begin(counted(300))
    assert seen(since(counted(310)))["seen"] == [10]


def test_a_count_that_went_back_is_no_negative_one() -> None:
    since = Since()
    since.begin(counted(100))
    assert seen(since(counted(99)))["seen"] == [0]


def test_a_page_is_renewed_once_a_second_and_not_worked_out_more_often(
    page: MetricsPage, clock: ManualClock
) -> None:
    page.begin(lambda: counted(10))
    page.say(lambda: counted(11))
    page.say(lambda: counted(12))
    assert values(get(page, "/metrics")[1], "seen_total", "partition") == {"0": 1}
    clock.advance(SECOND)
    page.say(lambda: counted(13))
    assert values(get(page, "/metrics")[1], "seen_total", "partition") == {"0": 3}


def test_a_page_says_what_runs_and_whether_something_is_away(page: MetricsPage, clock: ManualClock) -> None:
    page.say(list)
    assert values(get(page, "/metrics")[1], "streammtl_problem", "role") == {"join": 0}
    clock.advance(SECOND)
    page.say(list, "the broker does not answer")
    said = get(page, "/metrics")[1]
    assert values(said, "streammtl_problem", "role") == {"join": 1}
    assert values(said, "streammtl_start_time_seconds", "") == {"": 1_000}
    assert "streammtl_build_info" in families(said)


def test_a_process_that_starts_is_alive_and_not_ready(page: MetricsPage, clock: ManualClock) -> None:
    clock.advance(10 * STALE)
    assert get(page, "/healthz")[0] == HTTPStatus.OK
    assert get(page, "/readyz") == (HTTPStatus.SERVICE_UNAVAILABLE, "it is starting\n")
    page.say(list)
    assert get(page, "/readyz") == (HTTPStatus.OK, "ready\n")


def test_a_process_that_waits_is_alive_and_not_ready_and_says_why(
    page: MetricsPage, clock: ManualClock
) -> None:
    page.say(list, "the disk is full")
    assert get(page, "/healthz")[0] == HTTPStatus.OK
    assert get(page, "/readyz") == (HTTPStatus.SERVICE_UNAVAILABLE, "the disk is full\n")
    clock.advance(SECOND)
    page.say(list)
    assert get(page, "/readyz")[0] == HTTPStatus.OK


def test_a_process_that_does_nothing_any_more_is_not_alive(page: MetricsPage, clock: ManualClock) -> None:
    page.say(list)
    clock.advance(STALE)
    assert get(page, "/healthz")[0] == HTTPStatus.OK
    clock.advance(SECOND)
    assert get(page, "/healthz") == (HTTPStatus.SERVICE_UNAVAILABLE, "nothing was done for 31 s\n")
    assert get(page, "/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE


def test_another_path_is_not_found_and_a_query_does_not_matter(page: MetricsPage) -> None:
    assert get(page, "/")[0] == HTTPStatus.NOT_FOUND
    assert get(page, "/metrics?name=up")[0] == HTTPStatus.OK


def test_without_a_port_nothing_is_served_or_worked_out(clock: ManualClock) -> None:
    def never() -> list[Metric]:
        raise AssertionError("worked out")

    with MetricsPage("join", HOST, None, clock) as page:
        page.begin(never)
        page.say(never)
        assert page.address is None


def test_a_port_that_is_taken_is_refused_with_its_name(page: MetricsPage, clock: ManualClock) -> None:
    port = int((page.address or "").rpartition(":")[2])
    with pytest.raises(Unavailable, match=f"{HOST}:{port} cannot be listened on.*metrics_port"):
        MetricsPage("train", HOST, port, clock).__enter__()


def test_joiner_and_trainer_count_what_they_did(tmp_path: Path) -> None:
    config = market(tmp_path / "market", 600)
    begin = system_clock()
    said = page_of("join", config, SMALL, begin)
    expected = truth(config)
    fates = values(said, "streammtl_join_records_total", "kind")
    pending = values(said, "streammtl_join_pending", "kind")
    assert {kind: fates[kind] + pending[kind] for kind in fates} == {
        kind: sum(counts.values()) for kind, counts in expected.items()
    }
    assert values(said, "streammtl_partitions_assigned", "") == {"": 1}
    assert values(said, "streammtl_join_blocks_total", "partition")["0"] > 0
    assert len(values(said, "streammtl_watermark_timestamp_seconds", "partition")) == 1
    assert set(values(said, "streammtl_source_silent", "source").values()) <= {0, 1}

    again = page_of("join", config, SMALL, begin)
    assert set(values(again, "streammtl_join_records_total", "kind").values()) == {0}

    learned = page_of("train", config, SMALL, begin)
    steps = values(learned, "streammtl_train_steps_total", "")[""]
    assert 0 < steps <= values(learned, "streammtl_train_rows_total", "")[""]
    assert set(values(learned, "streammtl_train_loss", "task")) == {"ctr", "cvr", "order_value"}
    assert values(learned, "streammtl_snapshot_version", "")[""] >= 0
    assert values(learned, "streammtl_snapshot_published_timestamp_seconds", "")[""] >= begin / 1_000 - 1
    again = page_of("train", config, SMALL, begin)
    assert values(again, "streammtl_train_steps_total", "")[""] == 0


def test_no_page_holds_what_is_no_number_and_no_label_comes_from_the_data(tmp_path: Path) -> None:
    config = market(tmp_path / "market", 300)
    begin = system_clock()
    known = {"partition", "kind", "fate", "source", "task", "role", "python", "version"}
    for role in ("join", "train"):
        for family in families(page_of(role, config, SMALL, begin)).values():
            for sample in family.samples:
                assert not math.isnan(sample.value), sample
                assert sample.labels.keys() <= known, sample
