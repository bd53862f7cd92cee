"""A process that has imported everything and forks: each child is the whole program, without the seconds of importing.

It reads requests from stdin, a line of JSON each, and answers each with one: {"start": {...}} -> its pid,
{"look": pid} -> its exit code, null while it runs. Children die with it, and it with whoever started it.
"""

import ctypes
import faulthandler
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.crash.wrongly import WRONG

_PR_SET_PDEATHSIG = 1


def main() -> None:
    import stream_mtl.processes.join
    import stream_mtl.processes.serve
    import stream_mtl.processes.train
    import stream_mtl.processes.watch  # noqa: F401
    from stream_mtl.cli import main as program

    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer = os.fork() or _live(program, **request["start"])
        else:
            pid, status = os.waitpid(request["look"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _live(program: Any, words: list[str], environ: dict[str, str], out: str, **changes: Any) -> None:
    """Be the program, and never return."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    code = 1
    try:
        _redirect(out)
        os.environ.update(environ)
        _change(**changes)
        faulthandler.register(signal.SIGUSR1)
        sys.argv = ["stream-mtl", *words]
        program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(out: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, name in ((1, f"{out}.out"), (2, f"{out}.err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, descriptor)
        os.close(file)


def _change(part_bytes: int | None, wrong: str | None, file_bytes: int | None) -> None:
    """Make this child another one than the product is."""
    if part_bytes is not None:
        from stream_mtl.join.topic import TopicLog

        TopicLog.__init__.__defaults__ = (part_bytes,)
    if wrong is not None:
        assert os.environ.get("STREAM_MTL_ENABLE_FAILPOINTS") == "1", "only where failpoints are enabled"
        WRONG[wrong]()
    if file_bytes is not None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
