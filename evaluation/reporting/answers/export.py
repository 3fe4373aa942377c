"""Export of the answers of a closed reading study; every export is written to the log."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import runs, store, study_folder
from core.annotation.spreadsheet_cells import csv_text
from core.errors import UserError
from core.store import run_table
from core.store.reading import reading_table
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import count_text
from evaluation.queries import provenance
from evaluation.queries.provenance import ProvenanceRecord
from evaluation.reading_study import workflow
from evaluation.reading_study.workflow import ClosedStudy
from evaluation.reporting.answers.imrmc import imrmc_text
from evaluation.reporting.answers.r_script import r_files
from evaluation.reporting.answers.redcap import redcap_dictionary, redcap_records
from evaluation.reporting.answers.rows import answer_rows

# Endings of the files of each format; the first file is the one that is named.
EXPORT_FORMATS = {
    "csv": (".csv",),
    "imrmc": (".imrmc",),
    "redcap": (".csv", "_dictionary.csv"),
    "r": (".R", "_data.csv"),
}


@dataclass(frozen=True, kw_only=True)
class ExportedAnswers:
    """Files with the answers of a closed reading study.

    Parameters
    ----------
    protocol, version
        The protocol.
    format : str
        Member of `EXPORT_FORMATS`.
    rows : int
        Number of answers, with corrections.
    files : tuple of Path
        The files; the last one is the provenance record.
    """

    protocol: str
    version: int
    format: str
    rows: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class AnswerFiles:
    """Texts of an export by file name, its provenance record, and the protocol."""

    texts: dict[str, str]
    record: ProvenanceRecord
    protocol: Protocol


def export_reading_answers(
    study: Path,
    out: Path,
    format: str,
    user: str,
    protocol: str | None = None,
    version: int | None = None,
) -> ExportedAnswers:
    """Write the answers of a closed reading study; logged as a look at results.

    Parameters
    ----------
    study : Path
        The study folder.
    out : Path
        New file. Files that belong to it get its name with an ending.
    format : {"csv", "imrmc", "redcap", "r"}
        One row an answer; the input of iMRMC; records and data dictionary of REDCap; an R script
        that repeats the primary analysis, with its data.
    user : str
        Code of the acting person, for the log.
    protocol, version
        The protocol; version may be left out where it has one.

    Returns
    -------
    ExportedAnswers

    Raises
    ------
    UserError
        If the protocol is not closed or was altered, has no answers, or a file exists.
    """
    names = (out.name, *(f"{out.stem}{ending}" for ending in _endings(format)[1:]))
    paths = [out.parent / name for name in names]
    record_path = out.parent / f"{out.stem}{provenance.RECORD_SUFFIX}"
    existing = next((path for path in [*paths, record_path] if path.exists()), None)
    if existing is not None:
        raise UserError(f"{existing} exists already; name a new file for the answers.")
    files = export_files(study, names, format, user, protocol, version)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, files.texts.values(), strict=True):
        study_folder.write_text(path, text)
    files.record.write(out.parent)
    return ExportedAnswers(
        protocol=files.protocol.protocol,
        version=files.protocol.version,
        format=format,
        rows=files.record.counts["answers"],
        files=(*paths, record_path),
    )


def _endings(format: str) -> tuple[str, ...]:
    if format not in EXPORT_FORMATS:
        raise UserError(
            f"{format!r} is not a format of answers; choose one of {', '.join(EXPORT_FORMATS)}."
        )
    return EXPORT_FORMATS[format]


def export_files(
    study: Path,
    names: Sequence[str],
    format: str,
    user: str,
    protocol: str | None = None,
    version: int | None = None,
) -> AnswerFiles:
    """Return the files of `export_reading_answers` as text, and write the entry in the log.

    Parameters
    ----------
    study : Path
        The study folder.
    names : sequence of str
        Names of the files, in the order of `EXPORT_FORMATS`.
    format, user, protocol, version
        See `export_reading_answers`.
    """
    closed = workflow.load_closed_study(study, protocol, version)
    name, number = closed.protocol.protocol, closed.protocol.version
    with store.read(study) as con:
        revisions = reading_table.load_answer_revisions(con, name, number)
    stages = closed.stages if format == "csv" else None
    rows = answer_rows(revisions, closed.key, closed.design, stages)
    simulated = provenance.simulated_parts(
        study, ("labels", "protocol"), closed.design.label_set, closed.protocol
    )
    heading = _heading(closed, format, simulated)
    texts = dict(zip(names, _texts(names, format, rows, closed, heading), strict=True))
    # Before anything is written: no export of answers is without an entry in the log.
    with store.write(study) as con:
        run_table.append_log(
            con,
            user,
            "answers exported",
            f"{name} version {number} as {format}: {count_text(len(rows), 'row')},"
            f" {provenance.hash_tables(texts)[:16]}",
        )
    record = _record(study, format, rows, closed, texts, heading, simulated)
    return AnswerFiles(texts, record, closed.protocol)


def answers_archive(
    study: Path, stem: str, format: str, user: str, protocol: str, version: int
) -> bytes:
    """Return the files of an export and their provenance record as one ZIP file; logged.

    Parameters
    ----------
    stem : str
        Name of the files without ending.
    study, format, user, protocol, version
        See `export_reading_answers`.
    """
    names = [f"{stem}{ending}" for ending in _endings(format)]
    files = export_files(study, names, format, user, protocol, version)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.texts.items():
            archive.writestr(name, text)
        archive.writestr(f"{stem}{provenance.RECORD_SUFFIX}", files.record.text())
    return buffer.getvalue()


def _texts(
    names: Sequence[str], format: str, rows: pd.DataFrame, closed: ClosedStudy, heading: str
) -> tuple[str, ...]:
    """Return the texts of the files of one format, in the order of `EXPORT_FORMATS`."""
    if format == "imrmc":
        return (imrmc_text(rows, heading),)
    if format == "redcap":
        return _csv(redcap_records(rows)), _csv(redcap_dictionary(closed.design))
    if format == "r":
        script, data = r_files(names[0], names[1], rows, closed)
        return f"# {heading}\n{script}", data
    return (_csv(rows),)


def _csv(table: pd.DataFrame) -> str:
    return csv_text(table, date_format="%Y-%m-%d %H:%M:%S.%f")


def _heading(closed: ClosedStudy, format: str, simulated: str) -> str:
    """Return what the files contain, as one line; simulated: names of the simulated parts."""
    answers = (
        "Every revision of every answer"
        if format in ("csv", "redcap")
        else "Latest answers, without hidden repeats"
    )
    mark = f" SIMULATED: {simulated}; not a result about people." if simulated else ""
    return (
        f"DeepMiner reading study {closed.protocol.protocol!r}, version {closed.protocol.version},"
        f" protocol {closed.protocol.hash}. Truth by the rule {closed.design.truth_rule}."
        f" {answers}, 1 to {closed.design.scale}.{mark}"
    )


def _record(
    study: Path,
    format: str,
    rows: pd.DataFrame,
    closed: ClosedStudy,
    texts: dict[str, str],
    heading: str,
    simulated: str,
) -> ProvenanceRecord:
    protocol = closed.protocol
    name = shlex.quote(protocol.protocol)
    return ProvenanceRecord(
        name=Path(next(iter(texts))).stem,
        kind="answers",
        title=f"Answers of {protocol.protocol}, version {protocol.version}",
        caption=heading,
        counts={
            "answers": len(rows),
            "readers": rows["reader"].nunique(),
            "cases": rows["case_number"].nunique(),
            "patients": rows["patient"].nunique(),
        },
        method=f"one row an answer, in the form {format}",
        seed=closed.design.seed,
        simulated=simulated,
        # The answers of a closed version never change, so its export cannot become stale.
        inputs={},
        data_hash=provenance.hash_tables(texts),
        command=(
            f"deepminer reading answers --format {format} --protocol {name} --version"
            f" {protocol.version} --study STUDY --out FILE"
        ),
        software=runs.software_versions(),
        evidence=provenance.evidence_head(study),
        files=tuple(texts),
    )
