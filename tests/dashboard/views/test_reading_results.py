"""Results of a reading study as the page shows them, from a score made here."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from support.team_page import said


def results_page() -> None:
    from datetime import datetime

    import numpy as np
    import pandas as pd

    from core.store.reading_table import Protocol
    from dashboard.views import reading_results
    from evaluation.reading_study import preset, score

    truth = np.arange(8) % 2 == 0
    words = np.where(truth, "malignant", "benign")
    key = pd.DataFrame(
        {
            "case_number": range(1, 9),
            "mammogram_id": [f"m{i}" for i in range(8)],
            "patient_id": [f"p{i}" for i in range(8)],
            "arm": "explanation",
            "texts": [(f"text {i}",) for i in range(8)],
            "truth": words,
            "network_score": np.linspace(0.2, 0.8, 8),
            "predicted": "malignant",
            "first_abnormality": ["benign", *words[1:]],
            "any_malignant": words,
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
    design = preset("Recommended", arms=("explanation",))
    made = Protocol(
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
    reading_results.show(made, score(answers, key, design, simulated=False))


def test_one_image_a_patient_and_the_rules_in_words() -> None:
    page = AppTest.from_function(results_page, default_timeout=60).run()
    assert not page.exception
    plain = (
        "clustering plays no part (the design effect, 1.14, is the variance's small-sample factor)"
    )
    assert (
        f"No patient has two answers: {plain}." in said(page)
        and f"No patient has two answers: {plain}." in page.text_area[0].value
    )
    columns = next(list(f.value.columns) for f in page.dataframe if len(f.value) == 1)
    assert columns == ["Case", "Mammogram", "First abnormality", "Any malignant"]
    assert "any_malignant" not in said(page) and "first_abnormality" not in said(page)
