"""A call that does not return ends the process; one that does, or takes what it may take, does not."""

import subprocess
import sys
import threading

from stream_mtl.connectors.watchdog import Watchdog
from stream_mtl.errors import HUNG

HANGS = """
import time
from stream_mtl.connectors.watchdog import Watchdog

def the_call_that_hangs():
    time.sleep(600)

with Watchdog(grace=0.1).watching(0.1):
    the_call_that_hangs()
"""


def test_a_call_that_hangs_ends_the_process_and_shows_where_it_stood() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert ran.returncode == HUNG
    assert "the_call_that_hangs" in ran.stderr


def test_a_call_that_returns_is_left_alone() -> None:
    barked = threading.Event()
    watchdog = Watchdog(grace=0.01, bark=barked.set)
    with watchdog.watching(600):
        assert not barked.wait(0.2)
    assert not barked.wait(0.2)
    with watchdog.watching(0):
        assert barked.wait(30)
    watchdog.close()
    watchdog.close()


def test_what_is_done_for_a_call_that_waits_for_it_does_not_count() -> None:
    barked = threading.Event()
    watchdog = Watchdog(grace=0.3, bark=barked.set)
    with watchdog.watching(0):
        with watchdog.resting():
            assert not barked.wait(1)
        assert barked.wait(30)
    with watchdog.resting():  # nothing is watched
        pass
    assert watchdog._deadline is None
    watchdog.close()
