"""The passport of an export: what it shows, of how many, by which method, from which inputs, and
the command that makes it again.

An export is stale when what it was made from has changed since: another run is the newest, labels
or answers came in, another protocol was closed.
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
from core.store import annotation_table, dataset_table, reading_table, run_table, unit_table
from core.study_folder import write_text

RUN_KINDS = ("patches", "train", "evaluate", "dissect", "coverage", "concepts", "explain", "ablate")
# An input that is not there: its step, a sentence, and the command that makes it.
ABSENT = {
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
    "labels": ("Annotation", "no selected unit carries a label yet", "deepminer invite annotator"),
    "annotations": ("Annotation", "nobody has annotated yet", "deepminer invite annotator"),
    "protocol": ("Reading", "no reading study has been closed", "deepminer reading close"),
    "screenshot": (
        "Annotation",
        "the annotation screen is a screenshot of the served page, not a drawing",
        "make pictures",
    ),
}
SUFFIX = ".passport.json"
# Inputs that hold numbers of the test split: an export made from one is an opening of it.
FROM_TEST = frozenset({"evaluate", "explain", "ablate"})
# Every input there is.
NAMES = ("data", *RUN_KINDS, "labels", "annotations", "picks", "protocol", "screenshot")


class Missing(Exception):
    """An input of an export does not exist yet. step: which; reason: a sentence; command: what
    makes it ("" where no command does).
    """

    def __init__(self, step: str, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.step, self.reason, self.command = step, reason, command


def absent(needed: Iterable[str], now: Mapping[str, str]) -> Missing | None:
    """What a build would raise for the first needed input that is not there; None if all are."""
    return next((Missing(*ABSENT[name]) for name in needed if not now.get(name)), None)


@dataclass(frozen=True, kw_only=True)
class Passport:
    """All a reader, or whoever draws it again, must know of an export. counts: n at each level;
    inputs: what it was made from, by name; data_hash: SHA-256 of the numbers behind it; simulated:
    what is simulated, "" if nothing is; files: written beside it.
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

    def write(self, folder: Path) -> Path:
        """Write `<name>.passport.json`."""
        path = folder / f"{self.name}{SUFFIX}"
        write_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False))
        return path


def read(folder: Path) -> list[dict[str, Any]]:
    """Every passport in a folder, by name."""
    return [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*{SUFFIX}"))
    ]


def changed(passport: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """Names of the inputs that are not what they were; empty while the export is fresh."""
    return [name for name, value in passport["inputs"].items() if now.get(name, "") != value]


@dataclass(frozen=True)
class Stale:
    """An export whose inputs are not what they were: which, and the command that makes it again."""

    name: str
    kind: str
    changed: tuple[str, ...]
    command: str

    def sentence(self) -> str:
        """For a terminal."""
        return (
            f"stale {self.kind} {self.name.removeprefix('table_')}: {', '.join(self.changed)}"
            f" changed since; made again by {self.command}"
        )


def stale(study: Path, folder: Path) -> list[Stale]:
    """The stale exports of a folder, with commands that can be pasted."""
    there = read(folder) if folder.is_dir() else []
    now = inputs(study, NAMES) if there else {}
    places = {
        "--study STUDY": f"--study {shlex.quote(str(study))}",
        "--out DIR": f"--out {shlex.quote(str(folder))}",
    }
    found = []
    for passport in there:
        command = passport["command"]
        for place, words in places.items():
            command = command.replace(place, words)
        if changed(passport, now):
            found.append(
                Stale(passport["name"], passport["kind"], tuple(changed(passport, now)), command)
            )
    return found


def inputs(study: Path, names: Iterable[str]) -> dict[str, str]:
    """What is there now, by name: run kinds give the newest run's id, data its hash, people's words
    a hash; "" where there is nothing.
    """
    found = {}
    with store.read(study) as con:
        dissect, explain = run_table.latest(con, "dissect"), run_table.latest(con, "explain")
        for name in names:
            if name in RUN_KINDS:
                found[name] = run_table.latest(con, name) or ""
            elif name == "data":
                found[name] = dataset_table.get_meta(con, "data_hash") or ""
            elif name == "labels":
                labels = annotation_table.labels(con, dissect) if dissect else {}
                found[name] = (
                    _digest({u: (label.text, label.simulated) for u, label in labels.items()})
                    if labels
                    else ""
                )
            elif name == "annotations":
                said = annotation_table.answers(con, dissect).to_dict("records") if dissect else []
                found[name] = _digest(said) if said else ""
            elif name == "picks":
                found[name] = _digest(unit_table.figure_picks(con, explain)) if explain else ""
            elif name == "protocol":
                closed = closed_protocol(con)
                found[name] = closed.hash if closed else ""
            elif name == "screenshot":
                found[name] = ""
            else:
                raise ValueError(f"{name!r} is no input")
    return found


def closed_protocol(con: dataset_table.Connection) -> reading_table.Protocol | None:
    """The newest reading study whose results may be seen."""
    return next(
        (p for p in reversed(reading_table.protocols(con)) if p.state in ("closed", "unblinded")),
        None,
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def data_hash(tables: Mapping[str, str]) -> str:
    """SHA-256 of the numbers behind an export, as CSV texts by name."""
    return _digest(dict(tables))


def simulated_parts(study: Path, names: Iterable[str]) -> str:
    """What is simulated among these inputs: "images", "unit labels", "answers", joined; "" if
    nothing is.
    """
    wanted, parts = set(names), []
    with store.read(study) as con:
        sources = dataset_table.sources(con)
        if len(sources) and sources["simulated"].any():
            parts.append("images")
        dissect = run_table.latest(con, "dissect")
        if (
            dissect
            and wanted & {"labels", "protocol"}
            and any(label.simulated for label in annotation_table.labels(con, dissect).values())
        ):
            parts.append("unit labels")
        if dissect and "annotations" in wanted:
            said = annotation_table.answers(con, dissect)
            if len(said) and said["simulated"].any():
                parts.append("annotations")
        closed = closed_protocol(con)
        if "protocol" in wanted and closed is not None and closed.simulated:
            parts.append("answers")
    return ", ".join(parts)


def image_level_labels(study: Path) -> bool:
    """Whether any source gave image-level labels only: every export made from them says so."""
    with store.read(study) as con:
        sources = dataset_table.sources(con)
    return bool(len(sources) and sources["image_labels"].any())


def seed_of(study: Path) -> int:
    """The study's seed."""
    return settings.load(study).study.seed


def software() -> dict[str, str]:
    """Versions of what draws and computes."""
    import matplotlib

    return runs.software() | {"matplotlib": matplotlib.__version__}
