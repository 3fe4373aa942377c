"""`deepminer`: every step of a study from a terminal.

Exit codes: 0 done, 1 an error in the input (one message on stderr), 2 wrong usage.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import UserError
from dashboard.commands.common import CommandGroup
from dashboard.commands.dataset import dataset_app
from dashboard.commands.demo import demo_app
from dashboard.commands.exports import export_app
from dashboard.commands.labels import labels_app
from dashboard.commands.pipeline import pipeline_app
from dashboard.commands.problems import problems_app
from dashboard.commands.reading_answers import answers_app
from dashboard.commands.reading_plan import plan_app
from dashboard.commands.reading_study import reading_app
from dashboard.commands.study import study_app
from dashboard.commands.verify import verify_app
from dashboard.commands.withdraw import withdraw_app

app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    # Plain help texts: drawing them in boxes takes twice as long as the command line itself.
    rich_markup_mode=None,
    # The decorated tracebacks print local variables, and these can contain data of patients.
    pretty_exceptions_enable=False,
    help=(
        "Train or load a mammogram classifier, label the units that it relies on, explain its"
        " predictions, and test the explanations in a blinded reading study."
    ),
)
for _group in (
    dataset_app,
    problems_app,
    pipeline_app,
    study_app,
    demo_app,
    export_app,
    verify_app,
    withdraw_app,
):
    app.add_typer(_group)
app.add_typer(labels_app, name="labels")
reading_app.add_typer(answers_app)
reading_app.add_typer(plan_app)
app.add_typer(reading_app, name="reading")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"deepminer {version('deepminer')}")
        raise typer.Exit


@app.callback()
def root_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """Hold the options of `deepminer` itself."""


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app()
    except UserError as error:
        from core import distributed

        # Of many processes one reports the error.
        sys.exit(1 if distributed.already_reported(error) else _fail(str(error)))
    except OSError as error:
        if error.errno != errno.ENOSPC and error.filename is None:
            raise
        from core.runs import format_error

        sys.exit(_fail(format_error(error, Path.cwd())))


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
