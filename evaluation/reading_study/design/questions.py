"""Questions beside the answer of a case, and the questionnaire at the end of a reading study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from evaluation.intervals import count_text

QUESTION_KINDS = ("scale", "choice", "text")
# A case with advice then takes five keys: first answer, prediction, final answer, two questions.
MAX_CASE_QUESTIONS = 2
MAX_QUESTIONNAIRE = 20
# One digit key each.
MAX_OPTIONS = 9
_LONGEST_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question to readers.

    Parameters
    ----------
    text : str
        The question, at most 300 characters.
    kind : {"scale", "choice", "text"}
        Ordered options, unordered options, or free text.
    options : tuple of str
        2 to 9 different options; none for free text.

    Raises
    ------
    UserError
        If a value is not allowed; the message names the question.

    Examples
    --------
    >>> Question(text="How sure are you?", kind="scale", options=("Not", "Very")).options
    ('Not', 'Very')
    """

    text: str
    kind: str = "scale"
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name = f"The question {str(self.text)[:60]!r}"
        # A text is a sequence as well; its letters are no options.
        if not isinstance(self.options, list | tuple) or not all(
            isinstance(option, str | int | float) for option in self.options
        ):
            raise UserError(f"{name} has options that are no list of texts; write them as a list.")
        object.__setattr__(self, "options", tuple(self.options))
        if not isinstance(self.text, str) or not 0 < len(self.text.strip()) <= _LONGEST_TEXT:
            raise UserError(f"{name} needs a text of at most {_LONGEST_TEXT} characters.")
        if self.kind not in QUESTION_KINDS:
            raise UserError(
                f"{name} is of the kind {self.kind!r}; it must be one of"
                f" {', '.join(QUESTION_KINDS)}."
            )
        if self.kind == "text":
            if self.options:
                raise UserError(f"{name} asks for free text and has options; remove them.")
            return
        options = [str(option).strip() for option in self.options]
        if len(options) < 2 or len(options) > MAX_OPTIONS:
            raise UserError(
                f"{name} has {count_text(len(options), 'option') if options else 'no options'};"
                f" a {self.kind} needs 2 to {MAX_OPTIONS}, or ask for free text (kind text)."
            )
        if not all(options) or len(set(options)) < len(options):
            raise UserError(f"{name} has an empty or a repeated option; name each option once.")


def parse_questions(values: Iterable[Any], setting: str, most: int) -> tuple[Question, ...]:
    """Return the questions of a design's setting.

    Parameters
    ----------
    values : iterable
        Questions, or mappings with text, kind and options as stored.
    setting : str
        Name of the setting, for messages.
    most : int
        Largest number of questions.

    Raises
    ------
    UserError
        If a question is not valid or is asked twice, or there are too many.
    """
    questions = []
    for number, value in enumerate(values, start=1):
        if isinstance(value, Question):
            questions.append(value)
            continue
        if not isinstance(value, Mapping) or not {"text"} <= set(value) <= {
            "text",
            "kind",
            "options",
        }:
            raise UserError(
                f"Entry {number} of the design's {setting} is not a question; it needs text, kind"
                f" ({', '.join(QUESTION_KINDS)}) and options."
            )
        questions.append(Question(**value))
    if len(questions) > most:
        raise UserError(f"The design's {setting} are {len(questions)} questions; at most {most}.")
    wordings = [question.text.strip() for question in questions]
    for wording in wordings:
        if wordings.count(wording) > 1:
            raise UserError(
                f"The question {wording[:60]!r} is twice in the design's {setting}; ask it once."
            )
    return tuple(questions)


def questions_from_lines(text: str) -> tuple[Question, ...]:
    """Return questions as the form of a design takes them, one a line.

    Parameters
    ----------
    text : str
        Each line: the kind, a colon, the question, and the options behind vertical bars. Empty
        lines do not count.

    Raises
    ------
    UserError
        If a line has another form, or its question is not valid; the message names the line.

    Examples
    --------
    >>> scale, text = questions_from_lines("scale: How sure? | not | very \\n text: Remarks")
    >>> scale.options, text.kind
    (('not', 'very'), 'text')
    """
    questions = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        kind, mark, rest = line.partition(":")
        if not mark:
            raise UserError(
                f"Line {number} of the questions, {line.strip()[:60]!r}, has no kind; write kind:"
                f" question | option | option, with the kind {', '.join(QUESTION_KINDS)}."
            )
        wording, *options = (part.strip() for part in rest.split("|"))
        try:
            questions.append(
                Question(text=wording, kind=kind.strip().lower(), options=tuple(options))
            )
        except UserError as error:
            raise UserError(f"Line {number} of the questions: {error}") from error
    return tuple(questions)
