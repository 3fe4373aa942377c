"""Positions of an expert's fixed order: the current one, the previous one and the stored answers.

Shared by reading studies and label audits. Answers are given in order: only the first unanswered
position and the one before it accept an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar


class AnswerPosition(Protocol):
    """A position with its latest stored answer; revision is 0 without one."""

    @property
    def revision(self) -> int:
        """Number of the latest revision."""

    @property
    def answer(self) -> Any:
        """The latest answer, or None."""


PositionT = TypeVar("PositionT", bound=AnswerPosition)


def current_position(positions: Sequence[PositionT]) -> PositionT | None:
    """Return the first unanswered position, or None."""
    return next((position for position in positions if not position.revision), None)


def previous_position(positions: Sequence[PositionT]) -> PositionT | None:
    """Return the position before the first unanswered one: the last when all are answered."""
    current = current_position(positions)
    index = positions.index(current) if current is not None else len(positions)
    return positions[index - 1] if index else None


def find_stored_answer(
    positions: Sequence[PositionT],
    token: str,
    answer: Any,
    stored_token: Callable[[PositionT], str],
) -> PositionT | None:
    """Return the position whose latest answer was stored with this token and is this answer.

    A browser repeats a request whose acknowledgement was lost. It gets the same acknowledgement,
    and no second row is written.
    """
    for position in positions:
        # Another answer under a used token comes from an outdated window.
        if position.revision and position.answer == answer and stored_token(position) == token:
            return position
    return None
