"""Files and programs outside the repository that some tests need.

The tests that need one that is absent are skipped as one test, which states their number.
"""

from __future__ import annotations

import shutil

import pytest

from support.paths import REFERENCE, SAMPLES

# Name, description, whether it is present.
REQUIREMENTS = {
    "samples": ("sample images of the public sets, ../shared/samples", SAMPLES.is_dir()),
    "publication": ("the published study and labels, ../shared/reference", REFERENCE.is_dir()),
    "R": ("R (Rscript)", shutil.which("Rscript") is not None),
}
# A test needs what its marker or one of its fixtures needs.
FIXTURES = {
    "sample_films": "samples",
    "problem_inputs": "samples",
    "published_folder": "publication",
    "unit_labels_file": "publication",
}
needs_samples = pytest.mark.needs("samples")
needs_publication = pytest.mark.needs("publication")
needs_r = pytest.mark.needs("R")


def _needs(item: pytest.Item) -> set[str]:
    marked = {name for marker in item.iter_markers("needs") for name in marker.args}
    fixtures = FIXTURES.keys() & set(getattr(item, "fixturenames", ()))
    return marked | {FIXTURES[name] for name in fixtures}


def skip_unmet(items: list[pytest.Item]) -> list[pytest.Item]:
    """Skip the first test of each absent requirement for all of them; return the other tests."""
    left_out: list[pytest.Item] = []
    for name, (description, is_present) in REQUIREMENTS.items():
        group = [i for i in items if name in _needs(i) and i not in left_out]
        if is_present or not group:
            continue
        reason = f"{len(group)} tests need {description}, absent here"
        group[0].add_marker(pytest.mark.skip(reason=reason))
        left_out += group[1:]
    return left_out
