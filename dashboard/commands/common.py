"""Shared parts of the commands: the study option and one JSON object on stdout."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from core.errors import UserError

if TYPE_CHECKING:
    from core.store.evidence import Actor

StudyOption = Annotated[Path, typer.Option("--study", help="the study folder", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="print exactly one JSON object on stdout")]


class CommandGroup(TyperGroup):
    """A group of commands whose help has whole descriptions, in lines as wide as the terminal."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the first paragraph of the help of each command."""
        # The inherited method cuts descriptions off after the first line.
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(limit=1000))
                    for name, command in commands.items()
                    if command is not None and not command.hidden
                ]
            )


def resolve_study(path: Path, distributed_step: bool = False) -> Path:
    """Return the absolute path of a study and register the runs that a killed process left.

    distributed_step: the command may run in several processes (torchrun).
    """
    from core import distributed, runs, study_folder

    if distributed.world_size() > 1 and not distributed_step:
        raise UserError(
            "This command runs in one process; only train, evaluate, dissect and explain can be"
            " started by torchrun."
        )
    study = distributed.all_gather_call(lambda: study_folder.require_study(path))[
        distributed.rank()
    ]
    distributed.check_same_launch(study)
    # A step that was killed between renaming its folder and registering it is complete.
    distributed.run_on_rank_zero(lambda: runs.register_orphans(study))
    return study


def command_actor(command: str = "") -> Actor:
    """Return who acts in a command: the operating system's user.

    command: named beside the user, for events that several commands cause.
    """
    from core.store.evidence import Actor, operating_system_user

    user = operating_system_user()
    return Actor(f"{user}, command {command}", user.claimed) if command else user


def exit_worker_ranks() -> None:
    """End all processes but rank 0, which continues alone after a distributed step."""
    from core import distributed

    distributed.shutdown()
    if not distributed.is_rank_zero():
        raise typer.Exit


def to_jsonable(value: Any) -> Any:
    """Convert dataclasses, arrays, NumPy numbers, dates and paths to JSON values.

    NaN and infinity become null: JSON has neither.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_jsonable(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [to_jsonable(item) for item in value]
    # NumPy arrays and scalars; NumPy itself is not imported for commands without arrays.
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def emit_result(
    command: str,
    study: Path | None,
    result: dict[str, Any] | list[dict[str, Any]],
    as_json: bool,
    text: str,
) -> None:
    """Print the result of a command: one JSON object, or text."""
    if not as_json:
        print(text)
        return
    envelope = {
        "schema": 1,
        "command": command,
        "study": str(study) if study else None,
        "result": to_jsonable(result),
    }
    print(json.dumps(envelope))
