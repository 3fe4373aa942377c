"""The reference answers beside the repository, where they are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.paths import REFERENCE

STUDY = REFERENCE / "published_study"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, Any]]:
    """Reads `statistics/<topic>.json`; skips where the reference answers are absent."""

    def read(topic: str) -> dict[str, Any]:
        path = REFERENCE / "statistics" / f"{topic}.json"
        if not path.is_file():
            pytest.skip(f"the reference answers are not beside this repository: {topic}.json")
        return json.loads(path.read_text())

    return read


@pytest.fixture(scope="session")
def published_folder() -> Path:
    """The folder of the published study's three sheets."""
    if not STUDY.is_dir():
        pytest.skip("the published study is not beside this repository")
    return STUDY


@pytest.fixture(scope="session")
def unit_labels_file() -> Path:
    """The published cleaned labels."""
    path = REFERENCE / "unit_labels" / "cleaned.json"
    if not path.is_file():
        pytest.skip("the published unit labels are not beside this repository")
    return path


@pytest.fixture(scope="session")
def published(published_folder: Path) -> pd.DataFrame:
    """The published study read plainly, without the product's own reader: patient, prefix (truth by
    folder), malignant, correct, prob.
    """
    answers = pd.read_csv(published_folder / "explanations-benchmark-responses.csv")
    key = pd.read_csv(published_folder / "explanations-benchmark-answer-key.csv")
    table = answers.merge(key, on="Case #")
    table["patient"] = table["Image Name"].str.extract(r"-([A-D]_\d+)_\d+\.")[0]
    table["prefix"] = table["Image Name"].str.startswith("cancer")
    table["any"] = table["GT Report"].str.contains("PATHOLOGY MALIGNANT")
    table["said"] = table["Cancer or Benign (C/B)?"] == "C"
    table["prob"] = table["DeepMiner Cancer Likelihood Prediction"]
    return table
