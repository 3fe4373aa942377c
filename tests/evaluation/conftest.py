"""Fixtures of the reference answers, and of the published study, which may be absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.paths import DATA, REFERENCE

STUDY = REFERENCE / "published_study"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, Any]]:
    """Return a function that returns the reference answers of a topic.

    They are numbers of other implementations; the file names its sources.
    """
    answers = json.loads((DATA / "reference_answers.json").read_text(encoding="utf-8"))
    return answers.__getitem__


@pytest.fixture(scope="session")
def published_folder() -> Path:
    """Return the folder of the published study's three sheets."""
    return STUDY


@pytest.fixture(scope="session")
def unit_labels_file() -> Path:
    """Return the file of the published cleaned labels."""
    return REFERENCE / "unit_labels" / "cleaned.json"


@pytest.fixture(scope="session")
def published(published_folder: Path) -> pd.DataFrame:
    """Return the published study, read independently of the product.

    Columns: patient, prefix (truth by folder), any (malignant by report), answer, prob.
    """
    answers = pd.read_csv(published_folder / "explanations-benchmark-responses.csv")
    key = pd.read_csv(published_folder / "explanations-benchmark-answer-key.csv")
    table = answers.merge(key, on="Case #")
    table["patient"] = table["Image Name"].str.extract(r"-([A-D]_\d+)_\d+\.")[0]
    table["prefix"] = table["Image Name"].str.startswith("cancer")
    table["any"] = table["GT Report"].str.contains("PATHOLOGY MALIGNANT")
    table["answer"] = table["Cancer or Benign (C/B)?"] == "C"
    table["prob"] = table["DeepMiner Cancer Likelihood Prediction"]
    return table
