"""The log says how far inputs were read; the group mirrors it, and can be set without harm."""

import uuid
from pathlib import Path

import pytest

from stream_mtl.connectors.keys import record_key
from stream_mtl.errors import ConfigError, Fenced
from stream_mtl.join.topic import TopicLog
from stream_mtl.processes.offsets import since, time_of
from stream_mtl.processes.tail import last_on_topic
from tests.cli.site import Site
from tests.contracts.test_transition_log import NOTHING, header, written
from tests.topics import Topics

IMPRESSION = '{{"exposure_id": "e{0}", "ts": {0}}}'


def group() -> tuple[str, str]:
    return "-X", f"kafka.group=group-{uuid.uuid4().hex}"


def test_what_the_last_block_has_is_the_truth(site: Site, market: Path, topics: Topics) -> None:
    site.filled(market)
    words = ("offsets", "show", "CONFIG", *group())
    before = {one["topic"]: one for one in site.plain(*words)["partitions"]}
    impressions = before[site.name("impressions")]
    assert impressions["committed"] is None and impressions["group"] is None
    assert impressions["lag"] == impressions["end"] > 600
    site.joined()
    after = {one["topic"]: one for one in site.plain(*words)["partitions"]}
    assert all(
        one["committed"] == one["end"] and one["lag"] == one["behind_ms"] == 0 for one in after.values()
    )
    with topics.kafka.courier() as courier:
        for time in (1_704_200_000_000, 1_704_200_060_000, 1_704_200_090_000):
            value = IMPRESSION.format(time).encode()
            courier.send(site.name("impressions"), value, record_key([f"e{time}"]), time=time)
        courier.settle()
    behind = {one["topic"]: one for one in site.plain(*words)["partitions"]}[site.name("impressions")]
    assert (behind["lag"], behind["behind_ms"]) == (3, 90_000)
    assert "1 min 30 s" in site.run(*words)


def test_a_log_in_a_folder_is_asked_too(site: Site, market: Path) -> None:
    site.filled(market)
    log = ("-X", "join.path=log")
    site.run("run", "join", "CONFIG", *log)
    found = site.plain("offsets", "show", "CONFIG", *log, *group())["partitions"]
    assert all(one["committed"] == one["end"] for one in found)


def test_a_reset_shows_what_it_would_write_and_writes_it(site: Site, market: Path, topics: Topics) -> None:
    site.filled(market).joined()
    words = ("offsets", "reset", "CONFIG", *group())
    shown = site.plain(*words, "--dry-run")
    assert shown["dry_run"] and topics.admin.group(words[-1].partition("=")[2]) == {}
    committed = {(one["topic"], one["partition"]): one["then"] for one in shown["partitions"]}
    code, _, err = site.ended(*words)
    assert code == 0 and "The log of transitions is the truth" in err
    assert topics.admin.group(words[-1].partition("=")[2]) == committed
    earliest = site.plain(*words, "--to", "earliest", "--dry-run")["partitions"]
    assert {(one["now"], one["then"]) for one in earliest} == {(at, 0) for at in committed.values()}
    noon = site.plain(*words, "--to", "2024-01-01T05:00:00Z", "--dry-run")["partitions"]
    assert all(0 < one["then"] < one["now"] for one in noon if one["topic"] == site.name("impressions"))


def test_without_a_block_there_is_nothing_to_reset_to(site: Site) -> None:
    site.run("topics", "create", "CONFIG")
    assert site.plain("offsets", "reset", "CONFIG", "--dry-run", *group())["partitions"] == []
    assert "no block is there yet" in site.ended("offsets", "show", "CONFIG", *group())[2]


def test_files_have_no_offsets(site: Site, market: Path) -> None:
    site.path = market / "config.toml"
    code, _, err = site.ended("offsets", "show", "CONFIG", "-X", "dead_letters.path=kafka:letters")
    assert code == 2 and "sources are files" in err


def test_an_unknown_topic_is_said(site: Site) -> None:
    code, out, err = site.ended("offsets", "show", "CONFIG")
    assert (code, out) == (2, "")
    assert "there is no topic" in err and "stream-mtl topics create" in err


def test_times_are_instants_or_so_long_ago() -> None:
    assert time_of("2024-01-01") == time_of("2024-01-01T00:00:00Z") == time_of("1704067200000")
    assert time_of("2024-01-01T01:00:00+01:00") == time_of("2024-01-01")
    assert since("2h", 10_000_000) == 2_800_000
    with pytest.raises(ConfigError, match="is no time; write one like"):
        since("yesterday", 0)


def test_the_newest_block_is_found_from_the_end_and_what_is_void_is_not(topics: Topics) -> None:
    name = topics.new()
    frozen = written(lambda: TopicLog(topics.kafka.partition(name, 0)), 90)
    owner = written(lambda: TopicLog(topics.kafka.partition(name, 0)), 92)
    with pytest.raises(Fenced):
        frozen.append(header(90, frozen), NOTHING)
    with topics.kafka.glance([(name, 0)]) as glance:
        end = glance.ends()[name, 0]
        assert end == 95  # two claims, 92 blocks, and one that is void
        found = last_on_topic(glance, (name, 0), 0, end)
        nothing = last_on_topic(glance, (name, 0), 0, 0)
    assert found is not None and (found.block, found.epoch) == (91, owner.epoch)
    assert nothing is None
