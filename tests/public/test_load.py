"""What is loaded is what the log says: every row is an event or set aside, and events are in order of their time."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from stream_mtl.cli import app
from stream_mtl.errors import ConfigError, DataError
from stream_mtl.processes.replay import Replayed, replay
from stream_mtl.public.load import Loaded, load
from stream_mtl.public.logs import LOGS
from tests.processes.small import loaded as configured
from tests.public.logs import DAY, clicks


def silent(done: int, total: int, rows: int) -> None:
    """Say nothing."""


def load_text(text: str | bytes, folder: Path, log: str = "criteo", name: str = "log.tsv") -> Loaded:
    """Load a log of this text into folder/out."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(LOGS[log], path, folder / "out", silent)


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the events of one kind in the order of its files, times in ms."""
    rows: list[Any] = []
    for path in sorted(folder.glob("*.avro")):
        with path.open("rb") as file:
            rows += fastavro.reader(file)
    for row in rows:
        row["ts"] = round(row["ts"].timestamp() * 1000)
    return rows


def aside(folder: Path) -> list[tuple[int, str]]:
    """Return number and reason of the rows that were set aside."""
    lines = (folder / "out/unreadable.jsonl").read_text().splitlines()
    return [(line["row"], line["reason"]) for line in map(json.loads, lines)]


def replayed(folder: Path, overrides: Sequence[str] = ()) -> Replayed:
    """Replay what was loaded."""
    made = configured(folder / "out/config.toml", list(overrides))
    return replay(made, folder / "letters", lambda: False, lambda *_: None)


@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_every_click_and_conversion_is_an_event_in_order_of_time(tmp_path: Path, memory: int) -> None:
    log = clicks(3_000, days=20)
    load(LOGS["criteo"], log.write(tmp_path / "log.tsv"), tmp_path / "out", silent, memory)
    found = events(tmp_path / "out/clicks")
    assert [row["ts"] for row in found] == (np.sort(log.click) * 1_000).tolist()
    of_row = {row["click_id"]: row for row in found}
    assert sorted(of_row) == list(range(1, 3_001))
    for i, line in enumerate(log.lines()[:300], 1):
        click, _, *values = line.split("\t")
        row = of_row[i]
        assert row["ts"] == int(click) * 1_000
        assert [row[f"n{j}"] for j in range(1, 9)] == [int(v) if v else None for v in values[:8]]
        assert [row[f"c{j}"] for j in range(1, 10)] == [v or None for v in values[8:]]
    came = events(tmp_path / "out/conversions")
    assert [row["ts"] for row in came] == sorted(row["ts"] for row in came)
    assert {(row["click_id"], row["ts"]) for row in came} == {
        (i + 1, int(at) * 1_000) for i, at in enumerate(log.conversion) if at >= 0
    }
    assert not (tmp_path / "out/.sorting").exists()


def test_what_is_loaded_does_not_depend_on_memory_or_packing(tmp_path: Path) -> None:
    log = clicks(2_000, days=9)
    text = log.write(tmp_path / "log.tsv").read_bytes()
    (tmp_path / "log.tsv.gz").write_bytes(gzip.compress(text))
    load(LOGS["criteo"], tmp_path / "log.tsv", tmp_path / "a", silent)
    load(LOGS["criteo"], tmp_path / "log.tsv.gz", tmp_path / "b", silent, memory=1)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) > 9
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_folder_of_files_is_one_log_whose_rows_are_numbered_on(tmp_path: Path) -> None:
    lines = clicks(100, days=2).lines()
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.tsv").write_text("\n".join([*lines[:40], "too\tfew"]))
    (folder / "b.tsv").write_text("\n".join(lines[40:]))
    made = load(LOGS["criteo"], folder, tmp_path / "out", silent)
    assert (made.rows, made.events["click"]) == (101, 100)
    assert {row["click_id"] for row in events(tmp_path / "out/clicks")} == {*range(1, 102)} - {41}
    assert aside(tmp_path) == [(41, "2 columns in place of 19")]


def test_a_row_that_cannot_be_read_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    good = clicks(6, days=1).lines()
    rest = good[0].split("\t", 2)[2]
    bad = {
        "2 columns in place of 19": "1\t2",
        "20 columns in place of 19": good[0] + "\tmore",
        "click time is missing": "\t\t" + rest,
        "click time is no whole number": "yesterday\t\t" + rest,
        "click time is out of range": "-5\t\t" + rest,
        "conversion time is no whole number": "5\t6.5\t" + rest,
        "conversion time is out of range": "5\t99999999999\t" + rest,
        "the conversion precedes its click": "50\t49\t" + rest,
        "n1 is no whole number": "5\t\t" + "\t".join(["0x1f", *rest.split("\t")[1:]]),
    }
    lines = [good[0], *(line for pair in zip(good[1:], bad.values(), strict=False) for line in pair)]
    lines += [*list(bad.values())[5:], good[-1]]
    made = load_text("\n".join(lines), tmp_path)
    assert made.unreadable == dict.fromkeys(bad, 1)
    assert made.rows == made.events["click"] + len(bad) == len(lines)
    assert dict(map(reversed, aside(tmp_path))) == {  # type: ignore[arg-type]
        reason: lines.index(text) + 1 for reason, text in bad.items()
    }
    kept = (tmp_path / "out/unreadable.jsonl").read_text().splitlines()
    assert {json.loads(line)["text"] for line in kept} == set(bad.values())


def test_text_that_is_not_utf8_is_set_aside_and_the_rest_of_its_portion_is_read(tmp_path: Path) -> None:
    lines = [line.encode() for line in clicks(5, days=1).lines()]
    lines[2] = lines[2].rsplit(b"\t", 1)[0] + b"\t\xff\xfe"
    made = load_text(b"\n".join(lines), tmp_path)
    assert made.unreadable == {"c9 is not UTF-8": 1}
    assert made.events["click"] == 4


def test_quotes_and_line_ends_of_windows_are_no_trouble(tmp_path: Path) -> None:
    lines = clicks(4, days=1).lines()
    lines[1] = lines[1].rsplit("\t", 1)[0] + '\t"half'
    load_text("\r\n".join(lines) + "\r\n", tmp_path)
    assert {row["c9"] for row in events(tmp_path / "out/clicks")} >= {'"half'}
    assert not any("\r" in (row["c9"] or "") for row in events(tmp_path / "out/clicks"))


@pytest.mark.parametrize(
    ("log", "text", "words"),
    [
        ("criteo", "1,2,3\n", "1 tab-separated columns, and not 19"),
        ("criteo", "1\t2\t3\n", "3 tab-separated columns, and not 19"),
        ("cascade", clicks(1).lines()[0], "19 tab-separated columns, and not 25"),
        ("criteo-attribution", "timestamp\tuid\tclick\n1\t2\t0\n", "does not name the columns campaign"),
        ("criteo", "\n\n", "is empty"),
        ("criteo", "\t".join("x" * 19) + "\n", "no row can be read"),
    ],
)
def test_a_file_of_other_columns_is_refused_in_words(tmp_path: Path, log: str, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_text(text, tmp_path, log)
    assert not (tmp_path / "out/config.toml").exists()


def test_a_file_that_is_not_there_or_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file to load"):
        load(LOGS["criteo"], tmp_path / "none", tmp_path / "out", silent)
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_text(b"no gzip at all", tmp_path, name="log.gz")
    packed = gzip.compress("\n".join(clicks(5_000).lines()).encode())
    with pytest.raises(DataError, match="cannot be"):
        load_text(packed[: len(packed) // 2], tmp_path / "b", name="log.tsv.gz")


def test_a_folder_that_holds_events_is_not_written_over(tmp_path: Path) -> None:
    text = "\n".join(clicks(5, days=1).lines())
    load_text(text, tmp_path)
    with pytest.raises(ConfigError, match="is there already"):
        load_text(text, tmp_path)


def test_a_loaded_log_can_be_replayed_at_once(tmp_path: Path) -> None:
    log = clicks(2_000, days=40)
    load(LOGS["criteo"], log.write(tmp_path / "log.tsv"), tmp_path / "out", silent)
    made = replayed(tmp_path)
    came = int((log.conversion >= 0).sum())
    assert made.accounts["click"]["joined"] == 2_000
    assert made.accounts["conversion"]["joined"] == came
    assert made.tally.told["cvr"] > 2_000


def test_a_log_in_which_nothing_converts_can_be_replayed(tmp_path: Path) -> None:
    load_text("\n".join(clicks(50, days=40, rate=0).lines()), tmp_path)
    assert replayed(tmp_path).accounts["conversion"]["joined"] == 0


def test_the_command_says_what_became_of_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = clicks(20, days=3).write(tmp_path / "log.tsv")
    with path.open("a") as file:
        file.write("1\t2\n")
    app(["load", "criteo", str(path), str(tmp_path / "out"), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["events"]["click"]) == (21, 20)
    assert told["unreadable"] == {"2 columns in place of 19": 1}


ATTRIBUTION = """
timestamp\tuid\tcampaign\tconversion\tconversion_timestamp\tconversion_id\tattribution\tclick\tclick_pos\tclick_nb\tcost\tcpo\ttime_since_last_click\tcat1\tcat2\tcat3\tcat4\tcat5\tcat6\tcat7\tcat8\tcat9
0\t20073966\t22589171\t0\t-1\t-1\t0\t0\t-1\t-1\t1e-05\t0.390794\t-1\t1\t2\t3\t4\t5\t6\t7\t8\t9
3\t7306395\t29427842\t1\t1449193\t3063962\t0\t1\t0\t7\t9.4e-05\t0.154785\t-1\t1\t2\t3\t4\t5\t6\t7\t8\t9
2\t24607497\t884761\t0\t-1\t-1\t0\t1\t-1\t-1\t1e-05\t0.0596\t423858\t1\t2\t3\t4\t5\t6\t7\t8\t9
9\t24607497\t884761\t1\t99\t17\t1\t0\t-1\t-1\t1e-05\t0.0596\t5\t1\t2\t3\t4\t5\t6\t7\t8\t9
9\t1\t2\t1\t-1\t17\t1\t1\t-1\t-1\t1e-05\t0.0596\t5\t1\t2\t3\t4\t5\t6\t7\t8\t9
9\t1\t2\t2\t-1\t17\t1\t1\t-1\t-1\t1e-05\tx\t5\t1\t2\t3\t4\t5\t6\t7\t8\t9
""".strip()


def test_the_attribution_log_gives_impressions_clicks_and_the_conversions_of_clicks(tmp_path: Path) -> None:
    made = load_text(ATTRIBUTION, tmp_path, "criteo-attribution")
    assert made.events == {"impression": 4, "click": 2, "conversion": 1}
    assert made.left_out == {"conversions of impressions without a click, left out": 1}
    assert made.unreadable == {"a conversion without its time": 1, "conversion is neither 0 nor 1": 1}
    shown = events(tmp_path / "out/impressions")
    assert [(row["ts"], row["impression_id"], row["since_click"]) for row in shown] == [
        (0, 1, None),
        (2_000, 3, 423_858),
        (3_000, 2, None),
        (9_000, 4, 5),
    ]
    assert (shown[0]["cost"], shown[0]["uid"]) == (1e-05, "20073966")
    assert events(tmp_path / "out/conversions") == [
        {"ts": 1_449_193_000, "impression_id": 2, "conversion_id": 3_063_962, "attribution": 0}
    ]
    accounts = replayed(tmp_path).accounts
    assert {kind: counts["joined"] for kind, counts in accounts.items()} == made.events


def test_the_columns_of_the_attribution_log_may_be_in_any_order(tmp_path: Path) -> None:
    turned = "\n".join("\t".join(reversed(line.split("\t"))) for line in ATTRIBUTION.splitlines())
    assert load_text(turned, tmp_path / "b", "criteo-attribution") == load_text(
        ATTRIBUTION, tmp_path / "a", "criteo-attribution"
    )
    for kind in ("impressions", "clicks", "conversions"):
        assert events(tmp_path / "a/out" / kind) == events(tmp_path / "b/out" / kind)


def cascade(*times: str, feature: str = "['x', 'y']") -> str:
    """Return a row of CASCADE."""
    return "\t".join([*times, *["7"] * 20, feature, ""])


def test_cascade_gives_clicks_payments_and_refunds_of_raw_and_of_processed_rows(tmp_path: Path) -> None:
    start = 1_746_000_000
    rows = [
        cascade(f"{start}", f"[{start + 60}, {start + 90}]", f"[{start + 2 * DAY}]"),
        cascade(f"{start + 5}", f"['{start + 65}']", "[]", feature="plain"),
        cascade(f"{start + 9}", "-1", "-1"),
        cascade(f"{start + 7}", r"\N", "", feature="[]"),
        cascade(f"{start}", "[]", f"[{start + 4}]"),
        cascade(f"{start}", f"[{start - 1}]", "[]"),
        cascade(f"{start}", f"{start + 9}", f"{start + 8}"),
    ]
    made = load_text("\n".join(rows), tmp_path, "cascade")
    assert made.events == {"click": 4, "pay": 2, "refund": 1}
    assert set(made.unreadable) == {
        "a refund without a payment",
        "the payment precedes its click",
        "the refund precedes its payment",
    }
    found = events(tmp_path / "out/clicks")
    assert [row["click_id"] for row in found] == [1, 2, 4, 3]
    assert [row["f21"] for row in found] == ["x", "plain", None, "x"]
    assert {row["f22"] for row in found} == {None}
    assert [(row["click_id"], row["ts"] // 1_000 - start) for row in events(tmp_path / "out/pays")] == [
        (1, 60),
        (2, 65),
    ]
    assert [row["ts"] // 1_000 - start for row in events(tmp_path / "out/refunds")] == [2 * DAY]
    accounts = replayed(tmp_path).accounts
    assert {kind: counts["joined"] for kind, counts in accounts.items()} == made.events


def test_a_first_line_that_names_the_times_of_cascade_is_skipped(tmp_path: Path) -> None:
    names = "\t".join(["click_time", "pay_time", "refund_time", *(f"x{i}" for i in range(22))])
    made = load_text("\n".join([names, cascade("5", "[]", "[]")]), tmp_path, "cascade")
    assert (made.rows, made.events["click"]) == (1, 1)
