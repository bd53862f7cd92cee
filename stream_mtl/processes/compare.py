"""Several ways of treating late labels over the same events: one read, one join, and learners side by side on its log."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from stream_mtl.clock import BEGINNING, Millis
from stream_mtl.config.challengers import CHAMPION, challenger, with_challengers
from stream_mtl.config.labels import is_labelled
from stream_mtl.config.load import Loaded
from stream_mtl.config.problems import nearest
from stream_mtl.config.values import parse_method
from stream_mtl.errors import ConfigError
from stream_mtl.join.log import FileLog
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.label.oracle import reads_ahead
from stream_mtl.label.plan import joint_name, lives
from stream_mtl.learn.grades import Span
from stream_mtl.learn.panel import Graded
from stream_mtl.processes.crew import Accounts
from stream_mtl.processes.declared import Declared, declared_together
from stream_mtl.processes.joined import Progress, joined
from stream_mtl.processes.recipe import prepare_torch, recipe_of
from stream_mtl.processes.shares import Share, run
from stream_mtl.processes.stop import Stop

_TOGETHER = 10
"""Learners that one process has in memory at once."""


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What is compared, and on what."""

    ways: tuple[str, ...]  # methods ("es_dfm:15m"), challengers by name, or "champion"
    tasks: tuple[str, ...] = ()  # whose method is compared; none: the label that takes longest to be final
    seeds: int = 1
    rates: tuple[float, ...] = ()  # factors of the learning rates to be tried with each; none: 1 alone
    grade_after: Millis | None = None  # from the first exposure on; None: one life of a label
    workers: int = 1  # processes


@dataclass(frozen=True, slots=True)
class Trial:
    """One learner."""

    way: str
    rate: float  # factor of the learning rates
    seed: int


@dataclass(frozen=True, slots=True)
class Read:
    """What was read and joined, once for all."""

    accounts: Accounts
    first: Millis  # exposure
    last: Millis
    told_before: Millis
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison came to."""

    loaded: Loaded
    tasks: tuple[str, ...]
    outputs: tuple[str, ...]  # what is graded: the tasks, and their products where all learn these
    settings: dict[str, tuple[str, ...]]  # way -> what it has otherwise than the configuration
    span: Span
    read: Read
    trials: dict[Trial, Graded]
    learned_seconds: float
    oracles: frozenset[str]  # the ways that read ahead
    stopped: bool


Settings: TypeAlias = dict[str, tuple[str, ...]]


def compare(
    loaded: Loaded, options: CompareOptions, folder: Path, stop: Stop, progress: Progress
) -> Compared:
    """Join the events of a configuration once, and let every way learn from them. Raises ConfigError, DataError.

    Dead letters go to `folder`, and for as long as it takes the log of transitions.
    """
    if is_labelled(loaded.config):
        raise ConfigError(
            "--compare: rows that bring their labels are never late; there is nothing to compare"
        )
    tasks = options.tasks or (latest_label(loaded),)
    settings = settings_of(loaded, options.ways, tasks)
    prepare_torch(loaded.config)
    base, trials = _entered(loaded, settings, options)
    champion, *entered = declared_together(base)
    made = dict(zip(trials, entered, strict=True))
    outputs = _outputs(tasks, entered)
    log = folder / "joined"
    shutil.rmtree(log, ignore_errors=True)
    try:
        read = _spool(champion, log, folder / "dead-letters", stop, progress)
        span = _span(champion, outputs, read, options.grade_after)
        begun = time.perf_counter()
        shares = [
            Share({t: recipe_of(made[t]) for t in some}, log, outputs, span) for some in _shared_out(trials)
        ]
        graded = run(shares, options.workers, stop, progress)
    finally:
        shutil.rmtree(log, ignore_errors=True)
    oracles = {trial.way for trial, one in made.items() if _reads_ahead(one)}
    return Compared(
        loaded=loaded,
        tasks=tasks,
        outputs=outputs,
        settings=settings,
        span=span,
        read=read,
        trials=graded,
        learned_seconds=time.perf_counter() - begun,
        oracles=frozenset(oracles),
        stopped=stop(),
    )


def ways_of(text: str) -> tuple[str, ...]:
    """Return what "wait:15m,dfm:1h,6h,fnw" names: a wait that stands alone belongs to the method before it."""
    ways: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part[0].isdigit() and ways and ":" in ways[-1]:
            ways[-1] += f",{part}"
        else:
            ways.append(part)
    return tuple(dict.fromkeys(ways))


def settings_of(loaded: Loaded, ways: Sequence[str], tasks: Sequence[str]) -> Settings:
    """Return what each way has otherwise than the configuration. Raises ConfigError for one that there is not."""
    declared = loaded.config.challengers
    for task in tasks:
        if task not in loaded.config.tasks:
            raise ConfigError(f'--tasks: there is no task "{task}"; {nearest(task, loaded.config.tasks)}')
    if not ways:
        raise ConfigError("--compare names nothing; write methods: --compare wait:24h,fnw,es_dfm:15m,oracle")
    settings: Settings = {}
    for way in ways:
        if way == CHAMPION:
            settings[way] = ()
        elif way in declared:
            settings[way] = tuple(declared[way])
        else:
            settings[way] = tuple(f"tasks.{task}.method={_method(way)}" for task in tasks)
    return settings


def latest_label(loaded: Loaded) -> str:
    """Return the label that takes longest to be final."""
    made = declared_together(with_challengers(loaded, {}))[0]
    ends = lives(made.plan, made.chain)
    labels = [task.name for task in made.plan.tasks if not task.regression]
    if not labels:
        raise ConfigError("--compare: no task is a label; values are taught once, when they are final")
    return max(reversed(labels), key=lambda name: ends[name])


def _method(way: str) -> str:
    try:
        return str(parse_method(way))
    except ValueError as error:
        raise ConfigError(f"--compare {way}: {error}; or name a challenger, or {CHAMPION}") from None


def _entered(
    loaded: Loaded, settings: Settings, options: CompareOptions
) -> tuple[Loaded, dict[Trial, tuple[str, ...]]]:
    """Return the configuration with every learner as a challenger, and the learners in their order."""
    if options.seeds < 1:
        raise ConfigError("--seeds must be 1 at least")
    if any(rate <= 0 for rate in options.rates):
        raise ConfigError("--rates are factors, and above zero")
    first = loaded.config.learn.seed
    trials = {
        Trial(way, rate, seed): (*own, *rates_of(loaded, own, rate), f"learn.seed={seed}")
        for seed in range(first, first + options.seeds)
        for way, own in settings.items()
        for rate in options.rates or (1.0,)
    }
    return with_challengers(loaded, {str(trial): own for trial, own in trials.items()}), trials


def rates_of(loaded: Loaded, settings: Sequence[str], factor: float) -> tuple[str, ...]:
    """Return what makes both learning rates of a way so many times what they are."""
    if factor == 1:
        return ()
    way = challenger(with_challengers(loaded, {"way": settings}), "way")
    recipe = recipe_of(next(one for one in declared_together(way) if one.name == "way"))
    rates = {"learning_rate": recipe.rate, "embedding_learning_rate": recipe.learn.row_rate}
    return tuple(f"learn.{name}={rate * factor:.6g}" for name, rate in rates.items())


def _outputs(tasks: Sequence[str], made: Sequence[Declared]) -> tuple[str, ...]:
    joint = [joint_name(task) for task in tasks]
    return (*tasks, *(name for name in joint if all(name in one.plan.outputs for one in made)))


def _spool(made: Declared, log: Path, letters: Path, stop: Stop, progress: Progress) -> Read:
    """Join, and write the log for all who learn from it."""
    begun, cpu = time.perf_counter(), time.process_time()
    spool = FileLog(log, sync=False)
    accounts: Accounts = {}
    first, last, told_before = None, BEGINNING, BEGINNING
    for header, transitions in joined(made, letters, stop, progress):
        spool.append(header, transitions)
        accounts, told_before = header.accounts, header.told_before
        for time_ in _exposed(transitions):
            first, last = time_ if first is None else min(first, time_), max(last, time_)
    if first is None:
        raise ConfigError(
            "--compare: no exposure was joined; `replay` without it says what became of the records"
        )
    return Read(accounts, first, last, told_before, time.perf_counter() - begun, time.process_time() - cpu)


def _exposed(transitions: Transitions) -> Iterator[Millis]:
    """Give the first and the last time of the exposures of a batch, if it tells any."""
    kind, time_ = (transitions.rows.column(name).to_numpy() for name in ("kind", "time"))
    times = time_[kind == Telling.EXPOSED]
    if len(times):
        yield from (int(np.min(times)), int(np.max(times)))


def _span(made: Declared, outputs: Sequence[str], read: Read, after: Millis | None) -> Span:
    """Return which exposures are graded.

    Those whose last label the log tells, and not those of the beginning: before the first label is final nobody can
    know how many are late. At least the second half is graded, however long that takes.
    """
    ends = lives(made.plan, made.chain)
    life = max(ends[name.removeprefix("joint.")] for name in outputs)
    until = min(read.last + 1, read.told_before - life)
    if until <= read.first:
        raise ConfigError(
            "--compare: no label is final by the end of the events: they reach over less time than the windows of "
            f"{', '.join(outputs)}"
        )
    since = read.first + (life if after is None else after)
    if after is None:
        since = min(since, read.first + (until - read.first) // 2)
    if since >= until:
        raise ConfigError("--grade-after leaves nothing to be graded; let it be shorter")
    return Span(since, until)


def _shared_out(trials: Sequence[Trial] | dict[Trial, tuple[str, ...]]) -> list[list[Trial]]:
    """Return the learners in portions of one seed each, so that fields are encoded once for all of a portion."""
    portions: list[list[Trial]] = []
    for seed in sorted({trial.seed for trial in trials}):
        some = [trial for trial in trials if trial.seed == seed]
        parts = -(-len(some) // _TOGETHER)
        portions += [some[part::parts] for part in range(parts)]
    return portions


def _reads_ahead(made: Declared) -> bool:
    return any(reads_ahead(method) for method in made.plan.methods.values())
