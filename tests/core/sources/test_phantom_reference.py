"""A seed gives the same phantom: every drawn part against stored numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.phantom_reference import FILE, describe


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    return describe()


def differences(found: Any, stored: Any, place: str, rounding: float) -> list[str]:
    """Return the places where nested values differ; sums of arrays by a share of magnitudes."""
    if isinstance(stored, dict):
        assert list(found) == list(stored), place
        pairs = [(found[name], stored[name], f"{place}/{name}") for name in stored]
    elif is_fingerprint(stored):
        limit = rounding * max(stored[1], 1e-3)
        return (
            [place] if max(abs(a - b) for a, b in zip(found, stored, strict=True)) > limit else []
        )
    elif isinstance(stored, list):
        pairs = [(a, b, f"{place}/{i}") for i, (a, b) in enumerate(zip(found, stored, strict=True))]
    elif isinstance(stored, float):
        return [] if found == pytest.approx(stored, rel=1e-5, abs=1e-6) else [place]
    else:
        # Counts of pixels: rounding may move a pixel over a limit.
        is_count = isinstance(stored, int) and place.rpartition("/")[0].endswith("concepts")
        return [] if found == (pytest.approx(stored, abs=2) if is_count else stored) else [place]
    return [line for pair in pairs for line in differences(*pair, rounding)]


def is_fingerprint(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(v, float) for v in value)


@pytest.mark.parametrize("part", ["findings", "anatomy", "views", "patients", "drawn"])
def test_the_phantom_of_a_seed_is_the_stored_one(drawn: dict[str, Any], part: str) -> None:
    stored = json.loads(FILE.read_text())[part]
    # Single precision of the anatomy; grey levels are cut to whole numbers.
    rounding = 1e-5 if part in ("findings", "drawn") else 2e-4
    assert differences(drawn[part], stored, part, rounding) == []


def test_ids_and_files_of_phantoms(drawn: dict[str, Any]) -> None:
    assert [patient["id"] for patient in drawn["patients"]] == [
        f"S_{number:04d}_1" for number in range(1, 7)
    ]
    assert {m["side"][3] for p in drawn["patients"] for m in p["mammograms"]} == {
        "phantom, seed 11"
    }
