"""pytest in a forked process, which starts in a second because the large libraries are loaded."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

# Libraries that most tests import. Importing them takes longer than most mutants' tests.
# The program itself must not be among what they load: its files come from the copy.
_LIBRARIES = ("torch", "sklearn.metrics", "scipy.stats", "pandas", "duckdb", "PIL.Image")
# The order of the tests decides which one fails first: it must not be random.
_OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
_POLL_S = 0.02


def load_libraries() -> None:
    """Import the large libraries; call once, before the first run."""
    for name in _LIBRARIES:
        importlib.import_module(name)


def run_pytest(
    tree: Path, arguments: Iterable[str], variables: Mapping[str, str], limit: float
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy of the project.

    Parameters
    ----------
    tree : Path
        The copy.
    arguments : iterable of str
        Arguments of pytest.
    variables : mapping of str to str
        Environment variables of the tests.
    limit : float
        Seconds.

    Returns
    -------
    subprocess.CompletedProcess
        Exit code, and the output with the errors.

    Raises
    ------
    subprocess.TimeoutExpired
        pytest did not end within the limit.
    """
    command = ["pytest", *_OPTIONS, *arguments]
    # Temporary files of tests that are ended early are removed with this folder.
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        output = Path(folder) / "output.txt"
        process = os.fork()
        if process == 0:
            _become_pytest(tree, command[1:], {**variables, "TMPDIR": folder}, output)
        try:
            code = _wait(process, limit)
        finally:
            # The tests have a group of their own, so that their servers end with them.
            _end_group(process)
        text = output.read_text(encoding="utf-8", errors="replace")
        if code is None:
            raise subprocess.TimeoutExpired(command, limit, text)
        return subprocess.CompletedProcess(command, code, text)


def _become_pytest(
    tree: Path, arguments: list[str], variables: Mapping[str, str], output: Path
) -> None:
    """Run pytest in this process and end it; never returns."""
    code = 70
    try:
        os.setpgid(0, 0)
        descriptor = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        os.chdir(tree)
        tool = Path(__file__).resolve().parents[2]
        os.environ.update(variables)
        # The copy goes before the installed program; the tool itself may lie elsewhere.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), str(tool)])
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(tree))
        tempfile.tempdir = None
        # pytest imports its plugins itself, and the tests import what they test from the copy.
        for name in [name for name in sys.modules if name.split(".")[0] == __name__.split(".")[0]]:
            del sys.modules[name]
        import pytest

        code = int(pytest.main(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(process: int, limit: float) -> int | None:
    """Return the exit code, or None if the process has not ended within the limit."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_S)
    return None


def _end_group(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        os.waitpid(process, 0)
    except ChildProcessError:
        return
