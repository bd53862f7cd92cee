"""Topics are made, filled and looked into by commands."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_mtl.connectors.keys import partition_of
from stream_mtl.errors import Unavailable
from tests.cli.site import Site, market_in, truth
from tests.services.plugin import needs
from tests.services.registry import Registry
from tests.topics import Topics


def test_what_is_missing_is_made_and_what_is_there_is_left_alone(site: Site, topics: Topics) -> None:
    topics.admin.create(site.name("clicks"), 1)
    made = {one["topic"]: one for one in site.plain("topics", "create", "CONFIG")["topics"]}
    assert len(made) == 5
    assert [name for name, one in made.items() if not one["new"]] == [site.name("clicks")]
    configs = topics.admin.configs(site.name("impressions"))
    # two lives of 7 d and half an hour, remembered for an hour, and a week: 22 days
    assert (configs["cleanup.policy"], configs["retention.ms"]) == ("delete", str(22 * 86_400_000))
    code, out, err = site.ended("topics", "create", "CONFIG")
    assert (code, out.count("was there")) == (0, 5)
    assert "was left alone" in err and "topics check" in err


def test_a_replay_keeps_everything_and_letters_are_kept_once(site: Site, topics: Topics) -> None:
    site.run("topics", "create", "CONFIG", "--replay")
    assert topics.admin.configs(site.name("clicks"))["retention.ms"] == "-1"
    letters = topics.admin.configs(site.name("dead-letters"))
    assert letters["cleanup.policy"] == "compact,delete"
    assert int(letters["max.message.bytes"]) > 3 * (1 << 20)


def test_inputs_and_log_get_a_partition_for_each_joiner(sites: Callable[..., Site], topics: Topics) -> None:
    site = sites(partitions=3)
    site.run("topics", "create", "CONFIG")
    names = [site.name(name) for name in ("impressions", "clicks", "transitions", "dead-letters")]
    assert list(topics.admin.partitions(names).values()) == [3, 3, 3, 1]
    code, _, err = site.ended("topics", "create", "CONFIG", "--partitions", 2)
    assert code == 2 and "set join.partitions = 2" in err


def test_one_joiner_may_read_inputs_of_several_partitions(site: Site, topics: Topics) -> None:
    site.run("topics", "create", "CONFIG", "--partitions", 4)
    assert topics.admin.partitions([site.name("clicks"), site.name("transitions")]) == {
        site.name("clicks"): 4,
        site.name("transitions"): 1,
    }


def test_a_configuration_without_topics_says_so(market: Path, site: Site) -> None:
    site.path = market / "config.toml"
    code, _, err = site.ended("topics", "create", "CONFIG")
    assert (code, "names no topic" in err) == (2, True)


@pytest.mark.parametrize("format", ["avro", "jsonl", "csv"])
def test_files_that_were_sent_are_joined_as_the_truth_says(site: Site, tmp_path: Path, format: str) -> None:
    market = market_in(tmp_path / "market", format)
    site.run("topics", "create", "CONFIG", "--replay")
    filled = {
        one["topic"]: one for one in site.plain("topics", "fill", "CONFIG", "--events", market)["filled"]
    }
    assert filled[site.name("impressions")]["without_key"] == truth(market)["impression"]["malformed"] > 0
    assert site.joined() == truth(market)


def test_files_that_another_configuration_names_are_sent(site: Site, market: Path) -> None:
    site.run("topics", "create", "CONFIG", "--replay")
    filled = site.plain("topics", "fill", "CONFIG", "--from", market / "config.toml", "--limit", 50)["filled"]
    assert sum(one["records"] for one in filled) == 50


@pytest.mark.parametrize("format", ["avro", "confluent-avro"])
def test_avro_goes_as_it_is_with_its_schema_registered(
    sites: Callable[..., Site], market: Path, registry: Registry, tmp_path: Path, format: str
) -> None:
    from stream_mtl.connectors.peek import first_schema

    replaced = {}
    for kind in ("impression", "click", "conversion"):
        schema = first_schema(str(market / f"{kind}s"))
        assert schema is not None
        (tmp_path / f"{kind}.avsc").write_bytes(schema)
        declared = f'schema = "{kind}.avsc"' if format == "avro" else ""
        replaced[f"[events.{kind}]"] = f'[events.{kind}]\nformat = "{format}"\n{declared}\n'
    replaced["[kafka]"] = f'[kafka]\nregistry_url = "{registry.url}"'
    site = sites(**replaced).filled(market)
    assert site.joined() == truth(market)
    line = site.lines("topics", "peek", "CONFIG", site.name("clicks"), "--limit", 1)[0]
    assert line["kind"] == "click" and line["key"] == line["fields"]["exposure_id"]


def test_records_lie_where_their_key_belongs_at_the_time_of_the_event(
    sites: Callable[..., Site], market: Path
) -> None:
    site = sites(partitions=3).filled(market)
    lines = site.lines("topics", "peek", "CONFIG", site.name("clicks"), "--limit", 60)
    events = [line for line in lines if "kind" in line and "malformed" not in line]
    assert {line["partition"] for line in events} == {0, 1, 2}
    for line in events:
        assert line["key"] == line["fields"]["exposure_id"]
        assert line["partition"] == partition_of(line["key"].encode(), 3)
        assert line["time_ms"] == line["event_time_ms"]


def test_what_the_broker_would_delete_at_once_is_not_sent(site: Site, market: Path) -> None:
    site.run("topics", "create", "CONFIG")
    code, out, err = site.ended("topics", "fill", "CONFIG", "--events", market)
    assert (code, out) == (2, "")
    assert "would delete them" in err and "--replay" in err


def test_filling_needs_the_topics_and_the_files(site: Site, market: Path, tmp_path: Path) -> None:
    code, _, err = site.ended("topics", "fill", "CONFIG", "--events", market)
    assert code == 2 and "there is no topic" in err and "stream-mtl topics create" in err
    code, _, err = site.ended("topics", "fill", "CONFIG", "--events", tmp_path / "nowhere")
    assert code == 2 and "holds no folder of events; looked for impressions/" in err
    code, _, err = site.ended("topics", "fill", "CONFIG")
    assert code == 2 and "--events FOLDER, or --from CONFIG" in err


def test_bad_records_are_shown_with_the_reason(site: Site, topics: Topics) -> None:
    site.run("topics", "create", "CONFIG", "--replay")
    topics.write(site.name("clicks"), [b"{nonsense", b"\xff\x00", None], key=lambda _: b"k")
    lines = site.lines("topics", "peek", "CONFIG", site.name("clicks"))
    assert [line["malformed"] for line in lines] == ["not_json", "not_json", "empty"]
    assert lines[0]["text"] == "{nonsense" and lines[1]["hex"] == "ff00" and lines[2]["text"] == ""


def test_the_log_is_shown_as_rows(site: Site, market: Path) -> None:
    accounts = site.filled(market).joined()
    rows = site.lines("topics", "peek", "CONFIG", site.name("transitions"), "--limit", 100_000)
    assert {row["kind"] for row in rows} == {"exposed", "final"}
    shown = [row for row in rows if row["kind"] == "exposed"]
    assert len(shown) == accounts["impression"]["joined"]
    assert "price" in shown[0]["fields"] and shown[0]["keys"] == {
        "exposure_id": shown[0]["fields"]["exposure_id"]
    }
    bought = [row for row in rows if row["labels"]["cvr"] and row["labels"]["cvr"]["label"] == 1]
    assert {row["labels"]["ctr"]["label"] for row in bought} == {1}
    assert all(row["labels"]["ctr"]["at"].startswith("2024-01-") for row in bought)
    assert all(row["labels"]["order_value"]["value"] > 0 for row in bought)


def test_headers_and_claims_of_the_log_are_shown_on_demand(site: Site, market: Path) -> None:
    site.filled(market).joined()
    first, second = site.lines(
        "topics", "peek", "CONFIG", site.name("transitions"), "--headers", "--limit", 2
    )
    assert first["claim"]["epoch"] == 1
    assert second["header"]["progress"][0]["source"].startswith("kafka:impressions")


def test_headers_of_records_are_shown_on_demand(site: Site, topics: Topics) -> None:
    site.run("topics", "create", "CONFIG", "--replay")
    held = [("trace", b"7f"), ("raw", b"\xff")]
    topics.write(site.name("clicks"), [b"{}"], headers=held)
    topics.write(site.name("clicks"), [b"{}"])
    look = ("topics", "peek", "CONFIG", site.name("clicks"))
    first, second = site.lines(*look, "--headers")
    assert first["headers"] == [{"name": "trace", "text": "7f"}, {"name": "raw", "hex": "ff"}]
    assert not any("headers" in line for line in [second, *site.lines(*look)])


def test_what_a_fenced_joiner_has_written_is_marked_as_void(site: Site, market: Path, topics: Topics) -> None:
    from stream_mtl.connectors.claims import take_over

    site.filled(market).joined()
    topic = site.name("transitions")
    log = topics.kafka.partition(topic, 0)
    late = log.read(0)[-1].value  # a part of epoch 1
    take_over(log, "another", {})
    (offset,) = log.append([late])
    log.close()
    marked = [
        line for line in site.lines("topics", "peek", "CONFIG", topic, "--limit", 9_999) if "void" in line
    ]
    (line,) = marked
    assert (line["offset"], line["void"]["epoch"]) == (offset, 1)
    assert "epoch 2 was claimed before it" in line["void"]["why"]


def test_a_look_may_begin_before_the_end(site: Site, market: Path) -> None:
    site.filled(market)
    topic = site.name("impressions")
    last = site.lines("topics", "peek", "CONFIG", topic, "--offset", -2)
    assert len(last) == 2
    again = site.lines("topics", "peek", "CONFIG", topic, "--offset", last[1]["offset"], "--partition", 0)
    assert again == last[1:]


def test_a_look_at_what_is_not_there_says_what_is(site: Site) -> None:
    site.run("topics", "create", "CONFIG")
    code, _, err = site.ended("topics", "peek", "CONFIG", "clix")
    assert (code, "names no topic" in err) == (2, True)
    topic = site.name("clicks")
    assert "it has 0 to 0" in site.ended("topics", "peek", "CONFIG", topic, "--partition", 7)[2]
    assert "holds offsets 0 to 0" in site.ended("topics", "peek", "CONFIG", topic, "--offset", 7)[2]
    assert site.run("topics", "peek", "CONFIG", topic) == ""


@needs("restart")
def test_a_broker_that_is_away_is_unavailable(own_broker, tmp_path: Path, market: Path) -> None:  # type: ignore[no-untyped-def]
    broker = own_broker()
    topics = Topics(broker.bootstrap)
    site = Site(topics, tmp_path, more="\n")
    topics.close()
    broker.stop()
    words = ("-X", "kafka.connect_timeout=1s")
    for command in (
        ("topics", "create", "CONFIG"),
        ("topics", "check", "CONFIG"),
        ("topics", "peek", "CONFIG", site.name("clicks")),
        ("topics", "fill", "CONFIG", "--events", market),
        ("offsets", "show", "CONFIG"),
        ("offsets", "reset", "CONFIG", "--dry-run"),
        ("dlq", "list", "CONFIG"),
    ):
        code, out, err = site.ended(*command, *words)
        assert (code, out) == (Unavailable.exit_code, "")
        assert broker.bootstrap in err and "is it running?" in err


def test_json_holds_no_number_that_json_has_not() -> None:
    from stream_mtl.processes.readable import finite, shown

    assert json.dumps(finite({"a": [float("nan"), 1.0]}), allow_nan=False) == '{"a": ["nan", 1.0]}'
    assert shown(b"x" * 3_000)["bytes"] == 3_000
    assert shown(b"\xff")["hex"] == "ff"
