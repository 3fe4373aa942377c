"""Replay of a published reading study: upload its sheet, answers and key, show checks and tests."""

from __future__ import annotations

import json
import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import UserError
from dashboard.ui import elements
from dashboard.views.reading_conduct import render_issue_table
from dashboard.views.reading_design import RULE_NAMES
from evaluation.intervals import decimal, p_text
from evaluation.replay import ReplayResult, replay_study

_UPLOADS = {  # file name on disk: (label of the uploader, name in messages)
    "sheet.csv": ("Displayed sheet (CSV)", "Sheet"),
    "answers.csv": ("Answers (CSV)", "Answers"),
    "key.csv": ("Key (CSV)", "Key"),
    "labels.json": ("Labels (JSON, optional)", "Labels"),
}


def render_replay() -> None:
    """Render the uploads and, when the three required files are given, the result."""
    files = {
        name: column.file_uploader(label, Path(name).suffix[1:])
        for (name, (label, _)), column in zip(_UPLOADS.items(), st.columns(len(_UPLOADS)))
    }
    if not all(file for name, file in files.items() if name != "labels.json"):
        st.info(
            "Upload the sheet that the reader saw, the answers and the key in the published CSV"
            " form. Nothing is stored."
        )
        return
    with tempfile.TemporaryDirectory() as folder, st.spinner("Permuting ..."):
        result = _replay(Path(folder), files)
    if result is not None:
        _render_result(result)


def _replay(folder: Path, files: dict[str, Any]) -> ReplayResult | None:
    """Score the uploaded files; write the error and return None where they do not fit together."""
    paths: list[Path | None] = []
    upload_names: dict[str, str] = {}
    for name, file in files.items():
        path = None if file is None else folder / name
        paths.append(path)
        if path is not None:
            path.write_bytes(file.getvalue())
            upload_names[str(path)] = f"{_UPLOADS[name][1]} ({file.name})"
    try:
        return replay_study(*paths)  # type: ignore[arg-type]
    except UserError as error:
        # Messages name the files: temporary paths mean nothing to the user.
        message = reduce(
            lambda text, path: text.replace(path, upload_names[path]), upload_names, str(error)
        )
        st.error(elements.escape_markdown(message))
        return None


def _render_result(result: ReplayResult) -> None:
    values = result.as_dict()
    _render_rules(values["truth_rules"])
    _render_clustering(values)
    elements.section_heading("Summary", "what the texts, the network and the tests show")
    # The leakage issues have a table of their own below.
    issues = {f"{issue.sentence()}." for issue in result.lint}
    elements.bullet_list(line for line in result.sentences() if line not in issues)
    st.download_button(
        "Download everything as JSON",
        json.dumps(values, indent=1),
        "replay.json",
        "application/json",
        on_click="ignore",
    )
    elements.section_heading("Leakage check")
    render_issue_table(values["lint"])
    if values["discrepant"]:
        elements.section_heading("Discrepant cases", "truth rules differ")
        names = {"case": "Case", "image": "Image", "response": "Answer"} | {
            rule: name.capitalize() for rule, name in RULE_NAMES.items()
        }
        table = pd.DataFrame(values["discrepant"]).rename(columns=names)
        elements.data_table(table, hide_index=True)


def _render_rules(rules: dict[str, dict[str, Any]]) -> None:
    elements.section_heading("Truth rules", "exact binomial, assumes independence")
    rows = [
        {
            "Rule": RULE_NAMES[name],
            "Correct": rule["correct"],
            "n": rule["n"],
            "one-sided": p_text(rule["p_greater"]),
            "two-sided": p_text(rule["p_two_sided"]),
            "Sensitivity": decimal(rule["sensitivity"]),
            "Specificity": decimal(rule["specificity"]),
            "Critical count": rule["critical_count"],
            "To flip": rule["answers_to_flip"],
        }
        for name, rule in rules.items()
    ]
    elements.html_table(pd.DataFrame(rows))


def _render_clustering(values: dict[str, Any]) -> None:
    clusters, texts = values["clusters"], values["texts"]
    elements.section_heading("Clustering")
    elements.metric_row(
        [
            ("Patients", str(clusters["patients"])),
            ("ICC", decimal(clusters["icc"], 3)),
            ("Design effect", decimal(clusters["design_effect"], 2)),
            ("GEE, one-sided", p_text(clusters["gee_p_greater"])),
            ("Sign-flip, one-sided", p_text(clusters["sign_flip_p_greater"])),
            ("Network AUC", decimal(values["network"]["auc"])),
            ("Distinct texts", f"{texts['ordered']} / {texts['unordered']}"),
        ]
    )
