"""What the choices of a model and of its tasks' losses must make sense of, one function a rule."""

from collections.abc import Iterator

from stream_mtl.config.problems import Problem, nearest
from stream_mtl.config.sections import Config


def known_parents(config: Config) -> Iterator[Problem]:
    """A task reads other tasks that exist."""
    for name, task in config.tasks.items():
        others = [other for other in config.tasks if other != name]
        for key, some in (("parents", task.parents or ()), ("space", (task.space,) if task.space else ())):
            for other in some:
                if other not in others:
                    text = f'there is no other task "{other}"; {nearest(other, others)}'
                    yield Problem(("tasks", name, key), text, about=("tasks", other))


def fitting_losses(config: Config) -> Iterator[Problem]:
    """A task's loss fits its labels or values."""
    for name, task in config.tasks.items():
        path, value = ("tasks", name), task.value is not None or task.how == "count"
        if task.loss == "softmax" and task.classes < 2:
            text = 'loss = "softmax" needs the number of classes, two at least; add classes = 5'
            yield Problem((*path, "classes"), text)
        if task.loss != "softmax" and task.classes:
            yield Problem((*path, "classes"), 'is for loss = "softmax"; drop it')
        if task.transform != "none" and task.loss in ("softmax", "ziln", "ziln_likelihood"):
            yield Problem((*path, "transform"), f'loss = "{task.loss}" takes values as they are; drop it')
        if task.focal and value:
            yield Problem((*path, "focal"), "is for labels, and this task has a value; drop it")
        if task.space is None and (task.in_space_weight, task.out_space_weight) != (1.0, 1.0):
            key = "in_space_weight" if task.in_space_weight != 1 else "out_space_weight"
            yield Problem((*path, key), 'means nothing without a space; add space = "..." or drop it')
