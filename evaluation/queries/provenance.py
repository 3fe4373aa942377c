"""Provenance of exports: what an export contains, its inputs, its method, and the command for it.

An export is stale once one of its inputs has changed: a newer run exists, labels or annotations
were added, or another reading study was closed.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core import runs, settings, store
from core.atomic_files import write_text
from core.settings import load_order_of_experts
from core.store import annotation_table, dataset_table, run_table, unit_table
from core.store.connection import Connection
from core.store.evidence import chain_head
from core.store.labels import category_table, label_sets, label_states
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import RESULT_STATES

RUN_KINDS = (
    "patches",
    "train",
    "evaluate",
    "dissect",
    "coverage",
    "concepts",
    "explain",
    "ablate",
    "sufficiency",
)
# For each input that may be missing: its step, the reason, and the command that supplies it.
MISSING_INPUTS = {
    "data": ("Source", "there are no mammograms yet", "deepminer ingest phantom"),
    "patches": ("Patches", "there is no patches run yet", "deepminer patches"),
    "train": ("Classifier", "no classifier has been trained yet", "deepminer train"),
    "evaluate": ("Evaluation", "no classifier has been evaluated yet", "deepminer evaluate"),
    "dissect": ("Units", "no classifier has been dissected yet", "deepminer dissect"),
    "coverage": (
        "Units",
        "the coverage of the newest units has not been measured",
        "deepminer dissect",
    ),
    "explain": ("Explanations", "no mammogram has been explained yet", "deepminer explain"),
    "ablate": ("Ablation", "no unit has been ablated yet", "deepminer ablate"),
    "sufficiency": (
        "Sufficiency",
        "the named units have not been measured alone",
        "deepminer sufficiency",
    ),
    "labels": ("Annotation", "no selected unit carries a label yet", "deepminer invite annotator"),
    "annotations": ("Annotation", "no unit has been annotated yet", "deepminer invite annotator"),
    "protocol": ("Reading", "no reading study has been closed", "deepminer reading close"),
    "screenshot": (
        "Annotation",
        "the annotation screen is a screenshot of the served page, not a drawing",
        "make pictures",
    ),
}
RECORD_SUFFIX = ".provenance.json"
# Inputs that contain numbers of the test split: an export made from one counts as an opening of it.
TEST_SPLIT_INPUTS = frozenset({"evaluate", "explain", "ablate", "sufficiency"})
INPUT_NAMES = ("data", *RUN_KINDS, "labels", "annotations", "picks", "protocol", "screenshot")


class MissingInput(Exception):
    """An input of an export does not exist yet.

    step: the pipeline step that is missing; reason: a clause for a sentence; command: the command
    that supplies the input, "" without one.
    """

    def __init__(self, step: str, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.step, self.reason, self.command = step, reason, command


def first_missing_input(required: Iterable[str], current: Mapping[str, str]) -> MissingInput | None:
    """Return the error that an export would raise, from its required inputs; None if all exist."""
    return next((MissingInput(*MISSING_INPUTS[n]) for n in required if not current.get(n)), None)


@dataclass(frozen=True, kw_only=True)
class ProvenanceRecord:
    """Everything needed to interpret an export and to repeat it.

    counts: n at each level; inputs: version of each input, by name (`current_inputs`); data_hash:
    SHA-256 of the underlying numbers; simulated: names of the simulated parts, "" if there are
    none; files: names of the files written beside the record; evidence: head of the study's
    evidence chain before the export.
    """

    name: str
    kind: str
    title: str
    caption: str
    counts: dict[str, int]
    method: str
    seed: int
    simulated: str
    inputs: dict[str, str]
    data_hash: str
    command: str
    software: dict[str, str]
    files: tuple[str, ...]
    width_mm: float | None = None
    evidence: str = ""

    def write(self, folder: Path) -> Path:
        """Write `<name>.provenance.json` into a folder and return its path."""
        path = folder / f"{self.name}{RECORD_SUFFIX}"
        write_text(path, self.text())
        return path

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def export_records(study: Path) -> list[Path]:
    """Return the files of the records in the study's exports folder, the newest last."""
    records = (study / "exports").rglob(f"*{RECORD_SUFFIX}")
    return sorted(records, key=lambda path: path.stat().st_mtime)


def load_records(folder: Path) -> list[dict[str, Any]]:
    """Return every provenance record in a folder, by name."""
    paths = sorted(folder.glob(f"*{RECORD_SUFFIX}"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def changed_inputs(record: Mapping[str, Any], current: Mapping[str, str]) -> list[str]:
    """Return the names of the inputs that changed since the export."""
    # An input that exists no longer counts as changed.
    return [name for name, version in record["inputs"].items() if current.get(name, "") != version]


@dataclass(frozen=True)
class StaleExport:
    """An export with changed inputs, and the command that repeats it."""

    name: str
    kind: str
    changed: tuple[str, ...]
    command: str

    def sentence(self) -> str:
        """Return a line for the terminal."""
        return (
            f"stale {self.kind} {self.name.removeprefix('table_')}: {', '.join(self.changed)}"
            f" changed since; repeat with {self.command}"
        )


def stale_exports(study: Path, folder: Path) -> list[StaleExport]:
    """Return the stale exports of a folder; their commands can be pasted into a shell."""
    records = load_records(folder) if folder.is_dir() else []
    current = current_inputs(study, INPUT_NAMES) if records else {}
    # Records are written with placeholders, so that the files of a study can be moved.
    arguments = {
        "--study STUDY": f"--study {shlex.quote(str(study))}",
        "--out DIR": f"--out {shlex.quote(str(folder))}",
    }
    stale = []
    for record in records:
        changed = changed_inputs(record, current)
        if not changed:
            continue
        command = record["command"]
        for placeholder, argument in arguments.items():
            command = command.replace(placeholder, argument)
        stale.append(StaleExport(record["name"], record["kind"], tuple(changed), command))
    return stale


def current_inputs(study: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the present version of each named input; "" where it is missing.

    A kind of run: the id of its newest run. "data": the hash of the ingested data. "labels",
    "annotations" and "picks": a hash of what people entered. "protocol": its hash.
    """
    with store.read(study) as con:
        return {name: _input_version(con, study, name) for name in names}


def _input_version(con: Connection, study: Path, name: str) -> str:
    if name in RUN_KINDS:
        return run_table.latest_run(con, name) or ""
    if name == "data":
        return dataset_table.get_meta(con, "data_hash") or ""
    if name == "labels":
        labels = _unit_labels(con, study)
        digest = _digest({u: (label.text, label.simulated) for u, label in labels.items()}, labels)
        newest = run_table.latest_run(con, "dissect")
        confirmed = category_table.confirmed_categories(con, newest) if newest else {}
        # Without confirmed categories the digest is that of earlier versions.
        return _digest([digest, sorted(confirmed.items())]) if confirmed else digest
    if name == "annotations":
        dissect = run_table.latest_run(con, "dissect")
        rows = annotation_table.load_annotations(con, dissect).to_dict("records") if dissect else []
        return _digest(rows, rows)
    if name == "picks":
        explain = run_table.latest_run(con, "explain")
        return _digest(unit_table.load_figure_picks(con, explain), explain) if explain else ""
    if name == "protocol":
        closed = closed_protocol(con)
        return closed.hash if closed else ""
    # A screenshot is a file of its own, without a version in the store.
    if name == "screenshot":
        return ""
    raise ValueError(f"{name!r} is not an input of an export")


def _unit_labels(
    con: Connection, study: Path, label_set: str | None = None
) -> dict[int, label_states.UnitLabel]:
    """Return the labels of the newest dissected units, by unit."""
    dissect = run_table.latest_run(con, "dissect")
    if dissect is None:
        return {}
    order = load_order_of_experts(study)
    return label_sets.load_label_set(con, dissect, label_set or label_sets.DEFAULT_SET, order)


def closed_protocol(con: Connection) -> protocol_table.Protocol | None:
    """Return the newest reading study whose results may be seen, or None."""
    # `list_protocols` begins with the oldest.
    protocols = reversed(protocol_table.list_protocols(con))
    return next((p for p in protocols if p.state in RESULT_STATES), None)


def _digest(value: Any, present: object = True) -> str:
    """Return the SHA-256 of a JSON value, "" where nothing is present."""
    if not present:
        return ""
    # Sorted keys, so that equal values have equal hashes; times have no JSON form.
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def hash_tables(tables: Mapping[str, str]) -> str:
    """Return the SHA-256 of the numbers behind an export, given as CSV texts by name."""
    return _digest(dict(tables))


def simulated_parts(
    study: Path,
    names: Iterable[str],
    label_set: str | None = None,
    protocol: protocol_table.Protocol | None = None,
) -> str:
    """Return the simulated parts among the named inputs, joined by commas; "" without any.

    Images count for every export; "unit labels", "annotations" and "answers" only where the export
    uses them. label_set: None for the labels that the study uses. protocol: the closed reading
    study whose answers count; by default the newest one.
    """
    used, parts = set(names), []
    with store.read(study) as con:
        if dataset_table.any_simulated_source(con):
            parts.append("images")
        # The texts of a reading study consist of unit labels.
        if used & {"labels", "protocol"} and any(
            label.simulated for label in _unit_labels(con, study, label_set).values()
        ):
            parts.append("unit labels")
        if "annotations" in used and (dissect := run_table.latest_run(con, "dissect")):
            annotations = annotation_table.load_annotations(con, dissect)
            if annotations["simulated"].any():
                parts.append("annotations")
        if "protocol" in used:
            closed = protocol or closed_protocol(con)
            if closed is not None and _has_simulated_answers(con, closed):
                parts.append("answers")
    return ", ".join(parts)


def _has_simulated_answers(con: Connection, closed: protocol_table.Protocol) -> bool:
    """Return whether a reading study, or any answer to it, is simulated."""
    progress = reading_table.reading_progress_by_reader(con, closed.protocol, closed.version)
    return closed.simulated or bool(progress["simulated"].any())


def evidence_head(study: Path) -> str:
    """Return the head of the study's evidence chain as a sentence without its full stop."""
    with store.read(study) as con:
        return chain_head(con).sentence()


def log_exports(study: Path, actor: str, records: Iterable[ProvenanceRecord | None]) -> None:
    """Write to the study's log which exports were written, with the hashes of their data."""
    written = [f"{record.name} {record.data_hash[:16]}" for record in records if record is not None]
    if written:
        with store.write(study) as con:
            run_table.append_log(con, actor, "export", ", ".join(written))


def study_seed(study: Path) -> int:
    """Return the seed of the study."""
    return settings.load_settings(study).study.seed


def export_software() -> dict[str, str]:
    """Return the versions of the packages that compute and draw an export."""
    # Imported here: most callers of this module never draw, and the import takes a second.
    import matplotlib

    return runs.software_versions() | {"matplotlib": matplotlib.__version__}
