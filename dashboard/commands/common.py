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

from core import runs
from core import study as study_module

StudyOption = Annotated[Path, typer.Option("--study", help="the study's folder", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="print exactly one JSON object on stdout")]


def studied(path: Path) -> Path:
    """The study's absolute path, with runs registered that a killed process left behind."""
    found = study_module.require(path)
    runs.register_orphans(found)
    return found


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr with rate and time left; yields report(done, total, unit)."""
    bars: dict[str, tqdm] = {}

    def report(done: int, total: int, unit: str) -> None:
        if unit not in bars:
            for finished in bars.values():
                finished.close()
            bars[unit] = tqdm(total=total, desc=title, unit=f" {unit}", file=sys.stderr, leave=False, mininterval=0.3)
        bars[unit].update(done - bars[unit].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()


def plain(value: Any) -> Any:
    """Dataclasses, arrays, numbers of numpy, dates and paths as JSON knows them; a number that is none becomes null."""
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


def answer(command: str, study: Path | None, result: dict[str, Any], as_json: bool, text: str) -> None:
    """Say the result: one JSON object, or text."""
    if as_json:
        print(json.dumps({"schema": 1, "command": command, "study": str(study) if study else None, "result": plain(result)}))
    else:
        print(text)
