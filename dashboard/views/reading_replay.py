"""Somebody else's reading study: upload sheet, answers and key, see what the linter and the tests
say.
"""

from __future__ import annotations

import json
import tempfile
from functools import reduce
from pathlib import Path

import pandas as pd
import streamlit as st

from core.errors import UserError
from dashboard.ui import elements
from dashboard.views.reading_conduct import findings_table
from dashboard.views.reading_design import RULE_NAMES
from evaluation.intervals import decimal, p_text
from evaluation.replay import ReplayResult, replay


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
        st.info(
            "Give the sheet the reader saw, the answers and the key in the published CSV form."
            " Nothing is kept."
        )
        return
    with tempfile.TemporaryDirectory() as folder, st.spinner("Permuting ..."):
        paths: list[Path | None] = []
        said: dict[str, str] = {}
        for name, word, file in zip(
            ("sheet.csv", "answers.csv", "key.csv", "labels.json"),
            ("Sheet", "Answers", "Key", "Labels"),
            files,
        ):
            path = None if file is None else Path(folder) / name
            paths.append(path)
            if path is not None and file is not None:
                path.write_bytes(file.getvalue())
                said[str(path)] = f"{word} ({file.name})"
        try:
            result = replay(*paths)  # type: ignore[arg-type]
        except UserError as error:
            # In the names of what was uploaded: nobody knows our temporary files.
            st.error(
                elements.plain(
                    reduce(lambda text, path: text.replace(path, said[path]), said, str(error))
                )
            )
            return
    _show(result)


def _show(result: ReplayResult) -> None:
    found = result.as_dict()
    rules, clusters, network, texts = (
        found["truth_rules"],
        found["clusters"],
        found["network"],
        found["texts"],
    )
    elements.section("Truth rules", "exact binomial, assumes independence")
    elements.table(
        pd.DataFrame(
            [
                {
                    "Rule": RULE_NAMES[name],
                    "Correct": r["correct"],
                    "n": r["n"],
                    "one-sided": p_text(r["p_greater"]),
                    "two-sided": p_text(r["p_two_sided"]),
                    "Sensitivity": decimal(r["sensitivity"]),
                    "Specificity": decimal(r["specificity"]),
                    "Critical count": r["critical_count"],
                    "To flip": r["answers_to_flip"],
                }
                for name, r in rules.items()
            ]
        )
    )
    elements.section("Clustering")
    elements.cells(
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
    elements.section("In words", "what the texts, the network and the tests can tell")
    lint = {f"{finding.sentence()}." for finding in result.lint}
    st.html(
        '<ul style="margin:0;padding-left:18px;font-size:13px">'
        + "".join(
            f"<li>{elements.text(line)}</li>" for line in result.sentences() if line not in lint
        )
        + "</ul>"
    )
    st.download_button(
        "Download everything as JSON",
        json.dumps(found, indent=1),
        "replay.json",
        "application/json",
        on_click="ignore",
    )
    elements.section("Lint")
    findings_table(found["lint"])
    if found["discrepant"]:
        elements.section("Discrepant cases", "truth rules differ")
        names = {"case": "Case", "image": "Image", "response": "Answer"} | {
            rule: word.capitalize() for rule, word in RULE_NAMES.items()
        }
        st.dataframe(pd.DataFrame(found["discrepant"]).rename(columns=names), hide_index=True)
