"""From the declared chain and tasks to what the join is built from."""

from collections.abc import Collection, Mapping

from stream_mtl.clock import Millis
from stream_mtl.config.declarations import Chain, Event
from stream_mtl.config.declarations import Task as DeclaredTask
from stream_mtl.config.sections import Config
from stream_mtl.config.units import format_duration
from stream_mtl.errors import ConfigError
from stream_mtl.events.types import Limits
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

_NO_CHAIN = Chain.model_construct(key=())  # of rows that come with their labels


def chain_spec(
    config: Config,
    waits: Mapping[str, Collection[Millis]] | None = None,
    features_on_final: bool = False,
) -> ChainSpec:
    """Return the chain with the looks that each task's method asks for (task -> waits, from its clock on).

    Kinds stand behind the kinds they follow, the root first; tasks as in the file. Raises ConfigError when a
    wait is longer than its task's window: it would never be told.
    """
    asked, chain = waits or {}, config.chain or _NO_CHAIN
    unknown = asked.keys() - config.tasks.keys()
    if unknown:
        raise ConfigError(f"tasks: waits are asked for {', '.join(sorted(unknown))}; declare such a task")
    spec = ChainSpec(
        key=chain_key(config),
        kinds=tuple(_kind(name, config.events[name]) for name in in_order(config)),
        tasks=tuple(_task(name, task, asked.get(name, ())) for name, task in config.tasks.items()),
        before=next((_kind(name, config.events[name]) for name in before_root(config)), None),
        lateness=chain.lateness,
        remember=chain.remember,
        features_on_final=chain.features_on_final or features_on_final,
        max_events=chain.max_events,
    )
    for task in spec.tasks:
        if fault := too_long(spec, task, task.waits):
            raise ConfigError(f"tasks.{task.name}.method: {fault}")
    return spec


def chain_key(config: Config) -> tuple[str, ...]:
    """Return the field or fields that every event carries; () for rows that belong to nothing."""
    return (config.chain or _NO_CHAIN).key


def limits(config: Config) -> Limits:
    """Return what a record may be at most."""
    most = config.join.limits
    return Limits(
        max_record_bytes=most.max_record_bytes,
        max_items=most.max_items,
        max_key_bytes=most.max_key_bytes,
        max_future_skew=config.join.max_future_skew,
    )


def in_order(config: Config) -> list[str]:
    """Return the kinds of the chain, each behind those it follows, otherwise as in the file."""
    left = [name for name, event in config.events.items() if event.before is None]
    placed: list[str] = []
    while left:
        ready = next((name for name in left if set(config.events[name].after) <= set(placed)), None)
        if ready is None:
            raise ConfigError(f"events: {', '.join(left)} follow no root; correct their `after`")
        left.remove(ready)
        placed.append(ready)
    return placed


def before_root(config: Config) -> list[str]:
    """Return the kind of served scores, which comes before the root; [] without one."""
    return [name for name, event in config.events.items() if event.before is not None]


def too_long(spec: ChainSpec, task: TaskSpec, waits: Collection[Millis]) -> str | None:
    """Return what is wrong with waits that no look can ever keep."""
    most = window(spec, task)
    longest = max(waits, default=0)
    if longest <= most:
        return None
    return (
        f"waits {format_duration(longest)}, longer than the window of {task.event}, {format_duration(most)}: "
        f"it would never be told; wait at most {format_duration(most)}, or raise events.{task.event}.within"
    )


def window(spec: ChainSpec, task: TaskSpec) -> Millis:
    """Return the longest time from the start of a task's clock to the end of its window."""
    kind = spec.kind(task.event)
    start = spec.root.name if task.given is None else _task_of(spec, task.given).event
    if kind.after == (start,) and kind.parent is None:
        return kind.within or 0
    return _reach(spec, kind)


def _reach(spec: ChainSpec, kind: KindSpec) -> Millis:
    """Return the longest time from an exposure to the end of a kind's window."""
    if not kind.after:
        return 0
    return (kind.within or 0) + max(_reach(spec, spec.kind(name)) for name in kind.after)


def less_of(text: str) -> tuple[str, str]:
    """Return the kind and the field that "refund.amount" names; an empty field where there is no dot."""
    kind, _, field = text.partition(".")
    return kind, field


def _task_of(spec: ChainSpec, name: str) -> TaskSpec:
    return next(task for task in spec.tasks if task.name == name)


def _kind(name: str, event: Event) -> KindSpec:
    return KindSpec(
        name=name,
        after=event.after,
        within=event.within,
        skew=event.skew,
        id=event.id,
        parent=event.parent,
        retracts=event.retracts,
    )


def _task(name: str, task: DeclaredTask, waits: Collection[Millis]) -> TaskSpec:
    return TaskSpec(
        name=name,
        event=task.event,
        given=task.given,
        value=task.value,
        how=task.how,
        waits=tuple(sorted(set(waits))),
        less=None if task.less is None else less_of(task.less),
        absent=task.absent,
    )
