"""Site bundles: a reading study at another site, and the return of its answers as one file.

A bundle is a study folder with texts, the images of image arms, the readers' orders and the
protocol hash only. It is sealed by a key that is not kept; its answers are signed with the
bundle's key and encrypted to the original study. docs/explanation/site_bundles.md states what this
proves.
"""

from __future__ import annotations

from evaluation.reading_study.site_bundles.answers import (
    ImportedAnswers,
    export_answers,
    import_answers,
)
from evaluation.reading_study.site_bundles.bundles import SiteBundle, check_bundle, create_bundle

__all__ = [
    "ImportedAnswers",
    "SiteBundle",
    "check_bundle",
    "create_bundle",
    "export_answers",
    "import_answers",
]
