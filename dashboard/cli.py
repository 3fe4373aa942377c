"""`deepminer`: the whole chain from a terminal.

Exit codes: 0 done, 1 a mistake in what was given (one sentence on stderr), 2 wrong usage.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from core import distributed, runs
from core.errors import UserError
from dashboard.commands import demo, exports, labels, pipeline, reading_study, study
from dashboard.commands.ablate import ablate

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=(
        "Find out what a mammogram classifier has learned, and whether its explanations carry"
        " information."
    ),
)
for command in (
    pipeline.init,
    pipeline.ingest,
    pipeline.patches,
    pipeline.train,
    pipeline.evaluate,
    pipeline.dissect,
    pipeline.explain,
    ablate,
    study.status,
    study.doctor,
    study.backup,
    study.restore,
    study.serve,
    study.invite,
    demo.demo,
    exports.figures,
    exports.tables,
    exports.report,
):
    app.command()(command)
app.add_typer(labels.app, name="labels")
app.add_typer(reading_study.app, name="reading")


def main() -> None:
    """Entry point."""
    try:
        app()
    except UserError as error:
        sys.exit(1 if distributed.silent(error) else _say(str(error)))
    except OSError as error:
        if error.errno != 28 and error.filename is None:
            raise
        sys.exit(_say(runs.explain(error, Path.cwd())))


def _say(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
