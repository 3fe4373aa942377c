"""`deepminer ablate`: is an explanation true of the network?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core import store
from core.store import unit_table
from dashboard.commands.common import JsonOption, StudyOption, answer, progress, studied


def ablate(
    study: StudyOption = Path("."),
    run: Annotated[str | None, typer.Option(help="dissect run, instead of the newest")] = None,
    as_json: JsonOption = False,
) -> None:
    """Set the named units to zero and compare with random units; deletion curves; where the class
    maps look.
    """
    from evaluation.pipeline import ablate as step

    folder = studied(study)
    with progress("ablate") as report:
        made = step.make(folder, report, run)
    with store.read(folder) as con:
        frame = unit_table.ablations(con, made.run)
    shown = frame[frame["name"] != "deletion"].to_dict("records")
    found = "" if made.fresh else " (made before with the same settings and labels)"
    answer(
        "ablate",
        folder,
        {"run": made.run, "fresh": made.fresh, "numbers": shown},
        as_json,
        f"{made.run}{found}: {step.summary(frame)}. Next: deepminer serve",
    )
