"""The real process, killed with SIGKILL again and again, leaves what an undisturbed one leaves."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STREAM_MTL = str(Path(sys.executable).parent / "stream-mtl")
SMALL = [
    "-X",
    "join.poll_rows=700",
    "-X",
    "join.tell_rows=1000",
    "-X",
    "join.block_rows=500",
    "-X",
    "join.checkpoint_every=20ms",
]


def market(folder: Path) -> Path:
    knobs = ["--impressions", "60000", "--seed", "3", "-X", "conversion_within=12h", "-X", "duration=1d"]
    subprocess.run([STREAM_MTL, "gen", str(folder), *knobs], check=True, capture_output=True)
    return folder / "config.toml"


def digest(config: Path) -> dict[str, object]:
    made = subprocess.run([STREAM_MTL, "digest", str(config), "--json"], check=True, capture_output=True)
    found: dict[str, object] = json.loads(made.stdout)
    return found


@pytest.mark.slow
def test_a_joiner_killed_again_and_again_writes_the_same_log(tmp_path: Path) -> None:
    whole, hurt = market(tmp_path / "whole"), market(tmp_path / "hurt")
    subprocess.run([STREAM_MTL, "run", "join", str(whole), *SMALL], check=True, capture_output=True)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng, kills = random.Random(seed), 0
    for _ in range(60):
        process = subprocess.Popen([STREAM_MTL, "run", "join", str(hurt), *SMALL], stdout=subprocess.DEVNULL)
        log = tmp_path / "hurt" / "log" / "0"
        begun, blocks = time.monotonic(), len(list(log.glob("*.block")))
        wanted = blocks + rng.randrange(2, 20)  # die after some progress, else this could go on for ever
        while (
            process.poll() is None
            and len(list(log.glob("*.block"))) <= wanted
            and time.monotonic() - begun < 60
        ):
            time.sleep(rng.random() * 0.01)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([STREAM_MTL, "run", "join", str(hurt), *SMALL], check=True, capture_output=True)
    assert kills >= 3
    assert digest(hurt) == digest(whole)
    truth = json.loads((tmp_path / "hurt" / "truth" / "accounts.json").read_text())
    for counts in truth.values():
        counts.pop("read")
    assert digest(hurt)["accounts"] == truth
