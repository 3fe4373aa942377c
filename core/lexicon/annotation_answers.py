"""Answers of annotations and the labels made of them, in terms of a lexicon.

The categories belong in `core.lexicon.lexicon`, storage of annotations in
`core.store.annotation_table`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.errors import UserError
from core.lexicon.lexicon import Lexicon

RECOGNISABLE = ("yes", "nothing", "unsure")
CONFIDENCE = (1, 2, 3)
MAX_PHENOMENA = 4
MAX_CHARACTERS = 2000


def lexicon_data(lexicon: Lexicon) -> dict[str, Any]:
    """Return a lexicon as JSON-compatible data for the annotation page."""
    return {
        "questions": lexicon.questions,
        "most": MAX_PHENOMENA,
        "categories": [
            {name: value for name, value in asdict(c).items() if name != "words"}
            for c in lexicon.categories
        ],
        "associations": [asdict(t) for t in lexicon.associations],
    }


def format_phenomenon(
    phenomenon: Mapping[str, Any], lexicon: Lexicon, association: bool = True
) -> str:
    """Return a phenomenon in words, in lower case.

    Parameters
    ----------
    phenomenon : mapping
        category, terms (field name to term), association.
    lexicon : Lexicon
        The lexicon of the study.
    association : bool
        Whether the association is included.

    Examples
    --------
    >>> from core.lexicon.birads_categories import BIRADS
    >>> phenomenon = {"category": "mass", "terms": {"margin": "spiculated"}}
    >>> format_phenomenon(phenomenon | {"association": "suspicious"}, BIRADS)
    'mass with spiculated margin, suspicious'
    """
    category = lexicon.category(phenomenon["category"])
    selected = phenomenon.get("terms") or {}
    parts: dict[str, list[str]] = {"before": [], "noun": [], "with": [], "after": []}
    for field in category.fields:
        # A term that opens the second list is no answer by itself.
        for term in (*field.terms, *field.benign):
            if selected.get(field.name) == term.name and not term.opens:
                parts[field.place].append(term.printed)
    # A field that names the phenomenon makes the general noun redundant.
    text = " ".join([*parts["before"], *(parts["noun"] or [category.noun])])
    if parts["with"]:
        text += " with " + " and ".join(parts["with"])
    for part in parts["after"]:
        text += ", " + part
    if association and phenomenon.get("association"):
        text += ", " + phenomenon["association"]
    return text


def format_label(
    phenomena: Sequence[Mapping[str, Any]], lexicon: Lexicon, association: bool = True
) -> str:
    """Return the label of phenomena: joined by "; ", with a capital first letter; "" for none."""
    text = "; ".join(format_phenomenon(p, lexicon, association) for p in phenomena)
    # str.capitalize would change capitals in the rest.
    return text[:1].upper() + text[1:]


def without_association(text: str, associations: Sequence[str]) -> str:
    """Return a label without its associations; other words are unchanged.

    associations: their names, as a lexicon lists them.

    Examples
    --------
    >>> text = "Mass with spiculated margin, suspicious; lymph node, benign"
    >>> without_association(text, ("benign", "uncertain", "suspicious"))
    'Mass with spiculated margin; lymph node'
    """
    names = {name.lower() for name in associations}
    phenomena = [
        # Whole parts between commas only: the rest may be an expert's own wording.
        ",".join(p for p in phenomenon.split(",") if p.strip().lower() not in names)
        for phenomenon in text.split(";")
    ]
    return ";".join(phenomena).strip()


def phenomena_in_label(
    label: str, answers: Iterable[Mapping[str, Any]], lexicon: Lexicon
) -> list[Mapping[str, Any]]:
    """Return the phenomena of answers that a label states, in the order of the answers.

    A phenomenon is stated where its words without the association, or the whole label of its
    answer, stand in the label; capitals do not distinguish words.

    Examples
    --------
    >>> from core.lexicon.birads_categories import BIRADS
    >>> mass = {"category": "mass", "terms": {"margin": "spiculated"}, "association": "suspicious"}
    >>> answers = [create_answer([mass], 3, BIRADS)]
    >>> [p["category"] for p in phenomena_in_label("Mass with spiculated margin", answers, BIRADS)]
    ['mass']
    >>> phenomena_in_label("Pectoral muscle", answers, BIRADS)
    []
    """
    text = " ".join(label.lower().split())
    return [
        phenomenon
        for answer in answers
        for phenomenon in answer["phenomena"]
        if format_phenomenon(phenomenon, lexicon, association=False).lower() in text
        or (answer["label"] and answer["label"].lower() in text)
    ]


def empty_answer(recognisable: str = "nothing") -> dict[str, Any]:
    """Return an answer that names nothing; "nothing" and "unsure" are answers, not labels."""
    return {
        "recognisable": recognisable,
        "phenomena": [],
        "confidence": None,
        "words": "",
        "label": "",
    }


def free_answer(text: str, words: str = "") -> dict[str, Any]:
    """Return free text from another study as an answer with a label.

    Its list of phenomena is empty because they are unknown.
    """
    return {
        "recognisable": "yes",
        "phenomena": [],
        "confidence": None,
        # The original wording, because the label has its spaces normalised.
        "words": words or text,
        "label": " ".join(text.split()),
    }


def create_answer(
    phenomena: Sequence[Mapping[str, Any]], confidence: int, lexicon: Lexicon, words: str = ""
) -> dict[str, Any]:
    """Return a validated answer with the label of its phenomena."""
    return validate_answer(
        {
            "recognisable": "yes",
            "phenomena": list(phenomena),
            "confidence": confidence,
            "words": words,
            "label": format_label(phenomena, lexicon),
        },
        lexicon,
    )


def is_substantive(answer: Mapping[str, Any]) -> bool:
    """Return whether an answer names something; "nothing", "unsure" and empty labels do not."""
    return answer.get("recognisable") == "yes" and bool(str(answer.get("label", "")).strip())


def _validate_phenomenon(raw: Any, lexicon: Lexicon) -> dict[str, Any]:
    """Return a phenomenon in its stored form; UserError for an invalid term or association."""
    if not isinstance(raw, Mapping):
        raise UserError(
            "A phenomenon of the answer is not an object; reload the page and answer again."
        )
    category = lexicon.category(str(raw.get("category")))
    fields = {field.name: field for field in category.fields}
    terms = dict(raw.get("terms") or {})
    # A page that was opened before an update can send terms of an earlier lexicon.
    for name, term in terms.items():
        if name not in fields or term not in fields[name].names:
            raise UserError(
                f"{category.title} has no {name} called {term!r} in the lexicon"
                f" {lexicon.name}; reload the page and choose again."
            )
    association, names = raw.get("association") or None, lexicon.association_names
    if category.association == "none":
        association = None
    elif association is None and category.association == "required":
        raise UserError(f"{category.title} needs an association: {' or '.join(names)}.")
    elif association is not None and association not in names:
        raise UserError(
            f"{association!r} is not an association of the lexicon {lexicon.name}; choose"
            f" {' or '.join(names) or 'none'}."
        )
    return {"category": category.name, "terms": terms, "association": association}


def _validate_text(raw: Any, subject: str) -> str:
    """Return a text with single spaces; UserError if it is too long."""
    text = "" if raw is None else str(raw)
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{subject} has {len(text)} characters; shorten it to {MAX_CHARACTERS}.")
    return " ".join(text.split())


def validate_answer(raw: Any, lexicon: Lexicon) -> dict[str, Any]:
    """Return an answer in its stored form.

    Parameters
    ----------
    raw : mapping
        recognisable ("yes", "nothing" or "unsure"), phenomena, confidence (1 to 3; optional for
        "nothing" and "unsure"), words, label.
    lexicon : Lexicon
        The lexicon of the study.

    Returns
    -------
    dict
        The same keys; without a label, the label of the phenomena.

    Raises
    ------
    UserError
        If the answer is incomplete or not in the lexicon.
    """
    if not isinstance(raw, Mapping) or raw.get("recognisable") not in RECOGNISABLE:
        raise UserError("Choose a phenomenon, nothing or unsure first.")
    # "nothing" and "unsure" carry no phenomena, whatever the page sends.
    recognised = raw["recognisable"] == "yes"
    phenomena = [
        _validate_phenomenon(p, lexicon) for p in (raw.get("phenomena") or []) if recognised
    ]
    if recognised and not 1 <= len(phenomena) <= MAX_PHENOMENA:
        raise UserError(
            f"An answer holds 1 to {MAX_PHENOMENA} phenomena; this one has {len(phenomena)}."
        )
    confidence = raw.get("confidence")
    # True equals 1, so booleans are excluded explicitly.
    if (recognised or confidence is not None) and (
        isinstance(confidence, bool) or confidence not in CONFIDENCE
    ):
        raise UserError("Choose a confidence: 1, 2 or 3.")
    printed = _validate_text(raw.get("label"), "The printed label") if recognised else ""
    return {
        "recognisable": raw["recognisable"],
        "phenomena": phenomena,
        "confidence": confidence,
        "words": _validate_text(raw.get("words"), "The free text"),
        # The expert may have edited the label; otherwise it follows from the phenomena.
        "label": printed or format_label(phenomena, lexicon),
    }
