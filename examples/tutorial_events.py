"""Events of the shape of the two tutorial examples, as JSON lines, from tastes that are known: live or pages."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

START = 1_760_000_000_000  # ms

Column: TypeAlias = np.ndarray[Any, Any]
Happened: TypeAlias = Mapping[str, tuple[Column, Column, Column | None]]
"""By kind: which exposures it happened to, how many seconds after them, and how many seconds it took."""


class Tastes:
    """Who likes what: two hidden numbers of each user and each thing."""

    def __init__(self, rng: np.random.Generator, exposures: int, users: int = 300, things: int = 120) -> None:
        self.rng = rng
        self.user, self.thing = rng.integers(0, users, exposures), rng.integers(0, things, exposures)
        of_user, of_thing = rng.normal(size=(users, 2)), rng.normal(size=(things, 2))
        user, thing = of_user[self.user], of_thing[self.thing]
        self.liking = 0.9 * thing[:, 0] + 0.6 * user[:, 0] + 0.5 * (user * thing).sum(1)
        self.bond = thing[:, 1] + 0.5 * user[:, 1]

    def drawn(self, logit: Column) -> Column:
        """Draw a yes with the probability of each logit."""
        yes: Column = self.rng.random(len(logit)) < 1 / (1 + np.exp(-logit))
        return yes

    def lasting(self, log_mean: Column, most: float) -> Column:
        """Draw durations, log-normal, in seconds."""
        return np.minimum(np.exp(log_mean + 0.6 * self.rng.normal(size=len(log_mean))), most)


def live(tastes: Tastes) -> tuple[Mapping[str, Column], Happened]:
    """Rooms: click, then watching, then perhaps the microphone."""
    rng, n = tastes.rng, len(tastes.user)
    click = tastes.drawn(-1.5 + tastes.liking)
    clicked = rng.uniform(1, 60, n)
    view = click & tastes.drawn(0.5 + tastes.bond)
    watched = tastes.lasting(4.0 + 0.7 * tastes.bond, 3_000)
    mic = click & tastes.drawn(-1.0 + tastes.liking)
    spoken = tastes.lasting(5.0 + 0.5 * tastes.liking, 6_000)
    recent = np.array_split(rng.integers(0, 120, 3 * n), n)
    fields = {
        "room": tastes.thing,
        "topic": np.char.add("topic", (tastes.thing % 8).astype(str)),
        "recent_rooms": np.array([some.tolist() for some in recent]),
    }
    return fields, {
        "click": (click, clicked, None),
        "view": (view, clicked + watched, watched),
        "on_mic": (mic, clicked + spoken, spoken),
    }


def pages(tastes: Tastes) -> tuple[Mapping[str, Column], Happened]:
    """Pages: staying and clicking on the first, playing and liking on the second."""
    rng, n = tastes.rng, len(tastes.user)
    stay, stayed = tastes.drawn(tastes.bond), tastes.lasting(2.5 + 0.5 * tastes.bond, 500)
    click, clicked = tastes.drawn(-1.5 + tastes.liking), rng.uniform(1, 60, n)
    play = click & tastes.drawn(1.0 + tastes.liking)
    played = tastes.lasting(4.0 + 0.6 * tastes.liking, 3_000)
    like = play & tastes.drawn(-0.5 + tastes.bond)
    fields = {"item": tastes.thing, "kind": np.char.add("kind", (tastes.thing % 8).astype(str))}
    return fields, {
        "stay": (stay, stayed, stayed),
        "click": (click, clicked, None),
        "play": (play, clicked + played, played),
        "like": (like, clicked + played + 5, None),
    }


SCENES: Mapping[str, Callable[[Tastes], tuple[Mapping[str, Column], Happened]]] = {
    "live": live,
    "pages": pages,
}


def write(scene: str, folder: Path, exposures: int, seed: int = 0, every: int = 2) -> None:
    """Write a file for each kind of event into a folder; an exposure comes `every` so many seconds."""
    tastes = Tastes(np.random.default_rng(seed), exposures)
    fields, happened = SCENES[scene](tastes)
    shown = START + 1_000 * every * np.arange(exposures)
    ids = np.char.add("e", np.arange(exposures).astype(str))
    columns = {"exposure_id": ids, "ts": shown, "user": tastes.user, "hour": (shown // 3_600_000 % 24) * 1.0}
    folder.mkdir(parents=True, exist_ok=True)
    _lines(folder / "exposure.jsonl", {**columns, **fields})
    for kind, (which, after, seconds) in happened.items():
        rows = np.flatnonzero(which)
        time = shown[rows] + (1_000 * after[rows]).astype(np.int64)
        order = np.argsort(time, kind="stable")
        of_kind = {"exposure_id": ids[rows][order], "ts": time[order]}
        if seconds is not None:
            of_kind["seconds"] = seconds[rows][order].round(3)
        _lines(folder / f"{kind}.jsonl", of_kind)


def _lines(file: Path, columns: Mapping[str, Column]) -> None:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
    file.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--exposures", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.scene, given.folder, given.exposures, given.seed)


if __name__ == "__main__":
    main()
