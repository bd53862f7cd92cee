"""Dead letters are counted, shown, and sent again, once."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_mtl import cli
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.processes.join import join
from tests.cli.site import Site, truth
from tests.processes.small import loaded as files_loaded
from tests.processes.small import market as files_market
from tests.topics import Topics

GOOD = b'{"click_id": "c1", "exposure_id": "e1", "ts": 1704067200000}'


def lettered(site: Site, letters: Sequence[DeadLetter]) -> Site:
    """Make the topics, and write letters as a joiner does."""
    site.run("topics", "create", "CONFIG", "--replay")
    sink = DeadLetters(site.topics.kafka.sink(site.name("dead-letters")))
    for letter in letters:
        sink.add(letter)
    sink.close()
    return site


def of_clicks(site: Site, position: int, reason: str, value: bytes) -> DeadLetter:
    return DeadLetter(f"kafka:{site.name('clicks')}", 0, position, reason, value, "detail")


def test_letters_of_a_topic_and_of_a_folder_are_counted_alike(site: Site, market: Path) -> None:
    site.filled(market)
    folder = ("-X", "dead_letters.path=letters", "-X", "join.path=log", "-X", "join.state=other")
    accounts = site.joined()
    site.run("run", "join", "CONFIG", *folder)
    on_topic, in_folder = site.plain("dlq", "list", "CONFIG"), site.plain("dlq", "list", "CONFIG", *folder)
    assert accounts == truth(market)
    fates = [counts["malformed"] + counts["conflict"] for counts in accounts.values()]
    assert on_topic["letters"] == in_folder["letters"] == sum(fates) > 0
    plain = [
        [(c["source"], c["reason"], c["letters"]) for c in one["counts"]] for one in (on_topic, in_folder)
    ]
    assert plain[0] == plain[1]


def test_letters_can_be_narrowed_down(site: Site) -> None:
    lettered(
        site,
        [of_clicks(site, n, "not_json" if n % 2 else "empty", b"?") for n in range(5)]
        + [DeadLetter(f"kafka:{site.name('impressions')}", 0, 9, "empty", b"", time=1_000)],
    )
    source = f"kafka:{site.name('clicks')}"
    listed = site.plain("dlq", "list", "CONFIG", "--reason", "empty", "--source", source)
    assert listed["letters"] == 3
    assert listed["newest"][-1]["letter"] == f"{source}/0/4"
    assert site.plain("dlq", "list", "CONFIG", "--since", "1h")["letters"] == 5
    assert site.plain("dlq", "list", "CONFIG", "--source", site.name("impressions"))["letters"] == 1
    assert len(site.plain("dlq", "list", "CONFIG", "--limit", 2)["newest"]) == 2
    assert "none of these" in site.ended("dlq", "list", "CONFIG", "--reason", "no_such")[2]


def test_letters_of_files_can_be_narrowed_down_by_when_they_were_written(tmp_path: Path) -> None:
    config = files_market(tmp_path, knobs=["malformed=0.1"])
    join(files_loaded(config), lambda: False)
    listed = [
        json.loads(
            CliRunner().invoke(cli.app, ["dlq", "list", str(config), "--since", since, "--json"]).stdout
        )
        for since in ("1h", "2100-01-01T00:00")
    ]
    assert listed[0]["letters"] > listed[1]["letters"] == 0
    assert all(one["first_ms"] is not None for one in listed[0]["counts"])


def test_a_letter_shows_its_bytes_and_what_it_would_be_today(site: Site) -> None:
    lettered(site, [of_clicks(site, 3, "wrong_type", GOOD), of_clicks(site, 4, "not_json", b"\xff\x00")])
    name = f"kafka:{site.name('clicks')}/0/"
    good = site.plain("dlq", "show", "CONFIG", f"{name}3")
    assert good["text"] == GOOD.decode() and bytes.fromhex(good["hex"]) == GOOD
    assert good["today"][0]["kind"] == "click" and good["today"][0]["fields"]["click_id"] == "c1"
    bad = site.plain("dlq", "show", "CONFIG", f"{name}4")
    assert bad["hex"] == "ff00" and "text" not in bad
    assert bad["today"][0]["malformed"] == "not_json"
    code, _, err = site.ended("dlq", "show", "CONFIG", f"{name}99")
    assert code == 2 and "there is no letter" in err and "dlq list" in err


def test_what_is_an_event_today_is_sent_once_with_its_key_and_a_mark(site: Site, topics: Topics) -> None:
    site.run("topics", "create", "CONFIG", "--replay")
    clicks = site.name("clicks")
    with topics.kafka.courier() as courier:
        courier.send(clicks, GOOD, b"e1", time=1_704_067_200_000)
        courier.settle()
    lettered(site, [of_clicks(site, 0, "schema_unknown", GOOD), of_clicks(site, 1, "not_json", b"{nonsense")])
    tried = site.plain("dlq", "replay", "CONFIG", "--dry-run")
    assert (tried["sent"], topics.admin.end(clicks)) == (1, {0: 1})
    sent = site.plain("dlq", "replay", "CONFIG")
    assert {one["sent_to"] for one in sent["letters"]} == {f"kafka:{clicks}/0/1", ""}
    assert any("is no event today either: not_json" in one["passed_over"] for one in sent["letters"])
    first, second = site.lines("topics", "peek", "CONFIG", clicks)
    assert {name: first[name] for name in first if name != "offset"} == {
        name: second[name] for name in second if name != "offset"
    }
    assert marks(topics, clicks) == [[], [("stream-mtl-replay-of", f"kafka:{clicks}/0/0".encode())]]
    again = site.plain("dlq", "replay", "CONFIG")
    assert (again["sent"], topics.admin.end(clicks)) == (0, {0: 2})
    assert any(one["passed_over"].startswith("was sent before") for one in again["letters"])


def marks(topics: Topics, topic: str) -> list[list[tuple[str, bytes]]]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=topics.options.bootstrap_servers)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    records = [next(consumer) for _ in range(2)]
    consumer.close()
    return [list(record.headers) for record in records]


def test_what_comes_back_does_not_go_round_in_a_circle(site: Site, topics: Topics) -> None:
    lettered(site, [of_clicks(site, 7, "not_json", b"{nonsense")])
    assert site.plain("dlq", "replay", "CONFIG")["sent"] == 0
    assert site.plain("dlq", "replay", "CONFIG", "--anyway")["sent"] == 1
    lettered(site, [of_clicks(site, 0, "not_json", b"{nonsense")])  # as a joiner finds it again
    verdicts = site.plain("dlq", "replay", "CONFIG", "--anyway")["letters"]
    assert [one["passed_over"].partition(":")[0] for one in verdicts] == [
        "was sent before, and is kafka",
        "came back",
    ]
    newest = site.plain("dlq", "list", "CONFIG")["newest"]
    assert [("sent_again_to" in one, "came_back_of" in one) for one in newest] == [
        (True, False),
        (False, True),
    ]


def test_what_is_too_late_to_be_joined_is_not_sent(site: Site, market: Path) -> None:
    site.filled(market).joined()  # to its end
    lettered(site, [of_clicks(site, 10_000, "schema_unknown", GOOD)])
    words = ("dlq", "replay", "CONFIG", "--reason", "schema_unknown")
    (verdict,) = site.plain(*words)["letters"]
    assert verdict["passed_over"].startswith("would be late")
    assert site.plain(*words, "--anyway")["sent"] == 1


def test_letters_of_files_become_lines_of_a_new_file(site: Site, tmp_path: Path) -> None:
    from tests.cli.site import market_in

    market = market_in(tmp_path / "files")
    site.path = market / "config.toml"
    site.joined()
    code, _, err = site.ended("dlq", "replay", "CONFIG")
    assert code == 2 and "--to FILE.jsonl" in err
    target = tmp_path / "again.jsonl"
    listed = site.plain("dlq", "list", "CONFIG")
    out = site.plain("dlq", "replay", "CONFIG", "--to", target, "--reason", "time_out_of_range", "--anyway")
    counts = [one["letters"] for one in listed["counts"] if one["reason"] == "time_out_of_range"]
    assert out["sent"] == sum(counts) > 0
    lines = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert all(line["ts"] < 0 for line in lines) and "exposure_id" in lines[0]
    assert (
        site.plain("dlq", "replay", "CONFIG", "--to", target, "--anyway", "--reason", "time_out_of_range")[
            "sent"
        ]
        == 0
    )


def test_a_topic_of_letters_that_is_not_there_is_said(site: Site) -> None:
    code, out, err = site.ended("dlq", "list", "CONFIG")
    assert (code, out) == (2, "") and "there is no topic" in err


def test_a_folder_without_letters_has_none(site: Site) -> None:
    assert "no dead letter" in site.ended("dlq", "list", "CONFIG", "-X", "dead_letters.path=none")[2]


def test_a_partition_that_is_gone_is_said(site: Site) -> None:
    letter = DeadLetter(f"kafka:{site.name('clicks')}", 5, 0, "schema_unknown", GOOD)
    lettered(site, [letter])
    code, _, err = site.ended("dlq", "replay", "CONFIG")
    assert code == 2 and "no partition 5 any more" in err


@pytest.mark.parametrize("reason", ["unreadable", "conflict"])
def test_what_are_not_the_bytes_of_a_record_are_never_sent(site: Site, reason: str) -> None:
    lettered(site, [of_clicks(site, 1, reason, GOOD)])
    assert site.plain("dlq", "replay", "CONFIG", "--anyway")["sent"] == 0
