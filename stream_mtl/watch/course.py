"""How the log tells of an output: when its clock starts, at which looks, and when its label is final at the latest."""

from collections.abc import Mapping
from dataclasses import dataclass

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, TaskSpec
from stream_mtl.label.plan import Plan, lives

UNASKED = "no look tells of it before its label is final"


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one output beforehand. Looks of a product are its last task's, counted from that one's clock."""

    open: Millis  # how long after its clock's start a label is final at the latest
    looks: tuple[Millis, ...] = ()  # ascending; none where nothing is to be read from them
    given: bool = (
        False  # its clock starts with another event than the exposure: a look is the first to tell of it
    )
    joint: bool = False
    silent: str = (
        "no look tells of it before its label is final"  # where there are no looks: why nothing is said
    )

    @property
    def tells_of_clocks(self) -> bool:
        """Whether the log says that a clock started before its label is final."""
        return bool(self.looks) or not self.given

    @property
    def tells_of_events(self) -> bool:
        """Whether the log says that an event came before the label is final."""
        return bool(self.looks)


def courses(plan: Plan, chain: ChainSpec) -> dict[str, Course]:
    """Return the course of every output; the looks are those of the chain's tasks."""
    ends, tasks = lives(plan, chain), {task.name: task for task in chain.tasks}
    found = {}
    for lesson in plan.lessons:
        task = tasks[lesson.task.name]
        silent = _silent(task, tasks)
        looks = () if silent else tuple(sorted(task.waits))
        why = silent or UNASKED
        open_ = _open(task, chain, ends[task.name])
        found[task.name] = Course(open_, looks, task.given is not None, silent=why)
        if lesson.joint:
            found[lesson.name] = Course(ends[lesson.name], looks, joint=True, silent=why)
    return {name: found[name] for name in plan.outputs}


def _silent(task: TaskSpec, tasks: Mapping[str, TaskSpec]) -> str | None:
    """Return why nothing can be said of a task before its label is final, whatever looks there are."""
    if task.regression:
        return "a value is known at its end"
    if task.absent:
        return "that an event does not come is known at its end"
    if task.given is not None and tasks[task.given].unsure:
        return "what starts its clock may be taken back, with which estimates do not reckon"
    return None


def _open(task: TaskSpec, chain: ChainSpec, life: Millis) -> Millis:
    """Return the window of a task whose event can only come after what starts its clock, else the exposure's life.

    A label that may be taken back is open for longer than its window.
    """
    kind = chain.kind(task.event)
    given = next((other for other in chain.tasks if other.name == task.given), None)
    clock = chain.root.name if given is None else given.event
    apart = kind.after == (clock,) and kind.parent is None and not task.unsure
    return kind.within if apart and kind.within is not None else life
