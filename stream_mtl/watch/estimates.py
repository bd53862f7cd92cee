"""What is read of an output before its labels are final: how mature they are, the proxy, and the delay-corrected estimate."""

from collections.abc import Mapping
from dataclasses import dataclass

from stream_mtl.clock import END, Millis
from stream_mtl.watch.corrected import LEAST_DELAYS, LEAST_KNOWN, Seen, estimate
from stream_mtl.watch.readings import LIFE, SO_FAR, WAITING, Corrected, Maturity, Proxy
from stream_mtl.watch.runoff import Runoff
from stream_mtl.watch.words import count, window_name

Windows = Mapping[str, Millis]
"""The windows of a board, by name."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of an output before its labels are final; the fields are those of `OutputReadings`."""

    maturity: Maturity
    proxy: Mapping[str, Mapping[str, Proxy]]
    corrected: Mapping[str, Corrected]
    uncorrected: str | None


def maturity_of(runoff: Runoff, newest: Millis | None, windows: Windows, told_before: Millis) -> Maturity:
    """Return how mature the labels are; `newest` is when the newest exposure that is counted was shown."""
    shares = {name: runoff.mature(window, told_before) for name, window in _views(windows).items()}
    return Maturity(
        waiting=runoff.waiting(),
        newest_age=told_before - newest if newest is not None and told_before < END else None,
        shares={name: share for name, share in shares.items() if share is not None},
    )


def proxies_of(
    runoff: Runoff, windows: Windows, told_before: Millis, least: int
) -> dict[str, dict[str, Proxy]]:
    """Return the proxies, by horizon and view; one of fewer than `least` examples is left out."""
    if not runoff.course.tells_of_events:
        return {}
    found = {window_name(look): _looked(runoff, look, windows, least) for look in runoff.looks}
    seen = {name: runoff.seen(window, told_before) for name, window in _views(windows).items()}
    found[SO_FAR] = {name: _so_far(one) for name, one in seen.items() if one.clocks.sum() >= max(least, 1)}
    return {horizon: views for horizon, views in found.items() if views}


def corrected_of(
    runoff: Runoff, windows: Windows, told_before: Millis, least: int
) -> tuple[dict[str, Corrected], str | None]:
    """Return the estimates of the final calibration, by view, and why there is none of the clocks that wait."""
    if not runoff.course.tells_of_events:
        return {}, runoff.course.silent
    delays, border, found = runoff.delays(), runoff.border(told_before), {}
    for name, window in _views(windows).items():
        seen = runoff.seen(window, told_before)
        made = estimate(seen, delays) if seen.clocks.sum() >= max(least, 1) else None
        if made is not None:
            clocks = float(seen.clocks.sum())
            found[name] = Corrected(
                examples=round(clocks),
                upto=border,
                calibration=made.ratio,
                low=made.low,
                high=made.high,
                standard_error=made.error,
                predicted=float(seen.promised.sum()) / clocks,
                complete=made.complete,
                delays=round(float(delays.sum())),
            )
    if WAITING in found:
        return found, None
    return found, _reason(runoff.seen(None, told_before), float(delays.sum()), least)


def _views(windows: Windows) -> dict[str, Millis | None]:
    return {WAITING: None, **windows}


def _looked(runoff: Runoff, look: Millis, windows: Windows, least: int) -> dict[str, Proxy]:
    everything: dict[str, Millis | None] = {LIFE: None, **windows}
    found = {name: runoff.looked(look, window).tolist() for name, window in everything.items()}
    return {name: _proxy(look, *sums) for name, sums in found.items() if sums[0] >= max(least, 1)}


def _so_far(seen: Seen) -> Proxy:
    clocks = float(seen.clocks.sum())
    age = round(float(seen.age @ seen.clocks) / clocks)
    return _proxy(age, clocks, float(seen.promised.sum()), float(seen.known.sum()))


def _proxy(horizon: Millis, clocks: float, promised: float, known: float) -> Proxy:
    return Proxy(
        horizon=horizon,
        examples=round(clocks),
        predicted=promised / clocks,
        known=known / clocks,
        calibration=promised / known if known > 0 else None,
    )


def _reason(seen: Seen, delays: float, least: int) -> str:
    clocks = float(seen.clocks.sum())
    if delays < LEAST_DELAYS:
        return (
            f"{count(delays)} events have a final label; {LEAST_DELAYS} are needed to know how late they come"
        )
    if clocks < max(least, 1):
        return f"{count(clocks)} clocks wait; {max(least, 1)} are needed"
    if seen.known.sum() < LEAST_KNOWN:
        return f"{count(seen.known.sum())} events of those that wait are known; {LEAST_KNOWN} are needed"
    return "no score promises anything yet"
