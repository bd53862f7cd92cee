"""What rows that arrive with their labels must make sense of, one function a rule."""

from collections.abc import Iterator

from stream_mtl.config.labels import is_labelled, label_fields
from stream_mtl.config.problems import Problem
from stream_mtl.config.sections import Config
from stream_mtl.config.values import Method


def needed_by_a_chain(config: Config) -> Iterator[Problem]:
    """Without labels in the rows there must be a chain, and every event must have its time."""
    if is_labelled(config):
        return
    for name, event in config.events.items():
        if event.time is None:
            yield Problem(("events", name, "time"), 'this key is required; add time = "ts"')
    for name, task in config.tasks.items():
        if task.where:
            text = "is for rows that come with their labels; drop it (a kind has a `where` of its own)"
            yield Problem(("tasks", name, "where"), text)


def tasks_of_rows(config: Config) -> Iterator[Problem]:
    """A task of rows says which field is its label, and nothing about time."""
    if not is_labelled(config):
        return
    for name, task in config.tasks.items():
        path = ("tasks", name)
        if task.value is not None and task.where:
            yield Problem((*path, "where"), "is for labels, `value` for numbers; drop one of them")
        if task.value is None and not task.where and task.how != "count":
            text = (
                f'which field of "{task.event}" is the label? add where = {{ field = "its value" }}, '
                'or value = "field" for a number'
            )
            yield Problem(path, text)
        if task.how == "count" or (task.how != "first" and task.value is not None):
            yield Problem((*path, "how"), "is for several events, and a row is one; drop it")
        if task.method != Method("wait"):
            yield Problem((*path, "method"), "rows bring labels that are final, not late ones; drop it")


def no_leak(config: Config) -> Iterator[Problem]:
    """A field that makes a label may not be seen by the model."""
    makes = dict(label_fields(config))
    for name, feature in config.features.items():
        field = feature.field or name
        if field in makes:
            text = (
                f'reads "{field}", of which tasks.{makes[field]} makes its label: the model would be told what '
                f"it must predict; drop features.{name}, or the task"
            )
            yield Problem(("features", name), text, about=("tasks", makes[field]))
