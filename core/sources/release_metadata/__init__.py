"""Descriptions of the release's films: DDSM's words about cases, films and findings.

The films and masks of the release belong in `core.sources.deepminer_release`, the text formats of
DDSM in `core.sources.ddsm_metadata`.
"""

from core.sources.release_metadata.film_descriptions import (
    IMAGE_FOLDERS,
    CaseDescription,
    FilmDescription,
    ReleaseDescriptions,
    find_meta_data,
    read_descriptions,
)
from core.sources.release_metadata.finding_matches import describe_findings

__all__ = [
    "IMAGE_FOLDERS",
    "CaseDescription",
    "FilmDescription",
    "ReleaseDescriptions",
    "describe_findings",
    "find_meta_data",
    "read_descriptions",
]
