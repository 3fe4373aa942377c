"""The results of a reading study as the page shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.server import context as served_study
from support.team_page import page_text


def results_page() -> None:
    from datetime import datetime

    import numpy as np
    import pandas as pd

    from core.store.reading.protocol_table import Protocol
    from dashboard.views import reading_results
    from evaluation.reading_study import design_preset, score_study

    truth = np.arange(8) % 2 == 0
    classes = np.where(truth, "malignant", "benign")
    key = pd.DataFrame(
        {
            "case_number": range(1, 9),
            "mammogram_id": [f"m{i}" for i in range(8)],
            "patient_id": [f"p{i}" for i in range(8)],
            "arm": "explanation",
            "texts": [(f"text {i}",) for i in range(8)],
            "truth": classes,
            "network_score": np.linspace(0.2, 0.8, 8),
            "predicted": "malignant",
            "first_abnormality": ["benign", *classes[1:]],
            "any_malignant": classes,
        }
    )
    answers = pd.DataFrame(
        {
            "code": "R1",
            "position": range(1, 9),
            "case_number": range(1, 9),
            "repeat": False,
            "answer": [6, 1, 6, 1, 6, 1, 1, 6],
        }
    )
    design = design_preset("Recommended", arms=("explanation",))
    protocol = Protocol(
        protocol="Ours",
        version=1,
        state="closed",
        design=design.as_dict(),
        lint=[],
        hash="0123",
        run="run",
        simulated=False,
        who="team",
        made=datetime(2026, 1, 2),
    )
    reading_results.render_results(protocol, score_study(answers, key, design, simulated=False))


def test_one_image_per_patient(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(served_study.STUDY_VARIABLE, str(study))
    page = AppTest.from_function(results_page, default_timeout=180).run()
    assert not page.exception
    sentence = (
        "clustering plays no part (the design effect, 1.14, is the variance's small-sample factor)"
    )
    assert (
        f"No patient has two answers: {sentence}." in page_text(page)
        and f"No patient has two answers: {sentence}." in page.text_area[0].value
    )
    columns = next(list(f.value.columns) for f in page.dataframe if len(f.value) == 1)
    assert columns == ["Case", "Mammogram", "First abnormality", "Any malignant"]
    assert "any_malignant" not in page_text(page) and "first_abnormality" not in page_text(page)
