"""Commands about the study as a whole: status, doctor, backup, serve, invite."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core import runs, settings, store
from core.class_labels import CLASSES
from core.errors import UserError
from core.pipeline.inputs import image_labels_only
from core.store import participant_table, run_table
from dashboard.commands.common import JsonOption, StudyOption, answer, studied
from evaluation.intervals import decimal
from evaluation.queries import provenance
from evaluation.queries.class_names import class_words
from evaluation.queries.study_status import status as study_status

LOCAL_FILE_SYSTEMS = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "overlay",
    "tmpfs",
    "apfs",
    "hfs",
    "f2fs",
)


def status(
    folder: Annotated[
        Path | None, typer.Argument(help="the study's folder, instead of --study")
    ] = None,
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Where the study stands: data, runs, coverage, annotations, reading."""
    path = studied(folder or study)
    result = study_status(path)
    with store.read(path) as con:
        made = run_table.latest(con, "patches")
    words = {CLASSES[code]: name for code, name in class_words(path, made).items()} if made else {}
    lines = [f"{name}: {_said(value, words)}" for name, value in result.items() if name != "runs"]
    lines += [
        f"run {row['id']}"
        + (
            f": patch AUC malignant, test, {decimal(row['auc']['malignant'])}"
            if row.get("auc") and row["auc"]["malignant"] is not None
            else ""
        )
        for row in result["runs"] or []
    ]
    if image_labels_only(path):
        lines.append("Labels are image-level: every number made from them is.")
    lines += [
        f"{row['state']}: {row['run']} ({row['done']} of {row['total']} {row['unit']})"
        f" {row['message']}"
        for row in runs.unfinished(path)
    ]
    lines += [export.sentence() for export in provenance.stale(path, path / "exports")]
    answer("status", path, result, as_json, "\n".join(lines))


def _said(value: Any, words: dict[str, str]) -> str:
    """A value of the status in words; classes by the names they have in this study, those it does
    not tell apart left out.
    """
    if value is None:
        return "none yet"
    if not isinstance(value, dict):
        return f"{value:,}"
    shown = {
        words.get(name, name.replace("_", " ")): v
        for name, v in value.items()
        if name not in CLASSES or name in words
    }
    return ", ".join(
        f"{name} {'–' if v is None else f'{v:,}' if isinstance(v, int) else decimal(v)}"
        for name, v in shown.items()
    )


def _file_system(path: Path) -> str:
    """Type of the file system that holds a path, or "" where the system does not say."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        place, name = line.split()[1:3]
        if (str(path) + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best):
            best, kind = place, name
    return kind


def _checks(path: Path) -> list[dict[str, Any]]:
    kind, free = _file_system(path), shutil.disk_usage(path).free / 2**30
    with store.read(path) as con:
        frame, missing_films = run_table.runs(con), _missing_films(con, path)
    changed = [
        row["run"]
        for row in frame.to_dict("records")
        if row["kind"] == "train" and not _checkpoint_whole(path, row)
    ]
    gone = [run for run in frame["run"] if not (path / "runs" / run / "manifest.json").is_file()]
    settings.load(path)
    return [
        {"check": "settings", "good": True, "finding": "study.toml is valid"},
        {
            "check": "disk",
            "good": not kind or kind in LOCAL_FILE_SYSTEMS,
            "finding": (
                f"the study lies on {kind or 'an unnamed file system'}; locks need a local disk"
            ),
        },
        {"check": "space", "good": free > 1, "finding": f"{free:.1f} GiB free"},
        {
            "check": "working images",
            "good": not missing_films,
            "finding": (
                f"{len(missing_films)} missing"
                + (f", such as {missing_films[0]}" if missing_films else "")
            ),
        },
        {
            "check": "run folders",
            "good": not gone,
            "finding": f"{len(gone)} of {len(frame)} missing" + (f": {gone[0]}" if gone else ""),
        },
        {
            "check": "checkpoints",
            "good": not changed,
            "finding": (
                f"{len(changed)} changed since training" + (f": {changed[0]}" if changed else "")
            ),
        },
        {
            "check": "machine",
            "good": True,
            "finding": (
                f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, "
                + ", ".join(
                    f"{k} {v}"
                    for k, v in runs.software().items()
                    if k in ("torch", "duckdb", "streamlit")
                )
            ),
        },
    ]


def _missing_films(con: Any, path: Path) -> list[str]:
    from core.store import dataset_table

    return [
        film
        for film in dataset_table.mammograms(con)["file"]
        if not (path / "images" / f"{film}.npy").is_file()
    ]


def _checkpoint_whole(path: Path, row: dict[str, Any]) -> bool:
    checkpoint = path / "runs" / row["run"] / row["manifest"]["weights"]
    return checkpoint.is_file() and runs.file_hash(checkpoint) == row["manifest"]["checkpoint"]


def doctor(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """Check the machine, the versions and the study's integrity; exit 1 if something is wrong."""
    path = studied(study)
    checks = _checks(path)
    text = "\n".join(
        f"{'ok   ' if row['good'] else 'WRONG'} {row['check']}: {row['finding']}" for row in checks
    )
    answer("doctor", path, {"checks": checks}, as_json, text)
    if not all(row["good"] for row in checks):
        bad = next(row for row in checks if not row["good"])
        raise UserError(f"The study needs attention: {bad['check']}: {bad['finding']}.")


def backup(
    file: Annotated[Path, typer.Argument(help="new file for the copy of the store")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Copy the store (data, runs' tables, everybody's answers) into one file; `deepminer restore`
    brings it back.
    """
    path = studied(study)
    store.backup(path, file)
    answer(
        "backup",
        path,
        {"file": str(file), "bytes": file.stat().st_size},
        as_json,
        f"Copied the store of {path} to {file}.",
    )


def restore(
    file: Annotated[Path, typer.Argument(help="a file made by `deepminer backup`")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the store's place and say what is lost; the replaced store is kept beside it.

    Stop the server first.
    """
    made = store.restore(study.resolve(), file)
    until = f", the last of {made.last:%Y-%m-%d %H:%M:%S} UTC" if made.last else ""
    lost = (
        f"The replaced store held {made.lost_annotations} annotations and {made.lost_answers}"
        " answers more"
        if made.lost_answers is not None
        else "The replaced store cannot be opened: whatever was said after that is lost"
    )
    text = (
        f"{made.annotations} annotations and {made.answers} answers are back{until}. {lost}; it is"
        f" kept as {made.kept.name}."
    )
    answer("restore", study.resolve(), {**vars(made), "kept": made.kept.name}, as_json, text)


def serve(
    study: StudyOption = Path("."),
    port: Annotated[int, typer.Option(help="port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
) -> None:
    """Serve the study in the browser and print the team's link."""
    from dashboard import application
    from evaluation.reading_study import site_bundles

    path = studied(study)
    settings.load(path)
    site_bundles.check(path)
    application.serve(path, host, port, announce=lambda line: print(line, flush=True))


def invite(
    role: Annotated[str, typer.Argument(help="team, annotator or reader")],
    study: StudyOption = Path("."),
    name: Annotated[
        str | None,
        typer.Option("--name", help="the person's code, such as R1 (no names of persons)"),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help=(
                "address under which the server is reached, if not where `serve` runs on this"
                " machine"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Invite a person; the link is shown this once."""
    from dashboard import application

    path = studied(study)
    token = participant_table.new_token()
    with store.write(path) as con:
        code = name or participant_table.next_code(con, role)
        participant_table.invite(con, code, role, participant_table.token_hash(token))
    address = application.link(base or application.address(path), token)
    answer(
        "invite",
        path,
        {"code": code, "role": role, "link": address},
        as_json,
        f"{code} ({role}), shown this once: {address}",
    )
