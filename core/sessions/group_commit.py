"""Many small appends in one commit: a thread that gathers what waits and opens the door once for
all of it.

Each append alone costs one opening of the store (about 15 ms, one at a time); twenty readers would
queue. Nobody is told "saved" before the commit that holds the answer.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from core import store
from core.errors import UserError
from core.store.connection import DoorBusy

T = TypeVar("T")
Work = Callable[[duckdb.DuckDBPyConnection], Any]
MOST_AT_ONCE = 64


class Together:
    """Appends to one study's store from any thread.

    A work function gets a connection with an open transaction; it must refuse (UserError) before it
    writes, because the transaction is shared with others.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._waiting: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store-together", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> Future[T]:
        """Queue a work function; the future has its result once it is committed, or its exception."""
        future: Future[T] = Future()
        self._waiting.put((work, future))
        return future

    def run(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Submit and wait."""
        return self.submit(work).result()

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._waiting.put(None)
        self._thread.join(timeout=30)

    def _gather(self) -> tuple[list[tuple[Work, Future[Any]]], bool]:
        batch: list[tuple[Work, Future[Any]]] = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) == MOST_AT_ONCE:
                return batch, False
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _serve(self) -> None:
        last = False
        while not last:
            batch, last = self._gather()
            if not batch:
                continue
            try:
                done = _in_one(self._study, [work for work, _ in batch])
            except DoorBusy as busy:
                done = [(None, busy) for _ in batch]
            except BaseException:
                # One of them broke the shared transaction: each on its own, so that only the guilty
                # one fails.
                done = [_alone(self._study, work) for work, _ in batch]
            for (_, future), (value, error) in zip(batch, done, strict=True):
                with contextlib.suppress(Exception):
                    future.set_exception(error) if error is not None else future.set_result(value)


def _in_one(study: Path, works: list[Work]) -> list[tuple[Any, BaseException | None]]:
    done: list[tuple[Any, BaseException | None]] = []
    with store.write(study) as con:
        for work in works:
            try:
                done.append((work(con), None))
            except UserError as error:
                done.append((None, error))
    return done


def _alone(study: Path, work: Work) -> tuple[Any, BaseException | None]:
    try:
        with store.write(study) as con:
            return work(con), None
    except BaseException as error:
        return None, error
