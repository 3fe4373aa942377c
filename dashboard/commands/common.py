"""What every command shares: the study option, progress on stderr, one JSON object on stdout."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from core import distributed, runs, study_folder
from core.errors import UserError

StudyOption = Annotated[Path, typer.Option("--study", help="the study's folder", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="print exactly one JSON object on stdout")]


def studied(path: Path, together: bool = False) -> Path:
    """The study's absolute path, with runs registered that a killed process left behind. together:
    the command may run in many processes (torchrun).
    """
    if distributed.world() > 1 and not together:
        raise UserError(
            "This command runs in one process; only train, evaluate, dissect and explain are"
            " started by torchrun."
        )
    found = distributed.every(lambda: study_folder.require(path))[distributed.rank()]
    distributed.agree(found)
    distributed.once(lambda: runs.register_orphans(found))
    return found


def parted() -> None:
    """After the step that many processes made together: the first goes on alone, the others are
    done.
    """
    distributed.leave()
    if not distributed.first():
        raise typer.Exit


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr with rate and time left; yields report(done, total, unit).

    Of many processes only the first has one.
    """
    if not distributed.first():
        yield lambda *_: None
        return
    bars: dict[str, tqdm] = {}

    def report(done: int, total: int, unit: str) -> None:
        """Move the bar of this unit; a new unit ends the bars before it."""
        if unit not in bars:
            for finished in bars.values():
                finished.close()
            bars[unit] = tqdm(
                total=total,
                desc=title,
                unit=f" {unit}",
                file=sys.stderr,
                leave=False,
                mininterval=0.3,
            )
        bars[unit].update(done - bars[unit].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()


def plain(value: Any) -> Any:
    """Dataclasses, arrays, numbers of numpy, dates and paths as JSON knows them; a number that is
    none becomes null.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def answer(
    command: str, study: Path | None, result: dict[str, Any], as_json: bool, text: str
) -> None:
    """Say the result: one JSON object, or text."""
    if as_json:
        print(
            json.dumps(
                {
                    "schema": 1,
                    "command": command,
                    "study": str(study) if study else None,
                    "result": plain(result),
                }
            )
        )
    else:
        print(text)
