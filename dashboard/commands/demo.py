"""`deepminer demo`: a phantom study with every step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from core.progress import progress_bar
from dashboard.commands.common import JsonOption, emit_result

demo_app = typer.Typer()


@demo_app.command("demo")
def demo_command(
    folder: Annotated[Path, typer.Argument(help="folder of the demonstration study")],
    quick: Annotated[
        bool, typer.Option("--quick", help="narrower mammograms, fewer patients, a smaller network")
    ] = False,
    shortcut: Annotated[
        bool,
        typer.Option("--shortcut", help="plant a shortcut: a ring beside most malignant findings"),
    ] = False,
    no_simulated_experts: Annotated[
        bool, typer.Option("--no-simulated-experts", help="leave annotation and reading to people")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the demonstration study: phantom mammograms, every step, simulated experts."""
    from evaluation.demo.build import build_demo
    from evaluation.queries.study_status import study_status

    start = time.monotonic()
    path = build_demo(
        folder.resolve(),
        quick=quick,
        experts=not no_simulated_experts,
        shortcut=shortcut,
        progress=progress_bar,
    )
    result = {
        "seconds": round(time.monotonic() - start, 1),
        "simulated_experts": not no_simulated_experts,
        **study_status(path),
    }
    text = (
        f"The demonstration study is in {path} ({result['seconds']} s). Next: deepminer serve"
        f" --study {path}"
    )
    emit_result("demo", path, result, as_json, text)
