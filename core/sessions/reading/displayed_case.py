"""One case, and its advice, as a reader sees them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DisplayedAdvice:
    """The advice of a case, after the first answer: statement, texts, and maps by slot."""

    statement: str
    texts: tuple[str, ...]
    pictures: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class DisplayedCase:
    """One case as a reader sees it.

    number, total: its place among the real cases or, in practice, among the practice cases.
    can_reopen: the case before can be answered again. pictures: slot, kind and source of each image
    for the server to draw; they are never sent. step: of a study with advice, else None.
    first_answer: once it is locked. advice: in the final step, None for a case without advice.
    """

    token: str
    texts: tuple[str, ...]
    number: int
    total: int
    practice: bool
    answer: int | None
    position: int
    can_reopen: bool
    pictures: tuple[tuple[int, str, str], ...] = ()
    step: str | None = None
    first_answer: int | None = None
    advice: DisplayedAdvice | None = None
