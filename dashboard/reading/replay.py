"""Somebody else's reading study: upload sheet, answers and key, see what the linter and the tests say."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import streamlit as st

from core.errors import UserError
from dashboard import parts
from dashboard.reading.freeze import findings_table
from evaluation.replay import ReplayResult, replay
from evaluation.results import decimal, p_text


def show() -> None:
    """Three uploads and, where they fit together, the result."""
    a, b, c, d = st.columns(4)
    files = [
        a.file_uploader("Sheet shown (CSV)", "csv"),
        b.file_uploader("Answers (CSV)", "csv"),
        c.file_uploader("Key (CSV)", "csv"),
        d.file_uploader("Labels (JSON, optional)", "json"),
    ]
    if not all(files[:3]):
        st.info("Give the sheet the reader saw, the answers and the key in the published CSV form. Nothing is kept.")
        return
    with tempfile.TemporaryDirectory() as folder, st.spinner("Permuting ..."):
        paths = []
        for name, file in zip(("sheet.csv", "answers.csv", "key.csv", "labels.json"), files):
            paths.append(None if file is None else Path(folder) / name)
            if file is not None:
                paths[-1].write_bytes(file.getvalue())  # type: ignore[union-attr]
        try:
            result = replay(*paths)  # type: ignore[arg-type]
        except UserError as error:
            st.error(str(error))
            return
    _show(result)


def _show(result: ReplayResult) -> None:
    found = result.as_dict()
    rules, clusters, network, texts = found["truth_rules"], found["clusters"], found["network"], found["texts"]
    parts.section("Truth rules", "exact binomial, assumes independence")
    parts.table(
        pd.DataFrame(
            [
                {
                    "Rule": name,
                    "Correct": r["correct"],
                    "n": r["n"],
                    "one-sided": p_text(r["p_greater"]),
                    "two-sided": p_text(r["p_two_sided"]),
                    "Sensitivity": decimal(r["sensitivity"]),
                    "Specificity": decimal(r["specificity"]),
                    "To flip": r["answers_to_flip"],
                }
                for name, r in rules.items()
            ]
        )
    )
    parts.section("Clustering")
    parts.cells(
        [
            ("Patients", str(clusters["patients"])),
            ("ICC", decimal(clusters["icc"], 3)),
            ("Design effect", decimal(clusters["design_effect"], 2)),
            ("GEE, one-sided", p_text(clusters["gee_p_greater"])),
            ("Sign-flip, one-sided", p_text(clusters["sign_flip_p_greater"])),
            ("Network AUC", decimal(network["auc"])),
            ("Distinct texts", f"{texts['ordered']} / {texts['unordered']}"),
        ]
    )
    parts.section("Lint")
    findings_table(found["lint"])
    if found["discrepant"]:
        parts.section("Discrepant cases", "truth rules differ")
        st.dataframe(pd.DataFrame(found["discrepant"]), hide_index=True)
