"""The default lexicon: BI-RADS descriptors as categories, with keys and words for labels.

Labels and answers made from them belong in `core.lexicon.annotation_answers`. Categories are
defined in `docs/reference/definitions.md` ("Annotation").

References
----------
American College of Radiology. ACR BI-RADS Atlas, 5th edition: Mammography (2013).
"""

from __future__ import annotations

from collections.abc import Mapping

from core.lexicon.lexicon import Category, Field, Lexicon, Term


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

# Words of each category in free text, in the spellings of radiologists, common misspellings
# included. The published labels are the sample that these patterns were written for.
_WORDS = {
    "mass": r"mass(?:es)?|nodul\w*|spiculat\w*",
    "calcification": r"\w*cal(?:c|ci|i)?fi(?:c|e)\w*|(?:micro|macro)?-?calcs?|eggshell",
    "distortion": r"(?:architectural )?distortions?",
    "asymmetry": r"asymmetr\w*",
    "associated": (
        r"(?:skin|nipple) retractions?|(?:skin|trabecular) thickening|adenopathy|lymphadenopathy"
    ),
    "composition": (
        r"dense (?:breasts?|tissue)|fatty (?:breasts?|tissue)|(?:heterogeneously|extremely) dense"
        r"|breast density|scattered density"
    ),
    "normal": r"(?:normal|breast|healthy) (?:\w+ )?tissue",
    "other": (
        # A calcified vessel is a type of calcification; an uncalcified one is another structure.
        r"(?<!\bcalcified )(?<!\bcalcified blood )(?:blood )?vessels?"
        r"|lymph nodes?|dilated ducts?|skin lesions?|pectoral\w*|chest walls?"
        r"|inframammary|nipples?|(?:breast|skin) edges?|edges? of (?:the )?breasts?|folds?"
        r"|interfaces?|artefacts?|artifacts?|markers?"
    ),
}

CATEGORIES: tuple[Category, ...] = (
    Category(
        name="mass",
        title="Mass",
        key="M",
        noun="mass",
        association="required",
        words=_WORDS["mass"],
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
        words=_WORDS["calcification"],
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
        words=_WORDS["distortion"],
    ),
    Category(
        name="asymmetry",
        title="Asymmetry",
        key="A",
        noun="asymmetry",
        association="required",
        words=_WORDS["asymmetry"],
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
        words=_WORDS["associated"],
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
        words=_WORDS["composition"],
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
        name="normal",
        title="Normal tissue",
        key="N",
        noun="normal tissue",
        association="none",
        words=_WORDS["normal"],
    ),
    Category(
        name="other",
        title="Other",
        key="O",
        noun="other structure",
        association="optional",
        words=_WORDS["other"],
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
# The questions of the published survey, in its words.
SURVEY_QUESTIONS = (
    "Do these images show recognizable phenomena?",
    "Please describe each of the phenomena you see. For each phenomenon please indicate its"
    " association with breast cancer.",
)
PRACTICE_TEXTS = (
    ("Mass with circumscribed margin", "Fatty tissue", "Vascular calcifications"),
    (
        "Mass with spiculated margin",
        "Architectural distortion",
        "Fine pleomorphic calcifications, grouped distribution",
    ),
    ("Lymph node", "Scattered tissue", "Round calcifications"),
    ("Focal asymmetry", "Heterogeneously dense tissue", "Mass with indistinct margin"),
    ("Pectoral muscle", "Milk of calcium calcifications", "Mass with obscured margin"),
)
BIRADS = Lexicon(
    name="BI-RADS",
    categories=CATEGORIES,
    associations=ASSOCIATIONS,
    questions=SURVEY_QUESTIONS,
    practice=PRACTICE_TEXTS,
)
