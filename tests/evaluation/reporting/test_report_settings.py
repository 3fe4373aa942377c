"""The report of differently configured studies: no sentence contradicts settings or results."""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from core import store
from core.store import run_table
from evaluation.demo.build import QUICK_PLAN
from evaluation.reporting import report
from evaluation.reporting.blocks import FigureBlock, Heading, Paragraph, TableBlock
from evaluation.reporting.tables import checklists
from evaluation.reporting.tables.checklists import FOUND, MISSING
from support.simulated_readings import close_study_with_answers

pytestmark = pytest.mark.slow

READERS = ("A", "B", "C")
# Figures and tables whose texts depend on the settings; the others draw images, which takes long.
READING_PARTS = (
    ("Patients", ("flow",), ()),
    ("Reading study", ("reading", "time_order"), ("reading", "truth_rules")),
)
CLASSIFIER_PARTS = (("Classifier", ("roc",), ("classifiers", "operating_points")),)
# Variants that concern the classifier; a reading study changes nothing in these parts.
CLASSIFIER_VARIANTS = ("best epoch", "two classes", "SPIE rule")
# Signs of a sentence that was put together badly, or of a name that is no word.
BLEMISHES = re.compile(
    r"\bNone\b|\bnan\b|[{}]|\badamw\b|\bsgd\b|\bgee\b|auc_difference|  |\.\.|P = \.000"
    r"|\b1 \w+s were| -\.?\d|\bshare right\b|would turn|carry nothing|starting weights"
)


def change_run(study: Path, kind: str, settings: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Change settings and manifest of the newest run of a kind, in the store alone."""
    with store.write(study) as con:
        name = run_table.latest_run(con, kind)
        run = run_table.load_run(con, name)
        for section, values in settings.items():
            run["settings"][section] |= values
        run["manifest"] |= manifest
        con.execute(
            "UPDATE runs SET settings = ?, manifest = ? WHERE run = ?",
            [json.dumps(run["settings"]), json.dumps(run["manifest"], default=str), name],
        )


def execute(study: Path, *statements: str) -> None:
    with store.write(study) as con:
        for statement in statements:
            con.execute(statement)


def two_classes(study: Path) -> None:
    change_run(study, "patches", {"patches": {"classes": 2}}, {"classes": 2})
    change_run(study, "train", {}, {"classes": 2})
    change_run(study, "evaluate", {}, {"classes": 2})


def spie_rule(study: Path) -> None:
    change_run(study, "dissect", {"dissection": {"rule": "spie"}}, {})


def best_epoch(study: Path) -> None:
    recipe = {"keep": "best", "optimizer": "sgd", "sampling": "all", "augment": False}
    recipe |= {"label_smoothing": 0.0, "rotation": 12.0, "learning_rate": 1e-4, "decay_epoch": 3}
    change_run(study, "train", {"training": recipe}, {"best_epoch": 5})


def image_arms(study: Path) -> None:
    arms = ("image", "class_map")
    close_study_with_answers(study, "Pictures", ("A",), arms=arms, primary="auc_difference")


def several_readers(study: Path) -> None:
    close_study_with_answers(study, "Three", READERS, looks=2, side="two-sided")


def missing_answers(study: Path) -> None:
    close_study_with_answers(
        study,
        "Gaps",
        READERS,
        skip={("A", 2), ("B", 3), ("B", 5)},
        arms=("explanation",),
        missing_answers="counted_wrong",
        primary="gee",
    )


def no_study(study: Path) -> None:
    execute(study, "DELETE FROM protocols")


def real_labels(study: Path) -> None:
    execute(
        study,
        "UPDATE annotations SET simulated = FALSE",
        "UPDATE sources SET simulated = FALSE",
        "DELETE FROM protocols",
    )


# Variant: how it is made, what the report must say, and what would contradict it.
VARIANTS: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "last epoch": (
        lambda study: None,
        (
            f"weights of the last epoch ({QUICK_PLAN.epochs}) were kept",
            f"drew {QUICK_PLAN.draws:,} patches with equal proportions of the classes",
            "augmented by random flips and quarter turns.",
            "label smoothing of .05",
            "AdamW (one-cycle schedule with a peak learning rate of .004",
            "each class against the rest",
            "2 annotators, all simulated,",
            "The reading study was planned with 1 reader",
        ),
        ("best hold-out accuracy", "SPIE 2018:", "not augmented", "readers gave"),
    ),
    "best epoch": (
        best_epoch,
        (
            "weights of the epoch with the best hold-out accuracy (epoch 6) were kept",
            "stochastic gradient descent (learning rate .0001, multiplied by .1 from epoch 4 on",
            "Each epoch used every training patch once.",
            "augmented by random rotations of up to 12 degrees.",
            "cross-entropy without label smoothing",
        ),
        ("last epoch", "AdamW", "equal proportions", "quarter turns", "smoothing of"),
    ),
    "two classes": (
        two_classes,
        ("all other patches formed the other class", "malignant against all other"),
        ("each class against the rest", "precedence over benign", "normal AUC", "benign AUC"),
    ),
    "SPIE rule": (
        spie_rule,
        ("selected by the rule of SPIE 2018", "the same units serve every class"),
        ("that were most often among the",),
    ),
    "image arms": (
        image_arms,
        (
            "image: the mammogram",
            "class map: the class map without the mammogram",
            "difference in mean AUC between two arms",
            "One reader classified",
            "and see the mammogram",
            "Hypothesis: Readers are more accurate in the arm image than in the arm class map.",
            "Proportion correct against .5: GEE",
        ),
        (
            "texts only",
            "on texts of",
            "labels showed",
            "words of the annotators",
            "of the texts",
            "explanations alone",
            "Sensitivity analysis: GEE",
        ),
    ),
    "several readers": (
        several_readers,
        (
            "planned with 3 readers",
            "3 readers gave",
            "AUC of the ratings, clustered by patient (two-sided, alpha .050)",
            "2 equally spaced looks were planned",
            "Mean AUC over readers",
            "as the last of 2 looks",
        ),
        ("One reader", "one-sided 95", "does not generalise"),
    ),
    "missing answers": (
        missing_answers,
        (
            "Missing answers were counted as wrong.",
            "Missing answers: 3, counted as wrong as prespecified; sensitivity analysis: left out:",
            "3 readers gave 21 answers",
            "with 3 missing answers counted as wrong, {right} of 24 are correct ({share:.1f} %)",
            "the exact binomial test gives one-sided P = {p}",
        ),
        ("Missing answers were left out", "Exploratory comparison", "gave 24 answers"),
    ),
    "no study": (
        no_study,
        ("There is no result of a reading study: no reading study has been closed.",),
        ("frozen before reading (hash", "readers gave", "classified", "distinguished malignant"),
    ),
    "real labels": (
        real_labels,
        ("2 annotators named units from their top patches.",),
        ("SIMULATED", "simulated,"),
    ),
}


def report_texts(study: Path) -> str:
    """Return every sentence of the report, a block on each line."""
    lines = []
    for block in report.build_blocks(study, lambda done, total, unit: None):
        if isinstance(block, Heading | Paragraph):
            lines.append(block.text)
        elif isinstance(block, FigureBlock):
            lines.append(f"{block.title}. {block.caption} {block.result.method}")
        elif isinstance(block, TableBlock):
            rows = block.table.printed_frame().to_numpy().ravel()
            lines += [block.title, *map(str, rows), block.table.note, block.table.method]
    return "\n".join(lines)


@pytest.fixture(params=list(VARIANTS))
def variant(
    request: pytest.FixtureRequest, own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path, str]:
    name = request.param
    VARIANTS[name][0](own_study)
    parts = CLASSIFIER_PARTS if name in CLASSIFIER_VARIANTS else READING_PARTS
    monkeypatch.setattr(report, "RESULTS", parts)
    # The report and `check_evidence` need the same items.
    items = functools.cache(checklists.checklist_items)
    monkeypatch.setattr(checklists, "checklist_items", items)
    return name, own_study, report_texts(own_study)


def count_in_words(study: Path) -> dict[str, object]:
    """Return the right answers of the newest study among its 24 cases, counted from the store."""
    with store.read(study) as con:
        (right,) = con.execute(
            "SELECT count(*) FROM answers JOIN reading_items USING"
            " (protocol, version, code, position) JOIN reading_cases USING"
            " (protocol, version, case_number) WHERE protocol = 'Gaps'"
            " AND (answer >= 4) = (truth = 'malignant')"
        ).fetchone()
    p = sum(math.comb(24, k) for k in range(right, 25)) / 2**24
    return {"right": right, "share": 100 * right / 24, "p": f"{p:.3f}".removeprefix("0")}


def test_no_sentence_contradicts_the_settings(variant: tuple[str, Path, str]) -> None:
    name, study, text = variant
    _, said, contradicted = VARIANTS[name]
    if name == "missing answers":
        said = tuple(phrase.format(**count_in_words(study)) for phrase in said)
    assert [phrase for phrase in said if phrase not in text] == []
    assert [phrase for phrase in contradicted if phrase in text] == []
    assert [
        line for line in text.split("\n") if BLEMISHES.search(line) and "deepminer" not in line
    ] == []
    check_evidence(name, study)


def check_evidence(name: str, study: Path) -> None:
    """Compare the states of the checklists with what the record of the variant holds."""
    items = {(item.guideline, item.number): item for item in checklists.checklist_items(study)}
    is_frozen = name not in ("no study", "real labels")
    for number in ("4", "13a", "29"):
        assert items["STARD 2015", number].state == (FOUND if is_frozen else MISSING)
    # A sample size has a basis only where a power was computed.
    sample = items["STARD 2015", "18"]
    assert ("power ." in sample.evidence or "power > " in sample.evidence) == (
        sample.state == FOUND
    )
    selection = items["CLAIM 2024", "26"].evidence
    assert ("best hold-out accuracy" in selection) == (name == "best epoch")
    if name == "image arms":
        assert "image: the mammogram" in items["STARD 2015", "13a"].evidence
    assert "imputed" not in " ".join(item.evidence for item in items.values())
