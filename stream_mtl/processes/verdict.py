"""From what a comparison came to, to the page and the table that say which way to take."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from stream_mtl.clock import Millis
from stream_mtl.config.values import parse_method
from stream_mtl.learn.panel import Graded
from stream_mtl.processes.compare import Compared, rates_of
from stream_mtl.watch.comparison import (
    Backtest,
    Contender,
    backtest,
    best_of_rates,
    recommend,
    share_of_gain,
)
from stream_mtl.watch.comparison_page import Compared as OutputCompared
from stream_mtl.watch.comparison_page import Comparison
from stream_mtl.watch.parts import Fact, NextStep
from stream_mtl.watch.words import count, lapse, moment, number, share


def comparison_of(made: Compared, title: str, config: Path) -> Comparison:
    """Return what is shown of a comparison."""
    tried = {output: contenders_of(made, output) for output in made.outputs}
    first = made.outputs[0]
    # One rate for a way, whatever is looked at: the one that served its first output best.
    rates = {one.name: one.rate for one in best_of_rates(tried[first])}
    outputs = [
        OutputCompared(output, _about(output), [one for one in all_ if one.rate == rates[one.name]], all_)
        for output, all_ in tried.items()
    ]
    return Comparison(
        title=title,
        subtitle=_subtitle(made),
        facts=list(_facts(made, outputs[0])),
        span=made.span,
        outputs=outputs,
        notes=list(_notes(made, outputs[0])),
        next_steps=list(_next_steps(made, outputs[0], config)),
        accounts=made.read.accounts,
    )


def backtest_of(made: Compared, output: str) -> Backtest | None:
    """Return what the way that the first half of the graded time recommends was worth in the second."""
    first, second = (contenders_of(made, output, half) for half in (0, 1))
    kept = {one.name: one.rate for one in best_of_rates(first)}
    return backtest(*([one for one in half if one.rate == kept[one.name]] for half in (first, second)))


def contenders_of(made: Compared, output: str, half: int | None = None) -> list[Contender]:
    """Return the ways, each with each step size, as they were graded in all the time or in one half of it."""
    groups: dict[tuple[str, float], list[Graded]] = {}
    for trial, graded in made.trials.items():
        groups.setdefault((trial.way, trial.rate), []).append(graded)
    return [
        Contender(
            name=way,
            marks=[(graded.marks if half is None else graded.halves[half])[output] for graded in some],
            examples=fmean(graded.tally.examples for graded in some),
            cpu_seconds=fmean(graded.cpu_seconds for graded in some),
            reads_ahead=way in made.oracles,
            rate=rate,
        )
        for (way, rate), some in groups.items()
    ]


def _about(output: str) -> str:
    if output.startswith("joint."):
        return f"{output.removeprefix('joint.')} and all before it together, over all exposures."
    return f"What was predicted of {output} when it was shown, before anything was learned of it, against its final label."


def _subtitle(made: Compared) -> str:
    seeds, rates = (len({getattr(trial, name) for trial in made.trials}) for name in ("seed", "rate"))
    several = [
        f"{seeds} seeds" if seeds > 1 else "",
        f"{rates} step sizes, the best of each way" if rates > 1 else "",
    ]
    return (
        f"Graded: {moment(made.span.since)} to {moment(made.span.until)} UTC"
        + "".join(f"; {text}" for text in several if text)
        + ". One read, one join; every way predicts each exposure when it is shown."
    )


def _facts(made: Compared, first: OutputCompared) -> Iterator[Fact]:
    advice = recommend(first.contenders)
    if advice.way is not None:
        yield Fact("To be taken", advice.way, "; ".join(advice.reasons[:1]))
    graded = first.contenders[0].marks[0]
    yield Fact(
        "Graded", count(sum(graded.examples)), f"{count(graded.positives)} positives, of {first.output}"
    )
    learning = sum(graded.cpu_seconds for graded in made.trials.values())
    yield Fact(
        "Learned",
        f"{number(learning, 3)} CPU s",
        f"{len(made.trials)} learners, {made.learned_seconds:.0f} s",
    )
    records = sum(n for counts in made.read.accounts.values() for fate, n in counts.items() if fate != "read")
    yield Fact(
        "Read and joined",
        f"{number(made.read.cpu_seconds, 3)} CPU s",
        f"{count(records)} records, once for all",
    )


def _notes(made: Compared, first: OutputCompared) -> Iterator[str]:
    if made.stopped:
        yield "This comparison was stopped before the end of the events."
    yield (
        f"Exposures before {moment(made.span.since)} were learned and not graded: the first "
        f"{lapse(made.span.since - made.read.first)} belong to the cold start. Those behind {moment(made.span.until)} "
        "have labels that the events do not tell any more."
    )
    yield from _gains(first)
    past = backtest_of(made, first.output)
    if past is not None:
        rest = "the best of it" if past.way == past.best else f"{number(past.behind, 2)} behind {past.best}"
        yield f"Had the first half of that time decided, {past.way} would have been taken, and in the second half been {rest}."
    if len({trial.rate for trial in made.trials}) > 1:
        yield (
            "The step size of each way was chosen on the exposures that are shown here; on others it may do a little "
            "worse."
        )


def _gains(first: OutputCompared) -> Iterator[str]:
    """Say which share of what an oracle gains over the longest wait the way to take gains."""
    taken = next((one for one in first.contenders if one.name == recommend(first.contenders).way), None)
    oracle = next((one for one in first.contenders if one.reads_ahead), None)
    waits = {max(waits): one for one in first.contenders if (waits := _waits(one.name))}
    if taken is None or oracle is None or not waits:
        return
    floor = waits[max(waits)]
    gained = share_of_gain(taken, floor, oracle)
    if gained is not None and taken is not floor:
        yield f"{taken.name} gains {share(gained)} of the log loss that {oracle.name} gains over {floor.name}."


def _waits(way: str) -> tuple[Millis, ...]:
    """Return how long a way of plain waiting waits; () of another."""
    if not way.startswith("wait:"):
        return ()
    return parse_method(way).waits


def _next_steps(made: Compared, first: OutputCompared, config: Path) -> Iterator[NextStep]:
    way = recommend(first.contenders).way
    if way is None:
        return
    rate = next(one.rate for one in first.contenders if one.name == way)
    settings = [*made.settings[way], *rates_of(made.loaded, made.settings[way], rate)]
    if settings:
        flags = " ".join(f"-X {setting}" for setting in settings)
        yield NextStep("See all of its report", f"stream-mtl replay {config} {flags}")
        challenger = ", ".join(f'"{setting}"' for setting in settings)
        yield NextStep(
            "Let it follow the live log beside what learns now",
            f"[challengers]  # in {config}\nnext = [{challenger}]\n\n"
            f"stream-mtl run train {config} --follow --challenger next",
        )
