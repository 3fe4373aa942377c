"""The worked example before practice names keys that the lexicon of the study has."""

from __future__ import annotations

from dataclasses import replace

from core.lexicon.birads_categories import BIRADS
from dashboard.components.annotation.routes import worked_example


def test_example_in_the_keys_of_the_lexicon() -> None:
    text = worked_example(BIRADS)
    assert "show “Mass with spiculated margin, suspicious”. Press M, 5, S, then 3 for" in text
    plain = replace(BIRADS.categories[0], fields=(), association="none", key="Q", noun="bird")
    text = worked_example(replace(BIRADS, categories=(plain,)))
    assert "show “Bird”. Press Q, then 3 for" in text
