"""Challengers: learners beside the configured one, each the same configuration with some values of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stream_mtl.config.load import Loaded, lay_over
from stream_mtl.config.problems import nearest
from stream_mtl.config.sections import Config
from stream_mtl.errors import ConfigError

CHAMPION = "champion"
"""What the configuration itself is called among its challengers."""

_OWN = ("features", "model", "learn", "tasks")
_OF_A_TASK = ("method", "auxiliary", "auxiliary_until", "weight", "prior", "transform", "loss", "tower")
_NOT_OF_LEARN = ("path",)


def challengers(base: Loaded) -> Iterator[Loaded]:
    """Give every challenger of a configuration. Raises ConfigError."""
    return (challenger(base, name) for name in base.config.challengers)


def challenger(base: Loaded, name: str) -> Loaded:
    """Return the configuration of one challenger: it learns and publishes beside the champion. Raises ConfigError."""
    declared = base.config.challengers
    if name not in declared:
        raise ConfigError(f'there is no challenger "{name}"; {nearest(name, declared)}')
    place = base.document.place(("challengers", name))
    faults = list(_not_its_own(declared[name]))
    config, document, wrong = (None, base.document, []) if faults else lay_over(base, declared[name])
    if config is None:
        raise ConfigError("\n".join(f"{place}: challengers.{name}: {fault}" for fault in [*faults, *wrong]))
    return Loaded(_apart(base.config, config, name), document, base.folder, name, base)


def with_challengers(base: Loaded, others: Mapping[str, Sequence[str]]) -> Loaded:
    """Return a configuration with other challengers than those it declares."""
    chosen = {name: tuple(arguments) for name, arguments in others.items()}
    return replace(base, config=base.config.model_copy(update={"challengers": chosen}))


def family(loaded: Loaded) -> list[Loaded]:
    """Return all who learn from the same log as this one: the champion first. Raises ConfigError."""
    base = loaded.base or loaded
    return [base, *challengers(base)]


def _not_its_own(arguments: Sequence[str]) -> Iterator[str]:
    """Give what is wrong with values that are not for a challenger to choose: they make the log, or are places."""
    for argument in arguments:
        parts = argument.partition("=")[0].strip().split(".")
        if parts[0] not in _OWN:
            yield f'"{argument}" is nothing that a challenger may choose; it may change {", ".join(_OWN)}'
        elif parts[0] == "tasks" and parts[2:3] and parts[2] not in _OF_A_TASK:
            yield f'"{argument}" would change the log that all share; of a task it may change {", ".join(_OF_A_TASK)}'
        elif parts[0] == "learn" and parts[1:2] and parts[1] in _NOT_OF_LEARN:
            yield f'"{argument}": where a challenger keeps its state follows from its name'


def _apart(base: Config, config: Config, name: str) -> Config:
    """Return the configuration with places and a port of its own: challengers/NAME beside the champion's."""
    port = config.learn.metrics_port
    learn = {
        "path": _beside(config.learn.path, name),
        "metrics_port": None if port == base.learn.metrics_port and port != 0 else port,
    }
    publish = {"path": _beside(config.publish.path, name), "announce": None}
    return config.model_copy(
        update={
            "learn": config.learn.model_copy(update=learn),
            "publish": config.publish.model_copy(update=publish),
        }
    )


def _beside(path: Path, name: str) -> Path:
    return path.parent / "challengers" / name / path.name
