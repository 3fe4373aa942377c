"""Categories of the annotation lexicon: BI-RADS descriptors, with keys and words for labels.

Labels and answers made from them belong in `core.lexicon.birads_lexicon`. Categories are defined in
`docs/reference/definitions.md` ("Annotation").

References
----------
American College of Radiology. ACR BI-RADS Atlas, 5th edition: Mammography (2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import UserError

LEXICON_VERSION = "birads5-1"


@dataclass(frozen=True)
class Term:
    """One choice of a field.

    name: stored value. title: text of the button. key: digit that selects it. printed: its words in
    a label; they end in a noun if the field names the phenomenon. opens: the choice opens a second
    list instead of being an answer.
    """

    name: str
    title: str
    key: str
    printed: str
    opens: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One question about a phenomenon.

    place: position of its words in the label: "before" the noun, as the "noun" itself, "with" it or
    "after" it. optional: collapsed, and never selected by a digit alone. benign: the second list
    behind the term that `opens`.
    """

    name: str
    title: str
    place: str
    terms: tuple[Term, ...]
    optional: bool = False
    benign: tuple[Term, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All terms that can be stored."""
        return tuple(t.name for t in (*self.terms, *self.benign) if not t.opens)


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of phenomenon; association is "required", "optional" or "none" (normal tissue)."""

    name: str
    title: str
    key: str
    noun: str
    association: str
    fields: tuple[Field, ...] = ()


def _terms(
    *names: str, printed: str = "{}", titles: Mapping[str, str] | None = None
) -> tuple[Term, ...]:
    """Return terms with the digits 1, 2, ... as keys.

    printed: format of the words in a label. titles: short texts for buttons of limited width.
    """
    # One digit per term: a list has at most nine.
    titles = titles or {}
    return tuple(
        Term(name, titles.get(name, name[0].upper() + name[1:]), str(k), printed.format(name))
        for k, name in enumerate(names, start=1)
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
    # The typically benign types, which BI-RADS lists apart from those of suspicious morphology.
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
                    # The fourth kind, developing asymmetry, requires an earlier mammogram.
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
                # The composition categories a to d of the 5th edition.
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
_CATEGORY_BY_NAME = {category.name: category for category in CATEGORIES}


def get_category(name: str) -> Category:
    """Return the category of a name; UserError for an unknown name."""
    if name not in _CATEGORY_BY_NAME:
        raise UserError(
            f"{name!r} is not a category of the lexicon {LEXICON_VERSION}; choose one of"
            f" {', '.join(_CATEGORY_BY_NAME)}."
        )
    return _CATEGORY_BY_NAME[name]
