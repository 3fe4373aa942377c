"""Group commit: a thread that writes the appends of many requests in one transaction.

A transaction of its own costs each append about 15 ms (lock, open, commit, close), one at a time;
with twenty readers requests would queue. A request is acknowledged only after the commit that holds
its answer.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from core import store
from core.errors import UserError
from core.store.connection import Connection
from core.store.locking import StoreLockedError

ResultT = TypeVar("ResultT")
AppendFunction = Callable[[Connection], Any]
Outcome = tuple[Any, BaseException | None]
MAX_BATCH_SIZE = 64


class GroupCommitWriter:
    """Writer to one study's store for any number of threads.

    An append function gets a connection with an open transaction. It must raise a UserError before
    it writes anything, because it shares the transaction with others.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._queue: queue.SimpleQueue[tuple[AppendFunction, Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._serve, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, append: Callable[[Connection], ResultT]) -> Future[ResultT]:
        """Queue an append; the future has its result once it is committed, or its exception."""
        future: Future[ResultT] = Future()
        self._queue.put((append, future))
        return future

    def run(self, append: Callable[[Connection], ResultT]) -> ResultT:
        """Submit an append and wait for its result."""
        return self.submit(append).result()

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    def _next_batch(self) -> tuple[list[tuple[AppendFunction, Future[Any]]], bool]:
        """Wait for an append; return it with all that are queued by then, and whether to stop."""
        batch: list[tuple[AppendFunction, Future[Any]]] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == MAX_BATCH_SIZE:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _serve(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if not batch:
                continue
            try:
                outcomes = _run_batch(self._study, [append for append, _ in batch])
            except StoreLockedError as error:
                # Retrying one by one would make each request wait for the lock in turn.
                outcomes = [(None, error) for _ in batch]
            except BaseException:
                # One append broke the shared transaction: run each alone, so that only that one
                # fails.
                outcomes = [_run_single(self._study, append) for append, _ in batch]
            for (_, future), (result, failure) in zip(batch, outcomes, strict=True):
                # A future that its request has cancelled accepts no result.
                with contextlib.suppress(Exception):
                    if failure is not None:
                        future.set_exception(failure)
                    else:
                        future.set_result(result)


def _run_batch(study: Path, appends: list[AppendFunction]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with store.write(study) as con:
        for append in appends:
            # A UserError is raised before anything is written, so the others' rows are unaffected.
            try:
                outcomes.append((append(con), None))
            except UserError as error:
                outcomes.append((None, error))
    return outcomes


def _run_single(study: Path, append: AppendFunction) -> Outcome:
    try:
        with store.write(study) as con:
            return append(con), None
    except BaseException as error:
        return None, error
