"""Many processes on one step, started by `torchrun`: who does what, and how answers and errors come
together.

Without torchrun there is one process, and everything here is a plain function call. The first
process alone opens the store and writes runs; the others read `images/` and finished runs of the
same folder, which machines must therefore share. An error in one process is raised in all, with the
same sentence.
"""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from core.errors import UserError

if TYPE_CHECKING:  # torch takes seconds to import; commands that do not compute start without it
    from torch import Tensor, nn

T = TypeVar("T")
S = TypeVar("S")
P = ParamSpec("P")
PATIENCE = timedelta(
    hours=2
)  # the first process may compute alone that long (statistics, selection) while others wait
_alone = 0  # above 0: this process acts by itself just now, whatever the others do


class OthersEnded(UserError):
    """Another process of this command is gone; its own message says why."""


def world() -> int:
    """Number of processes that work on this command together."""
    return 1 if _alone else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Whether this process opens the store, writes and speaks."""
    return rank() == 0


def share(items: int) -> slice:
    """This process's part of `items` things in a row: parts follow each other, differ in size by at
    most one, and leave out and repeat nothing.
    """
    cuts = [items * r // world() for r in range(world() + 1)]
    return slice(cuts[rank()], cuts[rank() + 1])


def start() -> None:
    """Meet the other processes, once; does nothing without torchrun.

    UserError if they do not come.
    """
    import torch.distributed as dist

    if world() == 1 or dist.is_initialized():
        return
    import torch

    # Answers travel by gloo in any case; gradients of networks on GPUs by nccl.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"The processes of this command do not find each other ({str(error).splitlines()[0]});"
            " start it by torchrun."
        ) from error
    atexit.register(leave)


def leave() -> None:
    """Part from the others: this process works alone from here on."""
    global _alone
    if world() == 1:
        return
    import torch.distributed as dist

    _alone += 1
    if dist.is_initialized():
        dist.destroy_process_group()


def every(work: Callable[[], T]) -> list[T]:
    """Do `work` in every process; every process gets all answers, by rank.

    An error in any of them is raised in all.
    """
    if world() == 1:
        return [work()]
    start()
    try:
        mine: tuple[bool, Any] = (True, work())
        failed = None
    except Exception as error:
        mine, failed = (False, _sentence(error)), error
    answers = _gathered(mine)
    if failed is not None:
        failed.__dict__["told"] = True
        raise failed
    for fine, answer in answers:
        if not fine:
            theirs = UserError(answer)
            theirs.__dict__["told"] = True
            raise theirs
    return [answer for _, answer in answers]


def silent(error: BaseException) -> bool:
    """Whether somebody else says this error: every process has it, and the first one speaks."""
    return not first() and bool(getattr(error, "told", False))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _gathered(mine: Any) -> list[Any]:
    import torch.distributed as dist

    answers: list[Any] = [None] * world()
    with together():
        dist.all_gather_object(answers, mine)
    return answers


def once(work: Callable[[], T]) -> T:
    """Do `work` in the first process only; every process gets its answer, or its error."""
    return every(lambda: _by_itself(work) if first() else None)[0]  # type: ignore[return-value]


def _by_itself(work: Callable[[], T]) -> T:
    """What the first process does here it does without the others, who wait for the answer."""
    global _alone
    _alone += 1
    try:
        return work()
    finally:
        _alone -= 1


def by_first(function: Callable[P, T]) -> Callable[P, T]:
    """A function that only the first process runs, for all of them: what asks the store."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        return once(lambda: function(*args, **kwargs))

    return asked


def dealt(items: Sequence[T], work: Callable[[T], S]) -> Iterator[tuple[T, S]]:
    """(item, answer) for every item in order, in every process; the items are dealt out in rounds,
    one to each process.
    """
    for begin in range(0, len(items), world()):
        some = items[begin : begin + world()]
        answers = every(lambda some=some: work(some[rank()]) if rank() < len(some) else None)  # type: ignore[misc]
        yield from zip(some, answers)


def blocks(items: int, size: int, done: int = 0) -> list[np.ndarray]:
    """Rows `done` to `items` in blocks of `size`."""
    return [np.arange(begin, min(begin + size, items)) for begin in range(done, items, size)]


@contextmanager
def together() -> Iterator[None]:
    """What needs every process: says so where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1:
            raise
        raise OthersEnded(
            f"Another of the {world()} processes has ended; its own message says why. Mend that and"
            " run the command again: it goes on where it can."
        ) from error


def joined(network: nn.Module) -> nn.Module:
    """A network whose gradients are averaged over the processes, and that starts from the first
    one's weights; the network itself where it is alone.
    """
    if world() == 1:
        return network
    start()
    from torch.nn.parallel import DistributedDataParallel

    # Buffers (batch-norm statistics) are the processes' own during an epoch; `average` brings them
    # together.
    with together():
        return DistributedDataParallel(network, forward_sync_buffers=False)


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over the processes."""
    if world() == 1:
        return
    import torch.distributed as dist

    with together():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= world()


def agree(study: Path) -> None:
    """Make sure that every process works on the same folder with the same command.

    UserError saying which does not.
    """
    if world() == 1:
        return
    token = study / f".together-{once(lambda: secrets.token_hex(8))}"
    try:
        once(token.touch)
        seen = every(lambda: (token.exists(), sys.argv[1:], str(study)))
    finally:
        if first():
            token.unlink(missing_ok=True)
    apart = [f"process {r} ({path})" for r, (there, _, path) in enumerate(seen) if not there]
    if apart:
        raise UserError(
            f"The study {seen[0][2]} of the first process is another folder for {', '.join(apart)};"
            " give every machine the same, shared folder."
        )
    if any(_plain(argv) != _plain(seen[0][1]) for _, argv, _ in seen):
        raise UserError(
            "The processes were given different commands or options; start the same command on"
            " every machine."
        )


def _plain(argv: list[str]) -> list[str]:
    """A command without its study's folder, which may be mounted under another name elsewhere."""
    kept = list(argv)
    if "--study" in kept:
        place = kept.index("--study")
        del kept[place : place + 2]
    return [word for word in kept if not word.startswith("--study=")]
