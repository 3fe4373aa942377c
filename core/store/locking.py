"""The file locks in front of a study's database.

DuckDB's own lock does not suffice, for two measured reasons (DuckDB 2.0.0). Several processes that
open, write and close the file in turn lost commits that had been acknowledged. And a process that
holds the file for writing shuts every reader out for as long as it keeps the file open. Therefore
each access first takes `STUDY/.lock`: shared to read, exclusive to write.

A second file, `STUDY/.queue`, is taken exclusively by every access while it waits for the first.
Without it a stream of overlapping readers, none of which ever leaves the lock free, keeps a writer
waiting for ever. `flock` grants no order of its own.

The kernel releases a lock when its process ends, so a killed process never leaves a study locked:
`benchmarks/crash_recovery.py` kills each of six steps 20 times with SIGKILL and runs it again.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError

LOCK_TIMEOUT_S = 10.0


class StoreLockedError(UserError):
    """The store was not free within the time allowed; the message names the holder."""


@contextmanager
def store_lock(study: Path, *, exclusive: bool, timeout_s: float) -> Iterator[None]:
    """Hold the lock of a study's store: shared among readers, or exclusive.

    StoreLockedError after `timeout_s` seconds; UserError if the lock files cannot be opened.
    """
    deadline = time.monotonic() + timeout_s
    queue_fd, lock_fd = _open_lock_files(study)
    try:
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        acquired = _acquire(queue_fd, fcntl.LOCK_EX, deadline) and _acquire(lock_fd, mode, deadline)
        # Leave the queue as soon as the lock is held, so that the next access can wait for it.
        os.close(queue_fd)
        queue_fd = -1
        if not acquired:
            raise StoreLockedError(
                f"The study {study} is busy: {_lock_holder(study)} has held its store for more than"
                f" {timeout_s:.0f} s; wait for it or end it, then try again."
            )
        if exclusive:
            _write_holder(lock_fd)
        yield
    finally:
        if queue_fd >= 0:
            os.close(queue_fd)
        os.close(lock_fd)


def _open_lock_files(study: Path) -> tuple[int, int]:
    """Open the queue and the lock file, which are created at first use."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        queue_fd = os.open(study / ".queue", flags, 0o600)
        try:
            return queue_fd, os.open(study / ".lock", flags, 0o600)
        except OSError:
            os.close(queue_fd)
            raise
    except OSError as error:
        raise UserError(
            f"The study {study} cannot be locked ({error.strerror}); its folder must be writable"
            " even for reading: check its permissions and its disk."
        ) from error


def _acquire(fd: int, mode: int, deadline: float) -> bool:
    """Poll a lock until the deadline; return whether it was acquired."""
    # A blocking flock has no time limit in a thread: alarm signals reach the main thread only.
    pause_s = 0.001
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.02)


def _write_holder(lock_fd: int) -> None:
    """Write this process and its command into the lock file, for the message of those who wait."""
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, f"process {os.getpid()} ({' '.join(sys.argv)[:200]})".encode(), 0)


def _lock_holder(study: Path) -> str:
    """Return the process that took the exclusive lock last."""
    lock = study / ".lock"
    text = lock.read_text(errors="replace").strip() if lock.exists() else ""
    return text or "another process (it left no name)"
