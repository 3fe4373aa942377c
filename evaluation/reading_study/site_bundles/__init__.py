"""Site bundles: a reading study at another site, and the return of its answers as one file.

A bundle is a study folder with texts, the images of image arms and the protocol hash only. Bundle
and answers carry seals: HMACs with a key that the bundle and the original study share. They reveal
manual changes; they do not protect against a person who has the key.
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
