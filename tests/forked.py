"""Programs that need a process of their own, forked from one that has imported PyTorch and nothing else: importing it
takes longer than most of them.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from magvit.locks import locked

FORKING = """
import json, os, sys
import torch
for line in sys.stdin:
    program, sys.argv, folder, files = json.loads(line)
    if (child := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    raise SystemExit
os.chdir(folder)
for number, file in enumerate(files, 1):
    os.dup2(os.open(file, os.O_WRONLY), number)
exec(program, {"__name__": "__main__"})
"""


@cache
def _server() -> subprocess.Popen[str]:
    """Ends with this process, which closes its input."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-u", "-c", FORKING], env=environment, stdin=pipe, stdout=pipe, text=True)


@contextmanager
def lock_holder(folder: Path) -> Iterator[int]:
    """The id of a process that holds a folder's lock, and is killed at the end."""
    reading, writing = os.pipe()
    if (holder := os.fork()) == 0:
        try:
            with locked(folder):
                os.write(writing, b"held")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 4) == b"held"
        yield holder
    finally:
        os.close(reading)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


def run_forked(
    program: str, *arguments: object, folder: str | Path = ".", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program of Python in a folder, with arguments and one thread, on an interpreter that has PyTorch.

    Raises:
        AssertionError: it failed, unless `check` is off; with what it said.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("out", "err")]
        for file in files:
            file.touch()
        request = program, ["-c", *map(str, arguments)], str(Path(folder).absolute()), [*map(str, files)]
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        done = subprocess.CompletedProcess(request[1], code, *(file.read_text() for file in files))
    assert not check or code == 0, done.stdout + done.stderr[-2000:]
    return done
