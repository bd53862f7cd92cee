"""What kinds that take others back, and tasks about them, must make sense of, one function a rule."""

from collections.abc import Iterator

from stream_mtl.config.chains import less_of
from stream_mtl.config.labels import is_labelled
from stream_mtl.config.problems import Problem, nearest
from stream_mtl.config.sections import Config


def takes_back_one_kind(config: Config) -> Iterator[Problem]:
    """A kind takes back events of one other kind, which is not the root and takes nothing back itself."""
    for name, event in config.events.items():
        if not event.retracts or not event.after:
            continue
        path = ("events", name, "retracts")
        followed = config.events.get(event.after[0])
        if len(event.after) > 1:
            yield Problem(path, "takes back events of one kind, and `after` names several; keep one")
        elif followed is not None and not followed.after:
            text = f'an exposure cannot be taken back, and "{event.after[0]}" opens it; drop it, or follow another kind'
            yield Problem(path, text)
        elif followed is not None and followed.retracts:
            text = f'"{event.after[0]}" itself takes back, which is for good; drop one of the two'
            yield Problem(path, text, about=("events", event.after[0]))


def value_of_what_is_taken_back(config: Config) -> Iterator[Problem]:
    """A value of events that may be taken back says what is given back of it."""
    back = _taken_back(config)
    for name, task in config.tasks.items():
        if task.event in back and (task.value is not None or task.how == "count") and task.less is None:
            taker = back[task.event][0]
            text = (
                f'"{taker}" takes back events that the value would still hold; write how = "sum" and '
                f'less = "{taker}.FIELD", or drop events.{taker}.retracts'
            )
            yield Problem(("tasks", name), text, about=("events", taker))


def less_of_a_sum(config: Config) -> Iterator[Problem]:
    """What is given back is a field of a kind that follows the task's event, and of a sum."""
    for name, task in config.tasks.items():
        if task.less is None:
            continue
        path = ("tasks", name, "less")
        kind, field = less_of(task.less)
        followers = [other for other, event in config.events.items() if event.after == (task.event,)]
        if not field:
            yield Problem(path, f'"{task.less}" names no field; write KIND.FIELD, like "refund.amount"')
        elif kind not in followers:
            text = f'no kind "{kind}" follows "{task.event}" alone; {nearest(kind, followers)}'
            yield Problem(path, text, about=("events", kind))
        if task.value is None or task.how != "sum":
            yield Problem(path, 'is subtracted from a sum; add value = "..." and how = "sum", or drop it')


def absent_event(config: Config) -> Iterator[Problem]:
    """Whether an event does not come is a label, known at the end, of a chain whose event does not undo what it is given."""
    for name, task in config.tasks.items():
        path = ("tasks", name, "absent")
        if task.absent and is_labelled(config):
            yield Problem(path, "is for events that come later, and a row brings its label; drop it")
        elif task.absent and (task.value is not None or task.how == "count"):
            yield Problem(path, "is for labels, not for values; drop one of them")
        given = config.tasks.get(task.given or "")
        if given is not None and given.absent:
            text = (
                f'"{task.given}" is known at the end of its window only, too late for a task that it starts; '
                "let it be given another"
            )
            yield Problem(("tasks", name, "given"), text, about=("tasks", task.given or ""))
        yield from _undone(config, name)


def _undone(config: Config, name: str) -> Iterator[Problem]:
    """A task on a kind that takes back is no task given one on what it takes back: where it is 1, it is not defined."""
    task = config.tasks[name]
    event, seen, given = config.events.get(task.event), {name}, task.given
    while event is not None and event.retracts and given in config.tasks and given not in seen:
        if config.tasks[given].event in event.after:
            text = (
                f'"{task.event}" takes back the event of "{given}", so where it comes the task is not defined; drop '
                f"events.{task.event}.retracts, or `given`"
            )
            yield Problem(("tasks", name, "given"), text, about=("events", task.event))
        seen.add(given)
        given = config.tasks[given].given


def _taken_back(config: Config) -> dict[str, list[str]]:
    """Return the kinds whose events may be taken back, with those that do."""
    back: dict[str, list[str]] = {}
    for name, event in config.events.items():
        for followed in event.after if event.retracts else ():
            back.setdefault(followed, []).append(name)
    return back
