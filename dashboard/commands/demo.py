"""`deepminer demo`: a phantom study with every step, headless."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.common import JsonOption, answer


def demo(
    folder: Annotated[Path, typer.Argument(help="folder of the demonstration study")],
    quick: Annotated[
        bool, typer.Option("--quick", help="80 patients, 64 units: about a minute")
    ] = False,
    no_simulated_experts: Annotated[
        bool, typer.Option("--no-simulated-experts", help="leave annotation and reading to people")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the demonstration study: phantom mammograms, every step, and (unless told otherwise)
    simulated experts.
    """
    # torch comes with these: a command that does not compute starts without it.
    from evaluation.demo.build import build
    from evaluation.queries.study_status import status

    started = time.time()
    path = build(folder.resolve(), quick=quick, experts=not no_simulated_experts)
    result = {
        "seconds": round(time.time() - started, 1),
        "simulated_experts": not no_simulated_experts,
        **status(path),
    }
    answer(
        "demo",
        path,
        result,
        as_json,
        f"The demonstration study is in {path} ({result['seconds']} s). Next: deepminer serve"
        f" --study {path}",
    )
