"""How the log tells of an output: when its clock starts, at which looks, and when its label is final at the latest."""

from dataclasses import dataclass

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, TaskSpec
from stream_mtl.label.plan import Plan, lives


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one output beforehand. Looks of a product are its last task's, counted from that one's clock."""

    open: Millis  # how long after its clock's start a label is final at the latest
    looks: tuple[Millis, ...] = ()  # ascending; of a value none: it is told at its end
    given: bool = (
        False  # its clock starts with another event than the exposure: a look is the first to tell of it
    )
    joint: bool = False

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
        looks = () if task.regression else tuple(sorted(task.waits))
        found[task.name] = Course(_open(task, chain, ends[task.name]), looks, task.given is not None)
        if lesson.joint:
            found[lesson.name] = Course(ends[lesson.name], looks, joint=True)
    return {name: found[name] for name in plan.outputs}


def _open(task: TaskSpec, chain: ChainSpec, life: Millis) -> Millis:
    """Return the window of a task whose event can only come after what starts its clock, else the exposure's life.

    Where something comes after the event, it may take it back: then the label is open for longer than the window.
    """
    kind = chain.kind(task.event)
    given = next((other for other in chain.tasks if other.name == task.given), None)
    clock = chain.root.name if given is None else given.event
    last = not any(kind.name in other.after for other in chain.kinds)
    apart = kind.after == (clock,) and kind.parent is None and last
    return kind.within if apart and kind.within is not None else life
