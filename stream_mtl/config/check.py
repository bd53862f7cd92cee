"""What a configuration must make sense of beyond its types, one function a rule."""

import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import TypeAlias

from stream_mtl.config import check_back, check_broker, check_labels, check_model, check_registry, formats
from stream_mtl.config.chains import before_root, chain_key, chain_spec, too_long
from stream_mtl.config.declarations import Categorical, Numeric, Sequence
from stream_mtl.config.labels import is_labelled
from stream_mtl.config.problems import Problem, nearest
from stream_mtl.config.sections import Config

Rule: TypeAlias = Callable[[Config], Iterator[Problem]]


def check(config: Config) -> list[Problem]:
    """Return everything that is wrong with the sense of a configuration whose types are right."""
    problems = [problem for rule in RULES for problem in rule(config)]
    # A window can only be measured along a chain that is one.
    return problems or list(_waits(config))


def _names(config: Config) -> Iterator[Problem]:
    for section, names in _named(config):
        lowered: dict[str, str] = {}
        for name in names:
            if not _is_name(name):
                text = (
                    f'"{name}" is no name; use letters, digits and single _ between them, no Python keyword'
                )
                yield Problem((section, name), text)
            if name.lower() in lowered:
                twin = lowered[name.lower()]
                yield Problem((section, name), f'differs from "{twin}" in case only; rename one of them')
            lowered[name.lower()] = name


def _named(config: Config) -> Iterator[tuple[str, Iterable[str]]]:
    yield "events", config.events
    yield "tasks", config.tasks
    yield "features", config.features
    yield "challengers", config.challengers


def _key(config: Config) -> Iterator[Problem]:
    key = chain_key(config)
    if not all(key):
        yield Problem(("chain", "key"), "holds an empty name; name fields of the events")
    if len(set(key)) < len(key):
        yield Problem(("chain", "key"), "names a field twice; drop one")


def _root(config: Config) -> Iterator[Problem]:
    roots = _roots(config)
    if not roots:
        yield Problem(("events",), "no kind is the root; drop `after` from the one that opens an exposure")
    for name in roots[1:]:
        text = f'is a second root beside "{roots[0]}"; add after = "{roots[0]}" to the one that follows'
        yield Problem(("events", name), text, about=("events", roots[0]))
    for name in roots[:1]:
        event = config.events[name]
        for option, value in (
            ("within", event.within),
            ("parent", event.parent),
            ("skew", event.skew or None),
            ("retracts", event.retracts or None),
        ):
            if value is not None:
                text = "means nothing for the root, which follows no other kind; drop it, or add `after`"
                yield Problem(("events", name, option), text)


def _roots(config: Config) -> list[str]:
    return [name for name, event in config.events.items() if not event.after and event.before is None]


def _after(config: Config) -> Iterator[Problem]:
    chained = [name for name, event in config.events.items() if event.before is None]
    for name, event in config.events.items():
        path = ("events", name, "after")
        for other in event.after:
            if other == name:
                yield Problem(path, "names the kind itself; name the kind that comes before it")
            elif other not in chained:
                text = f'there is no kind "{other}"; {nearest(other, _but(chained, name))}'
                yield Problem(path, text, about=("events", other))
        if len(set(event.after)) < len(event.after):
            yield Problem(path, "names a kind twice; drop one")
    for cycle in _cycles({name: event.after for name, event in config.events.items()}):
        text = f"goes round in a circle ({' after '.join(cycle)}); drop one `after`"
        yield Problem(("events", cycle[0], "after"), text)


def _children(config: Config) -> Iterator[Problem]:
    for name, event in config.events.items():
        if event.after and event.within is None:
            text = f'`within` is missing; say how long after "{event.after[0]}" it may come: within = "30m"'
            yield Problem(("events", name), text)
        if event.parent is None:
            continue
        for other in event.after:
            if other in config.events and config.events[other].id is None:
                text = f'names an id, but "{other}" has none; add `id` to events.{other}, or drop `parent`'
                yield Problem(("events", name, "parent"), text, about=("events", other))


def _before(config: Config) -> Iterator[Problem]:
    roots = _roots(config)
    scores = before_root(config)
    for name in scores[1:]:
        text = f'only one kind may have `before`, and "{scores[0]}" has; drop one of them'
        yield Problem(("events", name, "before"), text, about=("events", scores[0]))
    for name in scores:
        event = config.events[name]
        if event.before not in roots:
            text = f'"{event.before}" is not the root; {nearest(event.before or "", roots)}'
            yield Problem(("events", name, "before"), text, about=("events",))
        options = (("after", event.after), ("parent", event.parent), ("skew", event.skew))
        for option, value in (*options, ("retracts", event.retracts)):
            if value:
                text = "means nothing beside `before`: a score follows no other kind; drop one of them"
                yield Problem(("events", name, option), text)
        if event.within is None:
            text = f'`within` is missing; say how long before "{event.before}" it may come: within = "30m"'
            yield Problem(("events", name), text)


def _time_format(config: Config) -> Iterator[Problem]:
    for name, event in config.events.items():
        if event.time is None and event.time_format is not None:
            text = "means nothing without `time`; add it, or drop this"
            yield Problem(("events", name, "time_format"), text)


def _told_apart(config: Config) -> Iterator[Problem]:
    for (one, first), (two, second) in combinations(config.events.items(), 2):
        if first.source != second.source:
            continue
        shared = first.where.keys() & second.where.keys()
        if not any(_differ(first.where[field], second.where[field]) for field in shared):
            text = f'cannot be told from "{one}", which has the same source; give both a `where` that differs'
            yield Problem(("events", two), text, about=("events", one))


def _task_events(config: Config) -> Iterator[Problem]:
    children = [name for name, event in config.events.items() if event.after]
    known = list(config.events) if is_labelled(config) else children
    for name, task in config.tasks.items():
        if task.event in known:
            continue
        text = f'there is no kind "{task.event}"; {nearest(task.event, known)}'
        if task.event in config.events:
            text = (
                f'"{task.event}" follows nothing; name a kind that has `after`: {", ".join(children)} '
                "(or drop the other kinds, if these rows bring their labels)"
            )
        yield Problem(("tasks", name, "event"), text, about=("events", task.event))


def _given(config: Config) -> Iterator[Problem]:
    for name, task in config.tasks.items():
        if task.given == name:
            yield Problem(("tasks", name, "given"), "names the task itself; name the task it depends on")
        elif task.given is not None and task.given not in config.tasks:
            text = f'there is no task "{task.given}"; {nearest(task.given, _but(config.tasks, name))}'
            yield Problem(("tasks", name, "given"), text, about=("tasks", task.given))
    for cycle in _cycles({name: (task.given,) for name, task in config.tasks.items() if task.given}):
        text = f"goes round in a circle ({' given '.join(cycle)}); drop one `given`"
        yield Problem(("tasks", cycle[0], "given"), text)
    yield from _given_too_late(config)


def _given_too_late(config: Config) -> Iterator[Problem]:
    """A task's end must not come before it is known whether the task is defined at all."""
    for name, task in config.tasks.items():
        given = config.tasks.get(task.given or "")
        if (
            given is None
            or given.event == task.event
            or not {given.event, task.event} <= config.events.keys()
        ):
            continue
        if given.event not in _ancestors(config, task.event):
            text = (
                f'"{task.event}" does not follow "{given.event}", so its window may end before that is known; '
                f'let events.{task.event} come after "{given.event}", or drop `given`'
            )
            yield Problem(("tasks", name, "given"), text, about=("events", task.event))


def _ancestors(config: Config, kind: str) -> set[str]:
    """Return the kinds that a kind follows, directly or not."""
    found: set[str] = set()
    open_ = [kind]
    while open_:
        event = config.events.get(open_.pop())
        new = set(event.after if event is not None else ()) - found
        found |= new
        open_ += new
    return found


def _values(config: Config) -> Iterator[Problem]:
    for name, task in config.tasks.items():
        path = ("tasks", name)
        counted = task.how == "count"
        if counted and task.value is not None:
            yield Problem(
                (*path, "value"), 'how = "count" counts events and reads no field; drop one of them'
            )
        if task.value is None and not counted:
            options = (("how", task.how != "first"), ("transform", task.transform != "none"))
            for option, given in (*options, ("loss", task.loss != "squared")):
                if given:
                    text = 'is for tasks with a value only; add value = "..." or drop it'
                    yield Problem((*path, option), text)


def _features(config: Config) -> Iterator[Problem]:
    for name, feature in config.features.items():
        path = ("features", name)
        if isinstance(feature, Numeric):
            low, high = feature.limits or (0, 1)
            if low >= high:
                yield Problem((*path, "limits"), f"{low} is not below {high}; write [low, high]")
            if any(a >= b for a, b in zip(feature.boundaries, feature.boundaries[1:], strict=False)):
                yield Problem((*path, "boundaries"), "must rise; sort them and drop repeats")
        elif feature.share is not None:
            yield from _shared(config, name, feature.share, feature.dim)


def _shared(config: Config, name: str, share: str, dim: int) -> Iterator[Problem]:
    path = ("features", name, "share")
    owners = {
        key: feature.dim
        for key, feature in config.features.items()
        if isinstance(feature, Categorical | Sequence) and feature.share is None and key != name
    }
    if share not in owners:
        text = f'"{share}" has no embedding table of its own; {nearest(share, owners)}'
        yield Problem(path, text, about=("features", share))
    elif owners[share] != dim:
        text = f'"{share}" has dim {owners[share]}, this feature {dim}; make them equal'
        yield Problem(path, text, about=("features", share))


def _slices(config: Config) -> Iterator[Problem]:
    for name in config.watch.slices:
        if name not in config.features:
            text = f'there is no feature "{name}"; {nearest(name, config.features)}'
            yield Problem(("watch", "slices"), text, about=("features", name))


def _waits(config: Config) -> Iterator[Problem]:
    spec = chain_spec(config)
    for task in spec.tasks:
        declared = config.tasks[task.name]
        for option, waits in (("method", declared.method.waits), ("looks", declared.looks)):
            if fault := too_long(spec, task, waits):
                yield Problem(("tasks", task.name, option), fault)


def _is_name(name: str) -> bool:
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    # "__" parts the words of an environment variable.
    return plain and "__" not in name and not name.startswith("_") and not name.endswith("_")


def _but(names: Iterable[str], name: str) -> list[str]:
    return [other for other in names if other != name]


def _differ(one: object, two: object) -> bool:
    return one != two or isinstance(one, bool) != isinstance(two, bool)


def _cycles(edges: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Give every circle of more than one name once, first name repeated at its end."""
    finished: set[str] = set()
    for start in edges:
        path: list[str] = []
        yield from _walk(start, edges, path, finished)


def _walk(
    name: str, edges: Mapping[str, Iterable[str]], path: list[str], finished: set[str]
) -> Iterator[list[str]]:
    if name in path:
        circle = [*path[path.index(name) :], name]
        if len(circle) > 2:
            yield circle
        return
    if name in finished:
        return
    path.append(name)
    for other in edges.get(name, ()):
        yield from _walk(other, edges, path, finished)
    path.pop()
    finished.add(name)


RULES: tuple[Rule, ...] = (
    _names,
    _key,
    _root,
    _after,
    _children,
    _before,
    _time_format,
    _told_apart,
    formats.files_alone,
    formats.history_of_topics,
    formats.one_format,
    formats.fitting_format,
    formats.known_columns,
    check_labels.needed_by_a_chain,
    check_labels.tasks_of_rows,
    check_labels.no_leak,
    check_back.takes_back_one_kind,
    check_back.value_of_what_is_taken_back,
    check_back.less_of_a_sum,
    check_back.absent_event,
    _task_events,
    _given,
    _values,
    check_model.known_parents,
    check_model.fitting_losses,
    _features,
    _slices,
    check_registry.reachable_registry,
    check_broker.known_user,
    check_broker.hidden_password,
    check_broker.whole_identity,
)
