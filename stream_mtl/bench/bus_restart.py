"""From the start of a joiner that was killed to its first new block, with very many chains waiting."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stream_mtl.bench.bus import new_topic
from stream_mtl.bench.fill import fill
from stream_mtl.clock import DAY, HOUR, SECOND, Millis, system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.security import KafkaOptions
from stream_mtl.errors import StreamMtlError, Unavailable
from stream_mtl.generate.avro import encode
from stream_mtl.generate.fields import KINDS, avro_schema
from stream_mtl.generate.generated import Generated, Stream, generate
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.workload import performance_workload
from stream_mtl.generate.write import as_toml, declarations
from stream_mtl.join.topic import Following
from stream_mtl.processes.status import read_status
from stream_mtl.processes.stop import PARENT

_SHARE = (
    0.85  # of the stream that is there before the joiner is killed; the rest comes slowly, to be worked on
)
_SLICES = 400
_PATIENCE = 300.0  # seconds for the joiner to be where it is to be killed
_BATCH = 16 << 10
_LOG = "join.log"


@dataclass(frozen=True, slots=True)
class Restart:
    """One SIGKILL. Seconds are of the wall."""

    waiting: int  # chains, when it was killed: no window has closed
    since_checkpoint: float  # how old the newest checkpoint was
    block: float  # from the start of the process to its first new block in the log
    running: float  # from the start of the process until it had said that it works
    cpu: float  # of the process until then


def bench_restart(bootstrap: str, waiting: int, rounds: int) -> list[Restart]:
    """Let a joiner take so many exposures that all wait, kill it and start it again. Raises StreamMtlError."""
    with TemporaryDirectory() as name:
        folder, options = Path(name), _options(round(waiting / _SHARE))
        generated = generate(options)
        topics = {what: new_topic(bootstrap, what) for what in (*KINDS, "transitions", "letters")}
        loaded = load(_configured(folder, options, bootstrap, topics), {})
        first = {kind: round(_SHARE * len(stream)) for kind, stream in generated.streams.items()}
        for kind, stream in generated.streams.items():
            _fill(bootstrap, topics[kind], options, stream.slice(0, first[kind]))
        log = _Blocks(bootstrap, topics["transitions"])
        joiner = _start(folder)
        try:
            _until(joiner, folder / _LOG, lambda: _read(loaded) >= 0.999 * sum(first.values()))
            made = []
            with _trickling(bootstrap, topics, options, generated, first):
                for _ in range(rounds):
                    _until(joiner, folder / _LOG, lambda: log.news() and _age(loaded) is not None)
                    time.sleep(20)  # so that there is something to be read again
                    restart, joiner = _again(joiner, folder, loaded, log)
                    made.append(restart)
            return made
        finally:
            joiner.kill()
            joiner.wait()


def _options(impressions: int) -> GeneratorOptions:
    """Return the stream of joins, dense enough that no window of 24 h closes in it."""
    return replace(performance_workload(impressions), duration=DAY - HOUR)


def _configured(folder: Path, options: GeneratorOptions, bootstrap: str, topics: Mapping[str, str]) -> Path:
    sections = declarations(options, ".")
    for kind in KINDS:
        (folder / f"{kind}.avsc").write_text(_schema(options, kind))
        sections["events"][kind] |= {
            "source": f"kafka:{topics[kind]}",
            "format": "avro",
            "schema": f"{kind}.avsc",
        }
    config = folder / "config.toml"
    config.write_text(
        as_toml(sections)
        + f'[kafka]\nbootstrap_servers = "{bootstrap}"\ngroup = "{topics["transitions"]}"\n'
        + f'[join]\npath = "kafka:{topics["transitions"]}"\n'
        + f'[dead_letters]\npath = "kafka:{topics["letters"]}"\n'
    )
    return config


def _schema(options: GeneratorOptions, kind: str) -> str:
    return json.dumps(avro_schema(options, kind))


def _fill(bootstrap: str, topic: str, options: GeneratorOptions, stream: Stream) -> None:
    if len(stream):
        data, starts, ends = encode(stream.table, avro_schema(options, stream.kind))
        fill(bootstrap, topic, data, starts, ends, stream.table.column("ts").to_numpy(), _BATCH)


@contextmanager
def _trickling(
    bootstrap: str,
    topics: Mapping[str, str],
    options: GeneratorOptions,
    generated: Generated,
    first: Mapping[str, int],
) -> Iterator[None]:
    """Send the rest of the stream, slice by slice, for as long as the block lasts."""
    ending = threading.Event()

    def send() -> None:
        borders = {
            kind: np.linspace(first[kind], len(stream), _SLICES + 1).astype(int)
            for kind, stream in generated.streams.items()
        }
        for number in range(_SLICES):
            for kind, stream in generated.streams.items():
                begin, end = borders[kind][number : number + 2].tolist()
                _fill(bootstrap, topics[kind], options, stream.slice(begin, end))
            if ending.wait(0.5):
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


class _Blocks:
    """The blocks of a topic of transitions, as they come."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._log = Kafka(KafkaOptions(bootstrap)).partition(topic, 0)
        self._following = Following(topic)
        self._at = self._log.begin()

    def news(self) -> Millis | None:
        """Return when the first block was appended that was not there the last time; None without one."""
        first = None
        while entries := self._log.read(self._at):
            for entry in entries:
                if self._following.feed(entry) is not None and first is None:
                    first = entry.time
            self._at = entries[-1].offset + 1
        return first


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / _LOG).open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "stream_mtl", "run", "join", "config.toml", "--follow"],
            cwd=folder,
            env={**os.environ, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out,
            start_new_session=True,
        )


def _again(
    joiner: "subprocess.Popen[bytes]", folder: Path, loaded: Loaded, log: _Blocks
) -> tuple[Restart, "subprocess.Popen[bytes]"]:
    said = read_status(loaded.config.run.status, "join")
    waiting, age = int(said.facts["exposures"] or 0) if said is not None else 0, _age(loaded)
    joiner.send_signal(signal.SIGKILL)
    joiner.wait()
    log.news()
    begun = system_clock()
    anew = _start(folder)
    end = time.monotonic() + _PATIENCE
    while (first := log.news()) is None:
        _alive(anew, folder / _LOG, end)
        time.sleep(0.05)
    cpu = _cpu(anew.pid)
    _until(anew, folder / _LOG, lambda: _is_running(loaded, anew.pid))
    running = (system_clock() - begun) / SECOND
    return Restart(waiting, age or 0.0, (first - begun) / SECOND, running, cpu), anew


def _until(joiner: "subprocess.Popen[bytes]", log: Path, true: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        _alive(joiner, log, end)
        time.sleep(0.2)


def _alive(joiner: "subprocess.Popen[bytes]", log: Path, end: float) -> None:
    if joiner.poll() is not None:
        words = log.read_text(errors="replace")[-500:]
        raise StreamMtlError(f"the joiner of the bench ended with code {joiner.returncode}: {words}")
    if time.monotonic() > end:
        raise Unavailable(f"the joiner of the bench did not get there within {_PATIENCE:.0f} s")


def _read(loaded: Loaded) -> int:
    said = read_status(loaded.config.run.status, "join")
    return 0 if said is None else int(said.facts.get("events") or 0)


def _is_running(loaded: Loaded, pid: int) -> bool:
    said = read_status(loaded.config.run.status, "join")
    return said is not None and said.pid == pid and said.state == "running"


def _age(loaded: Loaded) -> float | None:
    """Return how many seconds old the newest checkpoint is; None without one."""
    paths = list((loaded.config.join.state / "0").glob("checkpoint-*.json"))
    return min((time.time() - path.stat().st_mtime for path in paths), default=None)


def _cpu(pid: int) -> float:
    path = Path(f"/proc/{pid}/stat")
    if not path.is_file():
        return float("nan")
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
