"""The live view: fits its terminal, shows what is known, and says on one line what it shows on a screen."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from stream_mtl.watch.readings import OutputReadings, Readings
from stream_mtl.watch.terminal import ProcessStatus, View, line, screen, spark

from .live import history, output, view


def drawn(view: View, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(screen(view, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits(width: int) -> None:
    lines = drawn(view(), width)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    assert any("ctr" in line and "1.009" in line for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_it_fits_however_much_there_is_to_show(width: int) -> None:
    outputs = {f"a_task_of_a_very_long_name_{i}": output("x", 1.0) for i in range(20)}
    broken = [ProcessStatus("train", "failed", {}, "a long problem " * 20)]
    full = replace(view(), readings=Readings(1, outputs), processes=[*view().processes, *broken])
    lines = drawn(full, width)
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width


def test_what_is_not_there_yet_is_not_shown() -> None:
    early = View("demo", 0, processes=[ProcessStatus("join", "starting"), ProcessStatus("serve", "running")])
    text = "\n".join(drawn(early, 80))
    assert "no readings yet" in text
    assert "starting" in text
    nothing = Readings(None, {"ctr": OutputReadings({}, [], {}, {}, None, 0, 0)})
    assert "–" in "\n".join(drawn(replace(early, readings=nothing), 80))
    assert "too few labels yet" in line(replace(early, readings=nothing))


@pytest.mark.parametrize("width", [80, 100])
def test_what_is_not_final_stands_apart_and_says_so(width: int) -> None:
    lines = drawn(view(), width)
    final, early = (
        next(i for i, line in enumerate(lines) if head in line) for head in ("final labels", "not final yet")
    )
    assert final < early
    assert "≈" not in "".join(lines[:early]) and "proxy" not in "".join(lines[:early])
    (row,) = (line for line in lines[early:] if line.split()[:1] == ["cvr"])
    for text in ("812", "84 %", "1.760", "≈ 0.880", "0.79 to 0.97"):
        assert text in row
    assert not any("order_value" in line for line in lines[early : early + 6])


def test_a_problem_stands_in_both_forms() -> None:
    assert "look at the joiner's log" in "\n".join(drawn(view(), 100))
    assert "look at the joiner's log" in line(view())


def test_without_a_terminal_a_refresh_is_one_line() -> None:
    assert "\n" not in line(view())
    for text in (
        "212k events/s",
        "p99 4.6 ms",
        "snapshot 8",
        "ctr calibration 1.01 NE 0.901 AUC 0.743 (812 wait, estimate ≈ 1.040, 0.94 to 1.14)",
    ):
        assert text in line(view())


def test_missing_facts_are_left_out_and_unknown_roles_show_their_own() -> None:
    some = [
        ProcessStatus("train", "running", {"step": None, "loss": 0.5}),
        ProcessStatus("gen", "running", {"written": 10, "name": "x", "empty": None}),
    ]
    said = line(View("demo", 0, processes=some))
    assert "train loss 0.5000" in said
    assert "gen written 10 name x empty –" in said


def test_bars_stand_for_calibration_on_a_fixed_scale() -> None:
    assert spark([0.1, 2 / 3, 1.0, 1.5, 9.0, None]).plain == "▁▁▅██ "
    assert [str(span.style) for span in spark([1.0, 1.2, 3.0]).spans] == ["green", "yellow", "red"]


def test_the_newest_readings_stand_at_the_right() -> None:
    long = replace(view(), history=history())
    row = next(line for line in drawn(long, 100) if line.strip().startswith("ctr"))
    newest = [line.outputs.get("ctr", {}).get("1h") for line in history()[-24:]]
    assert row.rstrip().endswith(
        spark([None if reading is None else reading.calibration for reading in newest]).plain
    )


def test_markup_in_a_problem_is_text() -> None:
    assert "[red]" in "\n".join(drawn(View("[b]x", 0, processes=[ProcessStatus("a", "b", {}, "[red]")]), 80))
