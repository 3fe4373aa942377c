"""The words experts answer with:

BI-RADS descriptors by category, the keys that choose them, the label they print, and a map from
DDSM's older words.

Terms follow the mammography lexicon of BI-RADS, 5th edition; categories and keys are those of
DEFINITIONS "Annotation" and PAGES "Annotate".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import UserError

VERSION = "birads5-1"
RECOGNISABLE = ("yes", "nothing", "unsure")
CONFIDENCE = (1, 2, 3)
MOST_PHENOMENA = 4
MOST_CHARACTERS = 2000


@dataclass(frozen=True)
class Term:
    """One choice of a field. name: what is stored; title: the button; key: the digit that chooses
    it; printed: its words in a label (may end in a noun when the field names the phenomenon);
    opens: this choice opens a second list instead of being an answer.
    """

    name: str
    title: str
    key: str
    printed: str
    opens: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One question about a phenomenon. place: where its words stand in the label: "before" the
    noun, as the "noun" itself, "with" it or "after" it. optional: folded away, never filled by a
    bare digit. benign: the second list behind the term that `opens`.
    """

    name: str
    title: str
    place: str
    terms: tuple[Term, ...]
    optional: bool = False
    benign: tuple[Term, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every term that may be stored."""
        return tuple(t.name for t in (*self.terms, *self.benign) if not t.opens)


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of phenomenon. association: "required", "optional" or "none" (normal tissue sets
    none).
    """

    name: str
    title: str
    key: str
    noun: str
    association: str
    fields: tuple[Field, ...] = ()


def _terms(
    *names: str, printed: str = "{}", titles: Mapping[str, str] | None = None
) -> tuple[Term, ...]:
    titles = titles or {}
    return tuple(
        Term(n, titles.get(n, n[0].upper() + n[1:]), str(i), printed.format(n))
        for i, n in enumerate(names, start=1)
    )


_CALCIFICATION_TYPE = Field(
    name="type",
    title="Type",
    place="noun",
    terms=(
        *_terms(
            "amorphous",
            "coarse heterogeneous",
            "fine pleomorphic",
            "fine linear or branching",
            printed="{} calcifications",
            titles={
                "coarse heterogeneous": "Coarse heterog.",
                "fine pleomorphic": "Fine pleomorphic",
                "fine linear or branching": "Fine linear",
            },
        ),
        Term("benign", "Benign types", "5", "", opens=True),
    ),
    benign=_terms(
        "skin",
        "vascular",
        "coarse (popcorn)",
        "large rod-like",
        "round",
        "rim",
        "dystrophic",
        "milk of calcium",
        "suture",
        printed="{} calcifications",
        titles={"coarse (popcorn)": "Coarse", "milk of calcium": "Milk of calcium"},
    ),
)

CATEGORIES: tuple[Category, ...] = (
    Category(
        name="mass",
        title="Mass",
        key="M",
        noun="mass",
        association="required",
        fields=(
            Field(
                name="margin",
                title="Mass margin",
                place="with",
                terms=_terms(
                    "circumscribed",
                    "obscured",
                    "microlobulated",
                    "indistinct",
                    "spiculated",
                    printed="{} margin",
                ),
            ),
            Field(
                name="shape",
                title="Shape",
                place="before",
                terms=_terms("oval", "round", "irregular"),
                optional=True,
            ),
            Field(
                name="density",
                title="Density",
                place="before",
                terms=_terms(
                    "high",
                    "equal",
                    "low",
                    "fat-containing",
                    printed="{} density",
                    titles={"fat-containing": "Fat"},
                ),
                optional=True,
            ),
            Field(
                name="part",
                title="Part",
                place="after",
                terms=_terms("whole", "edge", printed="{} of the mass shown"),
                optional=True,
            ),
        ),
    ),
    Category(
        name="calcification",
        title="Calcification",
        key="K",
        noun="calcifications",
        association="required",
        fields=(
            _CALCIFICATION_TYPE,
            Field(
                name="distribution",
                title="Distribution",
                place="after",
                terms=_terms(
                    "diffuse",
                    "regional",
                    "grouped",
                    "linear",
                    "segmental",
                    printed="{} distribution",
                ),
            ),
        ),
    ),
    Category(
        name="distortion",
        title="Distortion",
        key="D",
        noun="architectural distortion",
        association="required",
    ),
    Category(
        name="asymmetry",
        title="Asymmetry",
        key="A",
        noun="asymmetry",
        association="required",
        fields=(
            Field(
                name="extent",
                title="Asymmetry",
                place="noun",
                terms=(
                    Term("one view", "One view", "1", "asymmetry in one view"),
                    Term("focal", "Focal", "2", "focal asymmetry"),
                    Term("global", "Global", "3", "global asymmetry"),
                ),
            ),
        ),
    ),
    Category(
        name="associated",
        title="Associated",
        key="F",
        noun="associated feature",
        association="required",
        fields=(
            Field(
                name="feature",
                title="Feature",
                place="noun",
                terms=_terms(
                    "skin or nipple retraction",
                    "skin or trabecular thickening",
                    "axillary adenopathy",
                    titles={
                        "skin or nipple retraction": "Retraction",
                        "skin or trabecular thickening": "Thickening",
                        "axillary adenopathy": "Adenopathy",
                    },
                ),
            ),
        ),
    ),
    Category(
        name="composition",
        title="Composition",
        key="G",
        noun="breast composition",
        association="optional",
        fields=(
            Field(
                name="density",
                title="Composition",
                place="noun",
                terms=_terms(
                    "almost entirely fatty",
                    "scattered",
                    "heterogeneously dense",
                    "extremely dense",
                    printed="{} tissue",
                    titles={
                        "almost entirely fatty": "Fatty",
                        "heterogeneously dense": "Heterog. dense",
                        "extremely dense": "Extremely dense",
                    },
                ),
            ),
        ),
    ),
    Category(
        name="normal", title="Normal tissue", key="N", noun="normal tissue", association="none"
    ),
    Category(
        name="other",
        title="Other",
        key="O",
        noun="other structure",
        association="optional",
        fields=(
            Field(
                name="structure",
                title="Other",
                place="noun",
                terms=_terms(
                    "lymph node",
                    "dilated duct",
                    "skin lesion",
                    "uncalcified vessel",
                    "pectoral muscle",
                    "nipple",
                    "edge or fold",
                    "marker or artefact",
                    titles={
                        "uncalcified vessel": "Vessel",
                        "marker or artefact": "Marker, artefact",
                        "pectoral muscle": "Pectoral",
                    },
                ),
            ),
        ),
    ),
)
ASSOCIATIONS: tuple[Term, ...] = (
    Term("benign", "Benign", "B", "benign"),
    Term("uncertain", "Uncertain", "I", "uncertain"),
    Term("suspicious", "Suspicious", "S", "suspicious"),
)
_BY_NAME = {c.name: c for c in CATEGORIES}
_ASSOCIATION_WORDS = tuple(t.name for t in ASSOCIATIONS)


def category(name: str) -> Category:
    """The category of that name; UserError if there is none."""
    if name not in _BY_NAME:
        raise UserError(
            f"{name!r} is not a category of the lexicon {VERSION}; choose one of"
            f" {', '.join(_BY_NAME)}."
        )
    return _BY_NAME[name]


def as_data() -> dict[str, Any]:
    """The whole lexicon as plain data for the annotation page, so that keys and words have one
    source.
    """
    return {
        "version": VERSION,
        "most": MOST_PHENOMENA,
        "categories": [asdict(c) for c in CATEGORIES],
        "associations": [asdict(t) for t in ASSOCIATIONS],
    }


def phrase(phenomenon: Mapping[str, Any], association: bool = True) -> str:
    """One phenomenon in words, in lower case: "mass with spiculated margin, suspicious".
    association=False leaves the verdict word out.
    """
    kind = category(phenomenon["category"])
    chosen = phenomenon.get("terms") or {}
    words: dict[str, list[str]] = {"before": [], "noun": [], "with": [], "after": []}
    for field in kind.fields:
        for term in (*field.terms, *field.benign):
            if chosen.get(field.name) == term.name and not term.opens:
                words[field.place].append(term.printed)
    text = " ".join([*words["before"], *(words["noun"] or [kind.noun])])
    if words["with"]:
        text += " with " + " and ".join(words["with"])
    for part in words["after"]:
        text += ", " + part
    if association and phenomenon.get("association"):
        text += ", " + phenomenon["association"]
    return text


def label(phenomena: Sequence[Mapping[str, Any]], association: bool = True) -> str:
    """The label to be printed: the phenomena joined by "; ", first letter upper case; empty for
    none.
    """
    text = "; ".join(phrase(p, association) for p in phenomena)
    return text[:1].upper() + text[1:]


def without_association(text: str) -> str:
    """A printed label without the verdict words this lexicon adds (", suspicious"); other words are
    left alone.
    """
    parts = []
    for part in text.split(";"):
        pieces = [p for p in part.split(",") if p.strip().lower() not in _ASSOCIATION_WORDS]
        parts.append(",".join(pieces))
    return ";".join(parts).strip()


def empty_answer(recognisable: str = "nothing") -> dict[str, Any]:
    """An answer that is not a label (DEFINITIONS "Annotation": "nothing" is an answer)."""
    return {
        "recognisable": recognisable,
        "phenomena": [],
        "confidence": None,
        "words": "",
        "label": "",
    }


def free_answer(text: str, words: str = "") -> dict[str, Any]:
    """Free text given elsewhere as an answer with a label and no category: its phenomena are
    unknown, not none.
    """
    said = " ".join(text.split())
    return {
        "recognisable": "yes",
        "phenomena": [],
        "confidence": None,
        "words": words or text,
        "label": said,
    }


def make_answer(
    phenomena: Sequence[Mapping[str, Any]], confidence: int, words: str = ""
) -> dict[str, Any]:
    """A complete answer with the label that the phenomena print; checked."""
    return check(
        {
            "recognisable": "yes",
            "phenomena": list(phenomena),
            "confidence": confidence,
            "words": words,
            "label": label(phenomena),
        }
    )


def substantive(answer: Mapping[str, Any]) -> bool:
    """Whether an answer names something: "nothing", "unsure" and an empty label are answers, not
    labels.
    """
    return answer.get("recognisable") == "yes" and bool(str(answer.get("label", "")).strip())


def _check_phenomenon(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise UserError(
            "A phenomenon of the answer is not an object; reload the page and answer again."
        )
    kind = category(str(raw.get("category")))
    fields = {f.name: f for f in kind.fields}
    terms = dict(raw.get("terms") or {})
    for name, term in terms.items():
        if name not in fields or term not in fields[name].names:
            raise UserError(
                f"{kind.title} has no {name} called {term!r} in the lexicon {VERSION}; reload the"
                " page and choose again."
            )
    association = raw.get("association") or None
    if kind.association == "none":
        association = None
    elif association is None and kind.association == "required":
        raise UserError(f"{kind.title} needs an association: benign, uncertain or suspicious.")
    elif association is not None and association not in _ASSOCIATION_WORDS:
        raise UserError(
            f"{association!r} is not an association; choose benign, uncertain or suspicious."
        )
    return {"category": kind.name, "terms": terms, "association": association}


def _text(raw: Any, what: str) -> str:
    text = "" if raw is None else str(raw)
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{what} has {len(text)} characters; shorten it to {MOST_CHARACTERS}.")
    return " ".join(text.split())


def check(raw: Any) -> dict[str, Any]:
    """The answer in its stored form {"recognisable", "phenomena", "confidence", "words", "label"};
    UserError says in a sentence what is missing.

    Confidence is required for a recognised phenomenon, and optional for "nothing" and "unsure"
    (PAGES: nothing = 0 Enter).
    """
    if not isinstance(raw, Mapping) or raw.get("recognisable") not in RECOGNISABLE:
        raise UserError("Choose a phenomenon, nothing or unsure first.")
    recognised = raw["recognisable"] == "yes"
    phenomena = [_check_phenomenon(p) for p in raw.get("phenomena") or []] if recognised else []
    if recognised and not 1 <= len(phenomena) <= MOST_PHENOMENA:
        raise UserError(
            f"An answer holds 1 to {MOST_PHENOMENA} phenomena; this one has {len(phenomena)}."
        )
    confidence = raw.get("confidence")
    if (recognised or confidence is not None) and (
        isinstance(confidence, bool) or confidence not in CONFIDENCE
    ):
        raise UserError("Choose a confidence: 1, 2 or 3.")
    printed = _text(raw.get("label"), "The printed label") if recognised else ""
    return {
        "recognisable": raw["recognisable"],
        "phenomena": phenomena,
        "confidence": confidence,
        "words": _text(raw.get("words"), "The free text"),
        "label": printed or label(phenomena),
    }


@dataclass(frozen=True)
class Mapped:
    """A DDSM word in today's lexicon. doubtful: the two words are not the same, so the mapping must
    be shown as such.
    """

    category: str
    field: str
    term: str
    doubtful: bool = False


DDSM_VERSION = "ddsm-1"
_DDSM: dict[tuple[str, str], Mapped] = {
    **{("shape", w): Mapped("mass", "shape", w.lower()) for w in ("ROUND", "OVAL", "IRREGULAR")},
    ("shape", "LOBULATED"): Mapped("mass", "shape", "oval", doubtful=True),
    ("shape", "ARCHITECTURAL_DISTORTION"): Mapped("distortion", "", ""),
    ("shape", "LYMPH_NODE"): Mapped("other", "structure", "lymph node"),
    ("shape", "TUBULAR"): Mapped("other", "structure", "dilated duct", doubtful=True),
    ("shape", "ASYMMETRIC_BREAST_TISSUE"): Mapped("asymmetry", "extent", "global", doubtful=True),
    ("shape", "FOCAL_ASYMMETRIC_DENSITY"): Mapped("asymmetry", "extent", "focal"),
    **{
        ("margins", w): Mapped("mass", "margin", w.lower())
        for w in ("CIRCUMSCRIBED", "OBSCURED", "MICROLOBULATED", "SPICULATED")
    },
    ("margins", "ILL_DEFINED"): Mapped("mass", "margin", "indistinct"),
    ("type", "AMORPHOUS"): Mapped("calcification", "type", "amorphous"),
    ("type", "PLEOMORPHIC"): Mapped("calcification", "type", "fine pleomorphic", doubtful=True),
    ("type", "FINE_LINEAR_BRANCHING"): Mapped("calcification", "type", "fine linear or branching"),
    ("type", "PUNCTATE"): Mapped("calcification", "type", "round"),
    ("type", "ROUND_AND_REGULAR"): Mapped("calcification", "type", "round"),
    ("type", "LUCENT_CENTER"): Mapped("calcification", "type", "rim"),
    ("type", "LUCENT_CENTERED"): Mapped("calcification", "type", "rim"),
    ("type", "EGGSHELL"): Mapped("calcification", "type", "rim"),
    ("type", "SKIN"): Mapped("calcification", "type", "skin"),
    ("type", "VASCULAR"): Mapped("calcification", "type", "vascular"),
    ("type", "COARSE"): Mapped("calcification", "type", "coarse (popcorn)"),
    ("type", "LARGE_RODLIKE"): Mapped("calcification", "type", "large rod-like"),
    ("type", "DYSTROPHIC"): Mapped("calcification", "type", "dystrophic"),
    ("type", "MILK_OF_CALCIUM"): Mapped("calcification", "type", "milk of calcium"),
    ("type", "SUTURE"): Mapped("calcification", "type", "suture"),
    ("distribution", "CLUSTERED"): Mapped("calcification", "distribution", "grouped"),
    ("distribution", "DIFFUSELY_SCATTERED"): Mapped("calcification", "distribution", "diffuse"),
    **{
        ("distribution", w): Mapped("calcification", "distribution", w.lower())
        for w in ("LINEAR", "SEGMENTAL", "REGIONAL")
    },
}


def from_ddsm(kind: str, value: str) -> tuple[tuple[Mapped, ...], tuple[str, ...]]:
    """DDSM's `kind` ("shape", "margins", "type", "distribution") with its words joined by "-" ->
    (mapped, unmapped words). "N/A" is neither.
    """
    mapped, unmapped = [], []
    for word in value.upper().split("-"):
        if word in ("", "N/A"):
            continue
        if (kind.lower(), word) in _DDSM:
            mapped.append(_DDSM[kind.lower(), word])
        else:
            unmapped.append(word)
    return tuple(mapped), tuple(unmapped)


def unmapped_words(descriptors: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Every DDSM word without a place in the lexicon, with how often it occurs in these findings'
    descriptors.
    """
    counts: dict[str, int] = {}
    for finding in descriptors:
        for kind, value in finding.items():
            for word in from_ddsm(kind, value)[1]:
                counts[f"{kind}: {word}"] = counts.get(f"{kind}: {word}", 0) + 1
    return dict(sorted(counts.items()))
