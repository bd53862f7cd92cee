"""All processes at once: join, train, serve, and watch where there are scores to be watched; until told to stop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stream_mtl.config.load import Loaded
from stream_mtl.processes.family import Family
from stream_mtl.processes.status import read_status
from stream_mtl.processes.stop import Stop

_LOOK = 0.2  # seconds between two looks at the children


def everything(
    loaded: Loaded, config: Path, arguments: Sequence[str], stop: Stop, announce: Callable[[str], None]
) -> None:
    """Run all processes over live sources. `announce` is told the scorer's address. Raises ChildFailed."""
    announced = False
    with Family(config, arguments) as family:
        start_all(family, loaded)
        while not stop():
            family.check()
            address = address_of(loaded.config.run.status)
            if address is not None and not announced:
                announce(address)
                announced = True
            time.sleep(_LOOK)


def start_all(family: Family, loaded: Loaded) -> None:
    """Start every process that the configuration has work for."""
    for role in roles(loaded):
        (loaded.config.run.status / f"{role}.json").unlink(missing_ok=True)
        family.start(role, *options(role))


def roles(loaded: Loaded) -> tuple[str, ...]:
    """Return the processes that the configuration has work for."""
    watched = any(event.before is not None for event in loaded.config.events.values())
    trainers = [trainer_of(name) for name in (None, *loaded.config.challengers)]
    return ("join", *trainers, "serve", *(("watch",) if watched else ()))


def trainer_of(challenger: str | None) -> str:
    """Return what the trainer of a challenger, or of the champion (None), is called among the processes."""
    return "train" if challenger is None else f"train-{challenger}"


def options(role: str) -> list[str]:
    """Return what stands behind `stream-mtl run ROLE CONFIG` for a process that goes on."""
    challenger = role.partition("-")[2]
    following = [] if role == "serve" else ["--follow"]
    return [*following, *(("--challenger", challenger) if challenger else ())]


def address_of(status: Path) -> str | None:
    """Return where the scorer answers; None before it does."""
    said = read_status(status, "serve")
    address = said.facts.get("address") if said is not None else None
    return str(address) if address is not None else None
