"""Errors whose message is meant for the user of a command or a page.

Callers distinguish errors by their class, never by the text of the message.
"""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """A mistake or condition that the user can correct.

    The message states the problem, its place (file, line, case) and the remedy. The command line
    prints it and exits with status 1.
    """


class MissingStudyError(UserError):
    """The folder is not a study, because it has no file `missing`."""

    def __init__(self, folder: Path, missing: str) -> None:
        super().__init__(
            f"{folder} is not a study folder (it has no {missing}); run `deepminer init {folder}`"
            " or give --study."
        )


class MissingRunError(UserError):
    """A run, a run of the required kind, or the folder of a run does not exist."""


class DiskFullError(UserError):
    """The disk that holds a folder is full."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"No space is left on the disk that holds {folder}; free some space and run the command"
            " again. No stored data is lost."
        )


class RequestRefused(UserError):
    """A request from an expert's page that is refused; the page shows the message.

    code: "stale", "closed", "consent", "answer", "queue" or "empty".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
