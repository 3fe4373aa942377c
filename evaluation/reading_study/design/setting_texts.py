"""Settings of a design as texts of the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from core.errors import UserError
from evaluation.reading_study.design.settings import Design


def parse_design_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse settings of a design from `NAME=VALUE` texts.

    Parameters
    ----------
    texts : sequence of str
        One setting each; the value "none" removes a limit. Name, preset and arms are excluded
        because the command line has its own options for them.

    Returns
    -------
    dict
        Setting to value, in the type of the setting.

    Raises
    ------
    UserError
        If a name is unknown or given twice, or a value cannot be converted.

    Examples
    --------
    >>> parse_design_settings(["side=two-sided", "depth=none", "repeats=4"])
    {'side': 'two-sided', 'depth': None, 'repeats': 4}
    """
    kinds = {
        field.name: str(field.type)
        for field in fields(Design)
        if field.name not in ("name", "preset", "arms")
    }
    settings: dict[str, Any] = {}
    for text in texts:
        name, mark, value = (part.strip() for part in text.partition("="))
        if not mark or name not in kinds:
            raise UserError(
                f"{text!r} is not NAME=VALUE with a setting of the design; these can be set:"
                f" {', '.join(kinds)}."
            )
        if name in settings:
            raise UserError(f"The design's {name} is set twice; give one value.")
        try:
            settings[name] = _parse_value(value, kinds[name])
        except ValueError as error:
            raise UserError(f"The design's {name} cannot be {value!r}: {error}.") from error
    return settings


def _parse_value(value: str, kind: str) -> Any:
    """Convert a text to the annotated type of a setting, such as "int | None"."""
    if kind.startswith("tuple"):
        return _parse_list(value)
    if kind == "bool":
        if value.lower() not in ("yes", "no", "true", "false"):
            raise ValueError("it is yes or no")
        return value.lower() in ("yes", "true")
    if value.lower() == "none" and "None" in kind:
        return None
    for number, name in ((int, "a whole number"), (float, "a number")):
        if kind.startswith(number.__name__):
            try:
                return number(value)
            except ValueError:
                raise ValueError(f"it is {name}" + (" or none" if "None" in kind else "")) from None
    return value


def _parse_list(value: str) -> list[Any]:
    """Convert a JSON list, such as the questions of a design."""
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, list):
        raise ValueError(
            'it is a JSON list, such as [{"text": "How sure are you?", "kind": "text"}]'
        )
    return parsed
