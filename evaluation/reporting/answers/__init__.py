"""Answers of a closed reading study as files for other programs: CSV, iMRMC, REDCap and R.

A module belongs here if it writes answers for analysis elsewhere. Answers of a site bundle, before
closing, are exported by `evaluation.reading_study.site_bundles`.
"""

from __future__ import annotations

from evaluation.reporting.answers.export import (
    EXPORT_FORMATS,
    ExportedAnswers,
    answers_archive,
    export_files,
    export_reading_answers,
)
from evaluation.reporting.answers.imrmc import imrmc_text
from evaluation.reporting.answers.redcap import redcap_dictionary, redcap_records
from evaluation.reporting.answers.rows import answer_rows

__all__ = [
    "EXPORT_FORMATS",
    "ExportedAnswers",
    "answer_rows",
    "answers_archive",
    "export_files",
    "export_reading_answers",
    "imrmc_text",
    "redcap_dictionary",
    "redcap_records",
]
