"""Multi-process execution under `torchrun`: work distribution, result gathering, error propagation.

Without torchrun there is one process, and every function is a plain call. Only rank 0 opens the
store and writes runs. The other ranks read `images/` and finished runs of the same study folder, so
machines must share it. An error on one rank is raised on all ranks with the same message.
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

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")
_Params = ParamSpec("_Params")
# Rank 0 may compute alone for that long (statistics, unit selection) while the others wait.
COLLECTIVE_TIMEOUT = timedelta(hours=2)
# Above 0 this process works alone: nested calls of `run_on_rank_zero` count up and down.
_solo_depth = 0


class PeerProcessError(UserError):
    """Another process of this command has ended; its own message gives the cause."""


def world_size() -> int:
    """Return the number of processes that work on this command together."""
    return 1 if _solo_depth else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_rank_zero() -> bool:
    """Return whether this process opens the store, writes runs and prints messages."""
    return rank() == 0


def rank_slice(items: int) -> slice:
    """Return the slice of `items` consecutive items that belongs to this rank.

    The slices of all ranks partition the items in order and differ in size by at most one.
    """
    bounds = [items * r // world_size() for r in range(world_size() + 1)]
    return slice(bounds[rank()], bounds[rank() + 1])


def ensure_process_group() -> None:
    """Initialise the process group once; without torchrun do nothing.

    UserError if the processes cannot connect.
    """
    import torch.distributed as dist

    if world_size() == 1 or dist.is_initialized():
        return
    import torch

    # Gathered objects travel by gloo in any case; gradients of networks on GPUs by nccl.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            "The processes of this command cannot connect to each other"
            f" ({str(error).splitlines()[0]}); start the command by torchrun."
        ) from error
    # torch warns about a process group that still exists at exit.
    atexit.register(shutdown)


def shutdown() -> None:
    """Shut down the process group; later calls run in this process only."""
    global _solo_depth
    if world_size() == 1:
        return
    import torch.distributed as dist

    _solo_depth += 1
    if dist.is_initialized():
        dist.destroy_process_group()


def all_gather_call(work: Callable[[], _Result]) -> list[_Result]:
    """Call `work` on every rank and return the results of all ranks, in order of rank.

    An exception on any rank is raised on all ranks: the original one where it occurred, a UserError
    with the same message elsewhere.
    """
    if world_size() == 1:
        return [work()]
    ensure_process_group()
    failure: Exception | None = None
    try:
        outcome: tuple[bool, Any] = (True, work())
    except Exception as error:
        outcome, failure = (False, _message(error)), error
    # Every rank takes part in the exchange, also after an error: otherwise the others would wait.
    outcomes = _all_gather_object(outcome)
    if failure is not None:
        raise _mark_reported(failure)
    for succeeded, result in outcomes:
        if not succeeded:
            raise _mark_reported(UserError(result))
    return [result for _, result in outcomes]


def already_reported(error: BaseException) -> bool:
    """Return whether rank 0 raised the same error, so that this rank need not print it."""
    return not is_rank_zero() and bool(getattr(error, "reported", False))


def _mark_reported(error: Exception) -> Exception:
    error.__dict__["reported"] = True
    return error


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _all_gather_object(outcome: Any) -> list[Any]:
    import torch.distributed as dist

    outcomes: list[Any] = [None] * world_size()
    with translate_peer_failure():
        dist.all_gather_object(outcomes, outcome)
    return outcomes


def run_on_rank_zero(work: Callable[[], _Result]) -> _Result:
    """Call `work` on rank 0 only and return its result, or raise its error, on every rank."""
    # The other ranks contribute None; only the first of the gathered results is used.
    results = all_gather_call(lambda: _run_solo(work) if is_rank_zero() else None)
    return results[0]  # type: ignore[return-value]


def _run_solo(work: Callable[[], _Result]) -> _Result:
    """Call `work` as the only process: the other ranks wait and join no collective call in it."""
    global _solo_depth
    _solo_depth += 1
    try:
        return work()
    finally:
        _solo_depth -= 1


def rank_zero_query(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """Decorate a function that reads the store: it runs on rank 0, every rank gets the result."""

    @functools.wraps(function)
    def wrapper(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        return run_on_rank_zero(lambda: function(*args, **kwargs))

    return wrapper


def map_round_robin(
    items: Sequence[_Item], work: Callable[[_Item], _Result]
) -> Iterator[tuple[_Item, _Result]]:
    """Yield (item, work(item)) for all items in order, on every rank.

    Each round gives one item to every rank, so that results arrive in order and memory holds one
    round of results.
    """
    for begin in range(0, len(items), world_size()):
        batch = items[begin : begin + world_size()]

        def run_own_item(batch: Sequence[_Item] = batch) -> _Result | None:
            # A rank without an item in the last round still joins the collective call.
            return work(batch[rank()]) if rank() < len(batch) else None

        yield from zip(batch, all_gather_call(run_own_item))


def row_blocks(items: int, size: int, done: int = 0) -> list[np.ndarray]:
    """Return the row numbers `done` to `items` in int arrays of at most `size` rows."""
    return [np.arange(begin, min(begin + size, items)) for begin in range(done, items, size)]


@contextmanager
def translate_peer_failure() -> Iterator[None]:
    """Raise PeerProcessError where a collective operation fails because another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1:
            raise
        raise PeerProcessError(
            f"Another of the {world_size()} processes has ended; its own message gives the cause."
            " Correct it and run the command again: finished work is reused."
        ) from error


def wrap_ddp(network: nn.Module) -> nn.Module:
    """Wrap a network for data-parallel training; with one process return the network itself.

    Gradients are averaged over ranks, and all ranks start from the weights of rank 0.
    """
    if world_size() == 1:
        return network
    ensure_process_group()
    from torch.nn.parallel import DistributedDataParallel

    # Batch-norm statistics stay local during an epoch; `all_reduce_mean` merges them afterwards.
    with translate_peer_failure():
        return DistributedDataParallel(network, forward_sync_buffers=False)


def all_reduce_mean(tensors: Sequence[Tensor]) -> None:
    """Replace tensors in place by their mean over all ranks."""
    if world_size() == 1:
        return
    import torch.distributed as dist

    with translate_peer_failure():
        for tensor in tensors:
            # A sum and a division, because gloo has no averaging reduction.
            dist.all_reduce(tensor)
            tensor /= world_size()


def check_same_launch(study: Path) -> None:
    """Check that all ranks run the same command on the same study folder.

    UserError naming the processes that do not.
    """
    if world_size() == 1:
        return
    # Paths may differ between machines: a file written by rank 0 proves that the folder is shared.
    token = study / f".together-{run_on_rank_zero(lambda: secrets.token_hex(8))}"
    try:
        # A collective call: no rank tests for the file before it is written.
        run_on_rank_zero(token.touch)
        launches = all_gather_call(lambda: (token.exists(), sys.argv[1:], str(study)))
    finally:
        if is_rank_zero():
            token.unlink(missing_ok=True)
    strangers = [
        f"process {r} ({path})"
        for r, (sees_token, _, path) in enumerate(launches)
        if not sees_token
    ]
    if strangers:
        raise UserError(
            f"The study {launches[0][2]} of the first process is another folder for"
            f" {', '.join(strangers)}; give every machine the same, shared folder."
        )
    expected = _without_study_option(launches[0][1])
    if any(_without_study_option(argv) != expected for _, argv, _ in launches):
        raise UserError(
            "The processes were given different commands or options; start the same command on"
            " every machine."
        )


def _without_study_option(argv: list[str]) -> list[str]:
    """Return a command line without --study: the folder may be mounted under other names."""
    arguments = list(argv)
    if "--study" in arguments:
        position = arguments.index("--study")
        del arguments[position : position + 2]
    return [argument for argument in arguments if not argument.startswith("--study=")]
