"""Watching needs no torch: its processes and views start quickly and stay small."""

import subprocess
import sys
from pathlib import Path

import stream_mtl.watch

HERE = Path(stream_mtl.watch.__file__).parent


def test_watching_does_not_load_torch() -> None:
    names = [f"stream_mtl.watch.{path.stem}" for path in sorted(HERE.glob("[a-z]*.py"))]
    program = f"import sys\nfor name in {names!r}: __import__(name)\nsys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
