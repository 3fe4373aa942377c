"""What each of two processes does in test_many_processes: every step on one study, then mistakes.

Started by torch.distributed.run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core import distributed, settings
from core.errors import UserError
from core.interpretation import inference
from core.pipeline import dissect, explain, train
from evaluation.pipeline import evaluate


def quiet(*_: object) -> None:
    """No progress."""


def said(work: object) -> str:
    """The sentence of an error."""
    try:
        work()  # type: ignore[operator]
    except UserError as error:
        return str(error)
    return ""


def lost(rows: np.ndarray) -> int:
    """What the second process cannot do."""
    if distributed.rank() == 1:
        raise UserError("The film is lost; find it.")
    return len(rows)


def main(untrained: Path, trained: Path, weights: str, frozen: dict[str, Any]) -> None:
    """Train one study twice (from scratch, and on from given weights with frozen statistics), take
    the other through every step after training; then what must end as the same sentence in both
    processes.
    """
    chosen = settings.load(trained)
    distributed.agree(untrained)
    train.make(untrained, chosen, quiet)
    chosen = chosen.changed("training", weights=weights, **frozen)
    runs = [
        train.make(untrained, chosen, quiet),
        train.make(trained, chosen, quiet),
        evaluate.make(trained, quiet),
    ]
    runs += [dissect.make(trained, chosen, quiet), explain.make(trained, chosen, quiet)]
    mistakes = {
        "lost": said(lambda: list(distributed.dealt(distributed.blocks(7, 2), lost))),
        "first": said(lambda: distributed.once(lambda: inference.runs.folder(trained, "none"))),
        "elsewhere": said(lambda: distributed.agree(trained if distributed.first() else untrained)),
    }
    dealt = [
        rows.tolist() for rows, _ in distributed.dealt(distributed.blocks(7, 2), lambda rows: None)
    ]
    part = distributed.share(7)
    everybody = distributed.every(
        lambda: {
            "part": [part.start, part.stop],
            "mistakes": mistakes,
            "runs": [[made.run, made.fresh] for made in runs],
        }
    )
    if distributed.first():
        (trained / "said.json").write_text(json.dumps({"everybody": everybody, "dealt": dealt}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
