"""The synthetic study with truth, explanations and labels: all that a reading study needs.

Nothing is trained: the rows are written straight into the store.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.store.connection import Connection
from core.store.reading.protocol_table import Protocol
from evaluation.permutation import PatientPermutations
from evaluation.reading_study import Design, workflow
from evaluation.reading_study.leakage_issues import WARNING
from support import synthetic_study
from support.study_templates import copy_template
from support.synthetic_study import DISSECT, LABELS, MADE, MAMMOGRAMS

EVALUATE, EXPLAIN = "evaluate-000000000003", "explain-000000000004"
NAME = "ZQXSTUDY"


def create_study(path: Path) -> Path:
    """Create a study of 8 patients with 2 mammograms each; even patients have cancer."""
    return copy_template(_build, path)


def _build(path: Path) -> None:
    synthetic_study.create_study(path, protocol=False)
    folder = path / "runs" / EXPLAIN
    folder.mkdir()
    generator = np.random.default_rng(3)
    for i in range(MAMMOGRAMS):
        maps = generator.random((3, 8, 8)).astype(np.float16)
        np.savez(folder / f"maps{i:03d}.npz", probability=maps)
    with store.write(path) as con:
        for run, kind, parent in (
            (EVALUATE, "evaluate", synthetic_study.PATCHES),
            (EXPLAIN, "explain", DISSECT),
        ):
            con.execute(
                "INSERT INTO runs VALUES (?, ?, '{}', ?, '{\"classes\": 3}', ?, 1.0)",
                [run, kind, json.dumps([parent]), MADE],
            )
        con.execute("UPDATE runs SET parents = ? WHERE run = ?", [json.dumps([EVALUATE]), DISSECT])
        _add_findings_and_explanations(con)
        for unit, _ in enumerate(LABELS):
            answer = synthetic_study.mass_answer()
            synthetic_study.annotate(con, "A1", unit, answer | {"label": f"Label {unit}"})


def is_malignant(number: int) -> bool:
    """Return whether a mammogram, by its number, shows a malignant finding."""
    return number // 2 % 2 == 0


def _add_findings_and_explanations(con: Connection) -> None:
    generator = np.random.default_rng(4)
    findings, explanations, influences, scores = [], [], [], []
    for i in range(MAMMOGRAMS):
        case = f"ZQXCASE{i:03d}"
        score = float(generator.random())
        findings.append(
            {
                "mammogram_id": case,
                "number": 1,
                "pathology": "MALIGNANT" if is_malignant(i) else "BENIGN",
                "lesion_type": "MASS",
                "descriptors": "{}",
                "outline": "[]",
                "nested": "[]",
                "report": "",
            }
        )
        explanations.append(
            {
                "run": EXPLAIN,
                "mammogram_id": case,
                "split": "test",
                "predicted": 2,
                "lesion_class": 2,
                "truth": 2 if is_malignant(i) else 1,
                "p_normal": 1.0 - score,
                "p_benign": score * 0.1,
                "p_malignant": score * 0.9,
                "file": f"maps{i:03d}.npz",
            }
        )
        scores.append(
            {
                "run": EVALUATE,
                "mammogram_id": case,
                "s_malignant": score,
                "truth": 2 if is_malignant(i) else 1,
                "predicted": 2,
                "split": "holdout",
            }
        )
        influences += [
            {
                "run": EXPLAIN,
                "mammogram_id": case,
                "class": 2,
                "rank": rank,
                "unit": int(unit),
                "influence": 1.0 / rank,
            }
            for rank, unit in enumerate(generator.permutation(len(LABELS)), start=1)
        ]
    for table, rows in (
        ("findings", findings),
        ("explanations", explanations),
        ("image_scores", scores),
        ("influences", influences),
    ):
        synthetic_study.insert_rows(con, table, pd.DataFrame(rows))


def use_few_permutations(patch: pytest.MonkeyPatch) -> None:
    """Make the leakage checks fast where their P values do not matter."""
    patch.setattr(PatientPermutations.__init__, "__defaults__", (99,))


def small_design(**changes: Any) -> Design:
    """Return a design that the study's 16 mammograms can fill."""
    return Design(
        **{
            "name": NAME,
            "images_per_patient": None,
            "comparison_share": 0.5,
            "readers": 1,
            "repeats": 2,
            "depth": None,
            **changes,
        }
    )


def checked(study: Path, name: str = NAME, **changes: Any) -> Protocol:
    """Design a version and check it."""
    designed = workflow.create_protocol(study, name, small_design(**changes), "team")
    return workflow.check_protocol(study, name, "team", version=designed.version)[0]


def accepted(protocol: Protocol) -> dict[str, str]:
    """Return a reason for every warning of a checked version."""
    return {i["field"]: "accepted" for i in protocol.lint if i["severity"] == WARNING}


def frozen(study: Path, name: str = NAME, **changes: Any) -> Protocol:
    """Design, check and freeze a version."""
    version = checked(study, name, **changes)
    return workflow.freeze_protocol(study, name, "team", accepted(version), version=version.version)
