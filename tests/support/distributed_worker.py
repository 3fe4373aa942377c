"""The program of each of two processes in test_distributed: every step, then errors.

Started by torch.distributed.run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core import distributed, runs, settings
from core.errors import UserError
from core.pipeline import dissect, explain, train
from evaluation.pipeline import evaluate


def quiet(*_: object) -> None:
    """Report no progress."""


def message_of(work: Callable[[], object]) -> str:
    """Return the message of the error that `work` raises, or ""."""
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def fail_on_second_rank(rows: np.ndarray) -> int:
    """Return the number of rows; fail on rank 1."""
    if distributed.rank() == 1:
        raise UserError("The image is missing; restore it.")
    return len(rows)


def main(untrained: Path, trained: Path, weights: str, frozen: dict[str, Any]) -> None:
    """Run every step on two studies and write the results of both processes.

    `untrained` is trained twice: from scratch, and from given weights with frozen statistics;
    `trained` is taken through every step after training.
    """
    chosen = settings.load_settings(trained)
    distributed.check_same_launch(untrained)
    train.run_training(untrained, chosen, quiet)
    chosen = chosen.with_changes("training", weights=weights, **frozen)
    steps = [
        train.run_training(untrained, chosen, quiet),
        train.run_training(trained, chosen, quiet),
        evaluate.run_evaluation(trained, quiet),
        dissect.run_dissection(trained, chosen, quiet),
        explain.run_explanation(trained, chosen, quiet),
    ]
    blocks = distributed.row_blocks(7, 2)
    other_folder = trained if distributed.is_rank_zero() else untrained
    errors = {
        "missing": message_of(
            lambda: list(distributed.map_round_robin(blocks, fail_on_second_rank))
        ),
        "no_run": message_of(
            lambda: distributed.run_on_rank_zero(lambda: runs.run_folder(trained, "none"))
        ),
        "other_folder": message_of(lambda: distributed.check_same_launch(other_folder)),
    }
    rows = [block.tolist() for block, _ in distributed.map_round_robin(blocks, lambda _: None)]
    own = distributed.rank_slice(7)
    processes = distributed.all_gather_call(
        lambda: {
            "slice": [own.start, own.stop],
            "errors": errors,
            "runs": [[step.run, step.created] for step in steps],
        }
    )
    if distributed.is_rank_zero():
        results = {"processes": processes, "rows": rows}
        (trained / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
