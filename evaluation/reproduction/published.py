"""The values of the papers that `deepminer reproduce` compares, each with its source.

HDSR: Wu J, et al. DeepMiner: discovering interpretable representations for mammogram classification
and explanation. Harv Data Sci Rev 2021;3(4). SPIE: Wu J, et al. Expert identification of visual
primitives used by CNNs during mammogram classification. Proc SPIE 2018;10575.
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.queries.architectures import PUBLISHED_ARCHITECTURES, PUBLISHED_AUC
from evaluation.queries.report_similarity import PUBLISHED_SIMILARITY

HDSR_ARCHITECTURE, HDSR_CLASSES = "resnet152", 3
SPIE_CLASSES = 2
# The area of the released notebook, whose chance level is .036.
_PUBLISHED_PARTIAL_AUC = {"normal": 0.142, "benign": 0.136, "malignant": 0.146}
_PUBLISHED_COVERAGE = {"normal": 0.5927, "benign": 0.6977, "malignant": 0.7582}
# Why a value that is computed from the films can differ in the last digits.
_PIXELS = "Films are decoded and resized by other software than that of the papers."
# By how much that can change a value. Chosen, not measured: the published films are not at hand.
_AUC_TOLERANCE, _PARTIAL_AUC_TOLERANCE, _COVERAGE_TOLERANCE = 0.01, 0.005, 0.02
_PUBLISHED_READING = {"cases": 330, "correct": 182, "p": 0.0346}


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """A number of a paper.

    Attributes
    ----------
    key : str
        Identifies the quantity; computed values carry the same key.
    source : str
        Paper, and the figure or table where it has one.
    quantity : str
        What was measured.
    value : float
        As printed.
    digits : int
        Decimals as printed.
    difference : str
        Why a recomputed value differs from the printed one; empty where both must agree.
    tolerance : float or None
        Largest difference that this explains, None where it explains any.
    """

    key: str
    source: str
    quantity: str
    value: float
    digits: int
    difference: str = ""
    tolerance: float | None = None


def _by_class(
    key: str, source: str, quantity: str, values: dict[str, float], digits: int, tolerance: float
) -> list[PublishedValue]:
    """Return the values of the classes or networks, which depend on the pixels of the films."""
    return [
        PublishedValue(
            key=f"{key} {name}",
            source=source,
            quantity=f"{quantity}, {name}",
            value=value,
            digits=digits,
            difference=_PIXELS,
            tolerance=tolerance,
        )
        for name, value in values.items()
    ]


def published_values() -> tuple[PublishedValue, ...]:
    """Return every published value, in the order of the papers.

    Examples
    --------
    >>> values = {value.key: value.value for value in published_values()}
    >>> values["hdsr auc malignant"], values["reading correct"], values["spie units"]
    (0.872, 182, 134)
    """
    spie_auc = {
        name: values.get("malignant (two classes)", values["malignant"])
        for name, (values, _) in PUBLISHED_ARCHITECTURES.items()
    }
    return (
        *_by_class(
            "hdsr auc",
            "HDSR 2021",
            "AUC of test patches against the rest",
            PUBLISHED_AUC,
            3,
            _AUC_TOLERANCE,
        ),
        *_by_class(
            "hdsr pauc",
            "HDSR 2021",
            "pAUC of test patches by the DeepMiner 2021 formula",
            _PUBLISHED_PARTIAL_AUC,
            3,
            _PARTIAL_AUC_TOLERANCE,
        ),
        *_by_class(
            "hdsr coverage",
            "HDSR 2021, section 2.4",
            "Coverage of 20 selected units on hold-out",
            _PUBLISHED_COVERAGE,
            4,
            _COVERAGE_TOLERANCE,
        ),
        PublishedValue(
            key="hdsr units",
            source="HDSR 2021, Figure 3",
            quantity="Labelled units",
            value=46,
            digits=0,
            difference=(
                "The published count is that of a dictionary in which one key was typed nine"
                " times; here units with a consensus label are counted."
            ),
        ),
        *(
            PublishedValue(
                key=f"similarity {selection}",
                source="2018 preprint",
                quantity=f"Greedy matching of labels to reports, {selection}",
                value=value,
                digits=3,
                difference=(
                    "The published report words were upper case with underscores and matched no"
                    " word vector; here they are lower case. Network and vectors differ as well."
                ),
            )
            for selection, value in PUBLISHED_SIMILARITY.items()
        ),
        *_reading_values(),
        *_by_class(
            "spie auc",
            "SPIE 2018, Table 1",
            "AUC of validation patches, malignant against the rest",
            spie_auc,
            4,
            _AUC_TOLERANCE,
        ),
        PublishedValue(
            key="spie units",
            source="SPIE 2018, Figure 4",
            quantity="Labelled units of four networks",
            value=134,
            digits=0,
        ),
    )


def _reading_values() -> list[PublishedValue]:
    """Return the values of the published reading study, by the rule `folder`."""
    texts = {
        "cases": ("Cases read", 0),
        "correct": ("Right answers, truth by folder", 0),
        "p": ("One-sided exact binomial P", 4),
    }
    return [
        PublishedValue(
            key=f"reading {name}",
            source="HDSR 2021, reading study",
            quantity=quantity,
            value=_PUBLISHED_READING[name],
            digits=digits,
        )
        for name, (quantity, digits) in texts.items()
    ]
