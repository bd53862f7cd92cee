"""A marketplace on compressed event time that lives on the real processes: its people ask, see, click and buy late."""

import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Clock, Millis
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.errors import ConfigError
from stream_mtl.generate.delays import Exponential
from stream_mtl.generate.fields import KINDS
from stream_mtl.generate.live import Population, Record, line
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.write import as_toml, declarations
from stream_mtl.processes.everything import address_of, start_all
from stream_mtl.processes.family import Family
from stream_mtl.processes.stop import Stop

SPEED = 300
"""Milliseconds of event time in one of real time."""

_TICK = 0.1  # real seconds between two looks at what the people do
_MARK = ".stream-mtl-demo"  # lies in a folder that a demo may empty again


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How busy the marketplace is."""

    folder: Path
    requests: float = 60.0  # a real second
    shown: int = 8  # candidates that a visitor sees
    slate: int = 16  # candidates that are scored for him
    unranked: float = 0.2  # share of the visitors who see them in any order, to compare with
    seed: int = 0


class Demo:
    """One run: the folder, the processes, the people."""

    def __init__(self, options: DemoOptions, clock: Clock) -> None:
        """Empty the folder and write the configuration. Raises ConfigError for a folder that is none of ours."""
        self.options, self.config = options, options.folder / "config.toml"
        market = _market(options, clock())
        _make_folder(options.folder, market)
        self.loaded: Loaded = load(self.config, {})
        self.population = Population(Market(market), options.shown, options.unranked, options.seed)
        self.error: BaseException | None = None
        self._family = Family(self.config, logs=options.folder / "logs")
        self._ending = threading.Event()
        self._people = threading.Thread(target=self._live, name="people", daemon=True)
        self._begin = market.start + HOUR
        self._sinks = {kind: JsonLinesSink(options.folder / f"{kind}s") for kind in KINDS}

    @property
    def address(self) -> str | None:
        """Where the scorer answers; None before it does."""
        return address_of(self.loaded.config.run.status)

    def run(self, stop: Stop, show: Callable[[], None]) -> None:
        """Let everything live until `stop`; `show` is called a few times a second. Raises ChildFailed."""
        with self._family:
            start_all(self._family, self.loaded)
            try:
                self._wait(stop, show)
                self._people.start()
                while not stop() and self.error is None:
                    self._family.check()
                    show()
                    time.sleep(0.25)
            finally:
                self._ending.set()
                if self._people.is_alive():
                    self._people.join()
        if self.error is not None:
            raise self.error

    def _wait(self, stop: Stop, show: Callable[[], None]) -> None:
        """Wait until the scorer answers: the people come to an open door."""
        while self.address is None and not stop():
            self._family.check()
            show()
            time.sleep(_TICK)

    def _live(self) -> None:
        try:
            self._days()
        except BaseException as error:
            self.error = error
        finally:
            for sink in self._sinks.values():
                sink.close()

    def _days(self) -> None:
        rng = np.random.default_rng(self.options.seed + 1)
        began = time.monotonic()
        ask, last = Asker(self.address or "", self.options.shown), self._begin
        while not self._ending.wait(_TICK):
            now = self._begin + int((time.monotonic() - began) * SECOND * SPEED)
            requests = rng.poisson(self.options.requests * (now - last) / (SECOND * SPEED))
            self.population.visit(min(int(requests), int(4 * self.options.requests * _TICK)), last, now, ask)
            self._write(now)
            last = now

    def _write(self, now: Millis) -> None:
        """Write what happened before now. Every file is completed at once, so that the joiner sees it."""
        for kind, record in self.population.until(now):
            self._sinks[kind].add(line(record))
        for sink in self._sinks.values():
            sink.close()


class Asker:
    """Asks the scorer for a ranking, over one connection."""

    def __init__(self, address: str, shown: int, token: str | None = None) -> None:
        parts = urlsplit(address)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        self._shown = shown

    def __call__(self, request: str, time: Millis, candidates: Sequence[Record]) -> list[int] | None:
        """Return the places of the candidates to be shown; None if nobody answers."""
        body = {
            "request_id": request,
            "time": time,
            "candidates": candidates,
            "by": "ctr",
            "top": self._shown,
        }
        try:
            self._connection.request("POST", "/score", json.dumps(body), self._headers)
            answer = self._connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        return [score["candidate"] for score in found["scores"]] if answer.status == 200 else None


def _market(options: DemoOptions, now: Millis) -> GeneratorOptions:
    """Return a market some days ago, so that its compressed time never overtakes the clock."""
    return lively(now - 14 * DAY, options.slate, options.seed)


def lively(start: Millis, slate: int, seed: int) -> GeneratorOptions:
    """Return a small market where much is clicked and bought, soon."""
    return GeneratorOptions(
        impressions=20_000,
        start=start,
        duration=10 * DAY,
        seed=seed,
        users=400,
        items=120,
        new_items=0.0,
        slate=slate,
        ctr=0.15,
        cvr=0.3,
        click_strength=1.5,
        conversion_strength=1.5,
        position_effect=0.15,
        click_delays=(Exponential(2 * MINUTE),),
        conversion_delays=(Exponential(8 * MINUTE),),
        click_within=10 * MINUTE,
        conversion_within=40 * MINUTE,
        lateness=2 * MINUTE,
        remember=10 * MINUTE,
    )


def _make_folder(folder: Path, market: GeneratorOptions) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise ConfigError(f"{folder} is there and holds other things; choose another with --folder")
        shutil.rmtree(folder)
    for name in (*(f"{kind}s" for kind in KINDS), "scored", "logs"):
        (folder / name).mkdir(parents=True)
    (folder / _MARK).touch()
    sections = declarations(market, ".", "jsonl")
    sections["features"].pop("position", None)  # it is not known when a candidate is scored
    sections["tasks"]["cvr"]["method"] = "fnw"
    sections["tasks"]["ctr"]["prior"], sections["tasks"]["cvr"]["prior"] = 0.2, 0.3
    sections["tasks"]["order_value"]["transform"] = "log1p"
    (folder / "config.toml").write_text(_HEAD + as_toml(sections) + _PROCESSES)


_HEAD = """# The configuration of a demo. Everything here is what production would have, but for the haste: event time runs 300
# times as fast as the clock, so what happens in days happens in minutes.

"""
_PROCESSES = """[events.scored] # what the scorer said before it was shown
source = "files:scored/*.jsonl"
time = "ts"
before = "impression"
within = "10m"
fields = { exposure_id = "string", snapshot = "long", ctr = "double", cvr = "double", order_value = "double" }

[model]
bottom = [64, 32]
towers = [16]

[learn]
batch_size = 32
snapshot_every = "10m"
checkpoint_every = "10s"
flush_after = "1s"

[join]
block_every = "200ms"
checkpoint_every = "10s"
idle_after = "3s"
label_stall = "5s"

[serve]
port = 0
poll_every = "500ms"
log = "scored"
log_every = "300ms"

[watch]
every = "500ms"
checkpoint_every = "2s"
windows = ["1h", "3h"]
min_examples = 50
"""
