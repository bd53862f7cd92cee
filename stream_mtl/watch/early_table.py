"""The table of what is known before labels are final: every number in it says that it is a proxy or an estimate."""

from collections.abc import Iterable, Sequence

from stream_mtl.watch.parts import Early, TaskReport
from stream_mtl.watch.readings import SO_FAR, WAITING, Corrected, OutputReadings, Proxy
from stream_mtl.watch.tables import Column, Table, TextCell, Tone, tone_of
from stream_mtl.watch.words import DASH, count, known, lapse, moment, ratio

ABOUT = "≈"
"""Stands before every estimate."""
TERMS = (
    ("proxy", "predicted / events known so far: too high, for some still come"),
    (
        ABOUT,
        "estimated final calibration, from how late events came before; the interval holds it 95 times in 100",
    ),
)


def early_of(output: OutputReadings, window: str) -> Early:
    """Return what is shown of an output: of the view that has the sharpest estimate, else of this window."""
    view = output.sharpest or window
    seen = output.proxy.get(SO_FAR, {})
    view = view if view in seen else WAITING
    looks = {
        horizon: views[view] for horizon, views in output.proxy.items() if horizon != SO_FAR and view in views
    }
    why_not = output.uncorrected or "too few events are known"
    corrected = output.corrected.get(view)
    return Early(output.ripe_before, output.maturity, view, seen.get(view), corrected, why_not, looks)


def has_anything(early: Early) -> bool:
    """Return whether anything is known."""
    waiting = early.maturity is not None and early.maturity.waiting is not None
    return waiting or early.proxy is not None or early.corrected is not None


def early_rows(tasks: Sequence[TaskReport]) -> list[tuple[str, Early]]:
    """Return the rows of a report, of tasks of which anything is known."""
    return [(task.name, task.early) for task in tasks if task.early is not None and has_anything(task.early)]


def early_table(rows: Iterable[tuple[str, Early]], head: str = "task") -> Table:
    """Return the table, a row for every output."""
    columns = (
        Column(head),
        Column("final before", "every exposure shown before it is counted as final (event time, UTC)"),
        Column("newest", "event time since the newest exposure that is counted as final was shown"),
        Column("waiting", "served exposures whose label is not final yet"),
        Column("mature", "of the exposures of the view, those whose label is final"),
        Column("of", "clocks that started in the last so much event time, or all that wait for a label"),
        Column("proxy", TERMS[0][1]),
        Column("events in", "share of their events that should have come by now", "in"),
        Column(f"{ABOUT} final", TERMS[1][1]),
        Column("95 %", "interval of the estimate"),
    )
    return Table(columns, [_row(name, early) for name, early in rows])


def proxy_cell(proxy: Proxy | None) -> TextCell:
    """Return a proxy: never in a tone, for it means nothing good or bad."""
    value = None if proxy is None else proxy.calibration
    if proxy is None or known(value) is None:
        return TextCell(DASH, "no event is known yet", "quiet")
    return TextCell(
        ratio(value), f"proxy: labels known {lapse(proxy.horizon)} after the clock's start", "quiet"
    )


def corrected_cell(corrected: Corrected | None, why_not: str) -> TextCell:
    """Return an estimate, in the tone of that end of its interval which is nearest to one."""
    if corrected is None:
        return TextCell(DASH, why_not, "quiet")
    return TextCell(f"{ABOUT} {ratio(corrected.calibration)}", _says(corrected), tone_of_interval(corrected))


def interval_cell(corrected: Corrected | None, why_not: str) -> TextCell:
    """Return the interval of an estimate."""
    if corrected is None:
        return TextCell(DASH, why_not, "quiet")
    return TextCell(f"{corrected.low:.2f} to {corrected.high:.2f}", _says(corrected), "quiet")


def tone_of_interval(corrected: Corrected) -> Tone:
    """Return how an estimate is to be taken: what chance may have done is no alarm."""
    return tone_of(min(max(1.0, corrected.low), corrected.high))


def view_name(view: str) -> str:
    """Return a view in words."""
    return "all" if view == WAITING else view


def _row(name: str, early: Early) -> list[TextCell]:
    maturity = early.maturity
    untold = "the log does not tell when its clock starts; give the task a look"
    waiting = None if maturity is None else maturity.waiting
    newest = None if maturity is None else maturity.newest_age
    share = None if maturity is None else maturity.shares.get(early.view)
    complete = None if early.corrected is None else early.corrected.complete
    return [
        TextCell(name),
        TextCell(moment(early.ripe_before)),
        TextCell(lapse(newest), "" if newest is not None else "nothing is counted yet"),
        TextCell(count(waiting), "" if waiting is not None else untold),
        _share(share, untold if waiting is None else "no clock started"),
        TextCell(view_name(early.view)),
        proxy_cell(early.proxy),
        _share(complete, early.why_not),
        corrected_cell(early.corrected, early.why_not),
        interval_cell(early.corrected, early.why_not),
    ]


def _share(value: float | None, why: str) -> TextCell:
    return TextCell(DASH, why, "quiet") if value is None else TextCell(f"{value:.0%}".replace("%", " %"))


def _says(corrected: Corrected) -> str:
    return (
        f"estimated from {count(corrected.examples)} clocks and the delays of {count(corrected.delays)} events; "
        "not final"
    )
