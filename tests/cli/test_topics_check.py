"""What is wrong with topics is found, and each finding says what to do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream_mtl.clock import DAY, system_clock
from stream_mtl.config.load import load
from stream_mtl.connectors.keys import partition_of
from stream_mtl.processes.declared import Declared, declared
from stream_mtl.processes.topic_check import Finding, check
from stream_mtl.processes.topic_facts import Sampled, TopicFacts, facts_of
from stream_mtl.processes.topic_size import estimate
from stream_mtl.processes.topics import lifetime, planned
from tests.cli.site import Site
from tests.test_cli_config import ROOT
from tests.topics import Topics


def of_example(*overrides: str) -> Declared:
    return declared(load(ROOT / "examples/kafka.toml", {}, overrides))


def facts(made: Declared, topic: str, partitions: int = 1, **settings: str) -> list[TopicFacts]:
    """Return all topics as they should be, but for one with some other settings."""
    found = []
    for one in planned(made):
        own = {"min.insync.replicas": "2", "max.message.bytes": "1048588", **one.settings}
        if one.name == topic:
            own |= {name.replace("_", "."): value for name, value in settings.items()}
        count = partitions if one.name == topic else one.partitions
        home = partition_of(b"k", count)
        samples = (Sampled(home, b"k", b"k", 100, 50),) if one.role == "input" else ()
        found.append(TopicFacts(one, count, 3, own, 10, 2.0, samples))
    return found


def bad(made: Declared, topics: Sequence[TopicFacts]) -> list[tuple[str, str, str]]:
    found = [one for one in check(made, topics) if one.level != "ok"]
    assert all(one.remedy for one in found)
    return [(one.topic, one.rule, one.level) for one in found]


def test_topics_as_they_should_be_have_nothing_wrong() -> None:
    made = of_example()
    assert bad(made, facts(made, "")) == []


@pytest.mark.parametrize(
    ("topic", "settings", "rule", "level"),
    [
        ("clicks", {"retention_ms": str(DAY)}, "retention", "wrong"),
        ("transitions", {"retention_ms": str(14 * DAY)}, "retention", "wrong"),
        ("clicks", {"retention_ms": str(int(14.5 * DAY))}, "retention", "warning"),
        ("clicks", {"retention_bytes": "1000"}, "retention", "warning"),
        ("clicks", {"cleanup_policy": "compact"}, "compaction", "wrong"),
        ("transitions", {"cleanup_policy": "compact,delete"}, "compaction", "wrong"),
        ("dead-letters", {"cleanup_policy": "delete"}, "compaction", "warning"),
        ("dead-letters", {"retention_ms": "-1"}, "retention", "warning"),
        ("dead-letters", {"retention_ms": "1000"}, "retention", "warning"),
        ("dead-letters", {"max_message_bytes": "1048588"}, "sizes", "warning"),
        ("transitions", {"max_message_bytes": "900000"}, "sizes", "wrong"),
        ("clicks", {"message_timestamp_type": "LogAppendTime"}, "times", "warning"),
        ("clicks", {"message_timestamp_before_max_ms": "1000"}, "times", "warning"),
        ("clicks", {"min_insync_replicas": "1"}, "copies", "warning"),
        ("clicks", {"unclean_leader_election_enable": "true"}, "copies", "warning"),
    ],
)
def test_a_setting_that_is_not_right_is_found(
    topic: str, settings: dict[str, str], rule: str, level: str
) -> None:
    made = of_example()
    assert bad(made, facts(made, topic, **settings)) == [(topic, rule, level)]


def test_inputs_and_log_need_a_partition_for_each_of_several_joiners() -> None:
    made = of_example("join.partitions=3")
    assert ("clicks", "partitions", "wrong") in bad(made, facts(made, "clicks", partitions=2))
    assert bad(made, facts(made, "transitions", partitions=1)) == [("transitions", "partitions", "wrong")]


def test_one_joiner_reads_inputs_of_any_number() -> None:
    made = of_example()
    found = check(made, facts(made, "clicks", partitions=4))
    assert [one for one in found if one.level != "ok"] == []
    assert any(one.rule == "together" and "several joiners could not" in one.says for one in found)


def test_a_topic_that_is_missing_and_settings_that_may_not_be_seen_are_said() -> None:
    made = of_example()
    topics = facts(made, "")
    topics[0] = TopicFacts(topics[0].planned, None)
    topics[1] = TopicFacts(topics[1].planned, 1, 3, None, 10, 2.0, topics[1].samples)
    assert bad(made, topics) == [("impressions", "there", "wrong"), ("clicks", "settings", "warning")]


def keyed(made: Declared, samples: Sequence[Sampled]) -> list[Finding]:
    topics = facts(made, "")
    topics[1] = TopicFacts(topics[1].planned, 3, 3, topics[1].settings, 10, 2.0, tuple(samples))
    wanted = [("clicks", "keys"), ("clicks", "records"), ("", "together")]
    return [one for one in check(made, topics) if (one.topic, one.rule) in wanted]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (None, "they have no key"),
        (b"a", "their key is right, but another partitioner"),
        (b"b", "they are keyed by something else"),
    ],
)
def test_a_record_that_lies_elsewhere_than_its_chain_belongs_is_wrong(key: bytes | None, why: str) -> None:
    made = of_example("join.partitions=3")
    elsewhere = (partition_of(b"a", 3) + 1) % 3
    found = keyed(made, [Sampled(elsewhere, key, b"a", 10, 5)])
    assert [one.level for one in found if one.rule == "keys"] == ["wrong"]
    assert why in next(one.says for one in found if one.rule == "keys")
    alone = keyed(of_example(), [Sampled(elsewhere, key, b"a", 10, 5)])
    assert [one.level for one in alone if one.rule == "keys"] == ["warning"]


def test_a_chain_that_lies_in_two_partitions_is_wrong() -> None:
    made = of_example("join.partitions=3")
    home = partition_of(b"k", 3)
    found = keyed(made, [Sampled(home, b"k", b"k", 10, 5), Sampled((home + 1) % 3, b"k", b"k", 10, 5)])
    assert [(one.level, "chain k lies in" in one.says) for one in found if one.rule == "together"] == [
        ("wrong", True)
    ]


def test_records_that_are_no_events_are_said() -> None:
    made, broken = of_example(), Sampled(0, None, None, 10, 0, "not_json: at byte 1")
    (found,) = (one for one in keyed(made, [broken]) if one.rule == "records")
    assert found.level == "wrong" and "not_json" in found.says
    sound = Sampled(0, b"k", b"k", 9, 5)
    (found,) = (one for one in keyed(made, [broken, sound]) if one.rule == "records")
    assert (found.level, found.says[:6]) == ("warning", "1 of 2")


def test_what_the_rates_imply_grows_with_them() -> None:
    made = of_example()
    one, none = estimate(made, facts(made, "")), estimate(made, [])
    assert none is None and one is not None
    assert one.exposures_per_second == 2.0
    assert one.events_per_second == 6.0
    assert one.kept == lifetime(made) + 7 * DAY
    # exposures live half an hour and are remembered for an hour; clicked ones for half of the reach
    assert one.alive == 2 * 5_400 + 2 * lifetime(made) // 2 // 1_000


def level(site: Site, topic: str, rule: str, code: int) -> str:
    findings: list[dict[str, Any]] = site.plain("topics", "check", "CONFIG", code=code)["findings"]
    return next(one["level"] for one in findings if (one["topic"], one["rule"]) == (site.name(topic), rule))


def test_topics_that_were_made_and_filled_by_us_are_right(sites: Callable[..., Site], market: Path) -> None:
    site = sites(partitions=3).filled(market)
    plain = site.plain("topics", "check", "CONFIG")
    assert {one["level"] for one in plain["findings"] if one["rule"] not in ("copies", "records")} == {"ok"}
    assert plain["estimate"]["exposures_per_second"] > 0
    code, out, _ = site.ended("topics", "check", "CONFIG")
    assert code == 0 and "exposures and" in out and "lie where their chain's key belongs" in out


def test_what_is_wrong_ends_with_code_2(site: Site, topics: Topics) -> None:
    topics.admin.create(site.name("clicks"), 1, configs={"cleanup.policy": "compact", "retention.ms": "1000"})
    assert level(site, "impressions", "there", 2) == "wrong"
    assert level(site, "clicks", "compaction", 2) == "wrong"
    assert level(site, "clicks", "retention", 2) == "wrong"
    code, out, _ = site.ended("topics", "check", "CONFIG")
    assert code == 2 and "stream-mtl topics create" in out and "cleanup.policy=delete" in out


def test_keys_that_somebody_else_has_placed_are_found(sites: Callable[..., Site], topics: Topics) -> None:
    site = sites(partitions=3)
    site.run("topics", "create", "CONFIG", "--replay")
    click = b'{"click_id": "c", "exposure_id": "e", "ts": 1704067200000}'
    away = (partition_of(b"e", 3) + 1) % 3
    topics.write(site.name("clicks"), [click], away, key=lambda _: b"e")
    assert level(site, "clicks", "keys", 2) == "wrong"
    impression = b'{"exposure_id": "e", "ts": 1704067200000}'
    topics.write(site.name("impressions"), [impression], partition_of(b"e", 3), key=lambda _: b"e")
    findings = site.plain("topics", "check", "CONFIG", code=2)["findings"]
    assert any(one["rule"] == "together" and "chain e lies in" in one["says"] for one in findings)


def test_rates_are_known_from_offsets_and_times(site: Site, market: Path) -> None:
    site.filled(market)
    made = declared(load(site.path, {}))
    found = {one.planned.role: one for one in facts_of(made, system_clock)}
    assert found["input"].rate is not None and found["transitions"].rate is None
