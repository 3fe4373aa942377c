"""Commands that bring data in and make runs."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from core import distributed, settings, store, study_folder
from core.class_labels import label_name
from core.errors import UserError
from core.pipeline import ingest as ingestion
from core.pipeline.inputs import StepResult
from core.runs import explain as told
from core.store import dataset_table, run_table, unit_table
from dashboard.commands.common import JsonOption, StudyOption, answer, parted, progress, studied
from evaluation.intervals import decimal


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """What the disk refuses (full, read-only, not permitted) as a sentence that names the study or
    the file.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(told(error, folder)) from error
        raise UserError(
            f"{error.filename or folder}: {error.strerror or error}; check the disk and its"
            " permissions, and run the command again."
        ) from error


def init(
    folder: Annotated[Path, typer.Argument(help="the study's folder, made if it is missing")],
    as_json: JsonOption = False,
) -> None:
    """Make a study folder with commented settings and an empty store."""
    with _disk(folder):
        made = study_folder.init(folder)
    answer(
        "init",
        made,
        {"study": str(made)},
        as_json,
        f"Made the study {made}. Next: look at {made / 'study.toml'}, then deepminer ingest SOURCE"
        f" --study {made}",
    )


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    parts = text.split("/")
    if (
        len(parts) != 2
        or not all(p.isdigit() for p in parts)
        or not 1 <= int(parts[0]) <= int(parts[1])
    ):
        raise UserError(f"--shard is {text!r}: give I/N such as 2/8, with I from 1 to N.")
    return int(parts[0]), int(parts[1])


def ingest(
    kind: Annotated[str, typer.Argument(help="phantom, manifest, ddsm, cbis-ddsm or release")],
    source: Annotated[
        Path | None, typer.Argument(help="the source's folder or CSV file; none for phantom")
    ] = None,
    study: StudyOption = Path("."),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out patients that cannot be read, and say so")
    ] = False,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 2,
    shard: Annotated[str | None, typer.Option(help="I/N: only every N-th patient")] = None,
    image_labels: Annotated[
        bool,
        typer.Option(
            "--image-labels",
            help="manifest without outlines: every tissue patch gets its image's diagnosis",
        ),
    ] = False,
    patients: Annotated[int, typer.Option(help="phantom: number of patients", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="phantom: seed", min=0)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Take a source's mammograms and findings into the study, everything or nothing."""
    folder = studied(study)
    chosen = settings.load(folder)
    options: dict[str, Any] = {}
    if kind == "phantom":
        options = {"patients": patients, "seed": seed, "width": 4 * chosen.images.input_side}
    elif image_labels:
        options = {"image_labels": True}
    with progress(f"ingest {kind}") as report, _disk(folder):
        done = ingestion.ingest(
            folder,
            chosen,
            kind,
            source,
            report,
            workers=workers,
            skip_bad=skip_bad,
            shard=_shard(shard),
            **options,
        )
    with store.read(folder) as con:
        counts = dataset_table.counts(con)
    text = (
        f"{done.patients} patients and {done.mammograms} mammograms came in ({done.turned} inverted"
        f" films turned); the study holds {counts['patients']} patients."
    )
    if done.answered:
        text = "This source is in the study already; nothing was done."
    if done.problems:
        text += (
            f" {len(done.problems)} problems, such as: {done.problems[0]['item']}:"
            f" {done.problems[0]['cause'].rstrip('.')}."
        )
    if image_labels:
        text += " Labels are image-level: every result made from them says so."
    answer(
        "ingest",
        folder,
        {"source": done, "totals": counts},
        as_json,
        text + " Next: deepminer patches",
    )


def _said(
    command: str, folder: Path, made: StepResult, result: dict[str, Any], as_json: bool, text: str
) -> None:
    found = "" if made.fresh else " (made before with the same settings and data)"
    answer(
        command,
        folder,
        {"run": made.run, "fresh": made.fresh, **result},
        as_json,
        f"{made.run}{found}: {text}",
    )


def patches(
    study: StudyOption = Path("."),
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help=(
                "folder of the published release: its windows, labels (ddsm_labels) and split"
                " instead of our own"
            ),
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Split the patients and label every patch."""
    from core.pipeline import patches as step

    folder = studied(study)
    chosen = settings.load(folder)
    with progress("patches") as report:
        made = step.make(folder, chosen, report, labels)
    with store.read(folder) as con:
        counts = dataset_table.patch_counts(con, made.run)
        manifest = run_table.get(con, made.run)["manifest"]
    classes, absent = manifest["classes"], manifest.get("listed_films_absent", 0)
    text = "; ".join(
        f"{split}: "
        + ", ".join(f"{row.patches} {label_name(row.label, classes)}" for row in rows.itertuples())
        for split, rows in counts.groupby("split")
    )
    note = (
        ""
        if classes == chosen.patches.classes
        else "; two classes, malignant against all other, because no image is labelled normal"
    )
    note += f"; {absent} listed films are not in the study" if absent else ""
    _said(
        "patches",
        folder,
        made,
        {"counts": counts.to_dict("records")},
        as_json,
        f"{text}{note}. Next: deepminer train",
    )


def train(
    study: StudyOption = Path("."),
    arch: Annotated[str | None, typer.Option(help="architecture, instead of study.toml's")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="epochs, instead of study.toml's", min=1)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="FILE, imagenet or none, instead of study.toml's")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier on the training patches; continues where a killed training stopped."""
    from core.pipeline import train as step

    folder = studied(study, together=True)
    chosen = settings.load(folder).changed(
        "training", architecture=arch, epochs=epochs, weights=weights
    )
    with progress("train") as report:
        made = step.make(folder, chosen, report)
    parted()
    with store.read(folder) as con:
        history = run_table.history(con, made.run)
    held = history[history["part"] == "holdout"]
    text = f"{len(history[history['part'] == 'train'])} epochs" + (
        f", hold-out accuracy {decimal(held['accuracy'].max())}" if len(held) else ""
    )
    if held["auc_malignant"].notna().any():
        text += f", malignant AUC {decimal(held['auc_malignant'].iloc[-1])} after the last"
    _said(
        "train",
        folder,
        made,
        {"history": history.to_dict("records")},
        as_json,
        f"{text}. Next: deepminer evaluate",
    )


def evaluate(
    study: StudyOption = Path("."),
    split: Annotated[
        str, typer.Option(help="split whose numbers are printed: holdout or test")
    ] = "holdout",
    as_json: JsonOption = False,
) -> None:
    """Predict held-out patches and mammograms; AUC and partial AUC with patient-clustered
    intervals.
    """
    from evaluation.pipeline import evaluate as step
    from evaluation.queries.report_similarity import similarity

    if split not in step.SPLITS:
        raise UserError(f"--split is {split!r}: choose holdout or test.")
    folder = studied(study, together=True)
    with progress("evaluate") as report:
        made = step.make(folder, report)
    parted()
    with store.write(folder) as con:
        if split == "test":
            run_table.log(con, "command line", "test split opened", made.run)
        metrics = run_table.metrics(con, made.run, split)
        explained = run_table.latest(con, "explain", made.run)
    similar = similarity(folder, explained) if explained else []
    weak = " Labels are image-level." if _image_labels(folder) else ""
    lines = [
        _auc_text(row)
        for row in metrics[(metrics["name"] == "auc") & metrics["estimate"].notna()].to_dict(
            "records"
        )
    ]
    _said(
        "evaluate",
        folder,
        made,
        {
            "split": split,
            "metrics": metrics.to_dict("records"),
            "image_labels": bool(weak),
            "similarity": similar,
        },
        as_json,
        f"{split} split. " + "; ".join(lines) + f".{weak} Next: deepminer dissect",
    )


def _auc_text(row: dict[str, Any]) -> str:
    interval = (
        f" ({decimal(row['low'])} to {decimal(row['high'])})"
        if row["low"] == row["low"] and row["low"] is not None
        else ""
    )
    return f"{row['level']} {row['class']}: AUC {decimal(row['estimate'])}{interval}"


def _image_labels(folder: Path) -> bool:
    with store.read(folder) as con:
        return bool(dataset_table.sources(con)["image_labels"].any())


def dissect(
    study: StudyOption = Path("."),
    layer: Annotated[
        list[str] | None, typer.Option(help="layer, instead of study.toml's; may be repeated")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find every unit's top patches, its influence, the selected units and their coverage."""
    from core.pipeline import dissect as step
    from core.pipeline import phantom_concepts
    from evaluation.pipeline import coverage as coverage_step
    from evaluation.pipeline import descriptor_association

    folder = studied(study, together=True)
    chosen = settings.load(folder)
    dissected = []
    for name in layer or [chosen.dissection.layer]:
        with progress(f"dissect {name}") as report:
            dissected.append(step.make(folder, chosen.changed("dissection", layer=name), report))
    parted()
    for made in dissected:
        with progress(f"dissect {made.run}") as report:
            covered = coverage_step.make(folder, report, made.run)
            descriptor_association.make(folder, report, made.run)
            if _phantom(folder):
                phantom_concepts.make(folder, report, made.run)
    with store.read(folder) as con:
        selected, coverage = (
            unit_table.selected(con, made.run),
            unit_table.coverage(con, covered.run),
        )
        dead = run_table.get(con, made.run)["manifest"]["dead_units"]
    shares = coverage[coverage["name"] == "selected"]
    text = ", ".join(
        f"{label_name(row['class'], shares['class'].nunique())} {100 * row['estimate']:.1f} %"
        for row in shares.to_dict("records")
    )
    _said(
        "dissect",
        folder,
        made,
        {
            "coverage_run": covered.run,
            "coverage": coverage[~coverage["name"].str.startswith("curve")].to_dict("records"),
            "selected": selected.to_dict("records"),
            "dead_units": dead,
        },
        as_json,
        f"{selected['unit'].nunique()} units selected, {len(dead)} dead; coverage {text}. Next:"
        " deepminer explain",
    )


def _phantom(folder: Path) -> bool:
    with store.read(folder) as con:
        films = dataset_table.mammograms(con)
    return bool(len(films)) and bool(films["has_concepts"].all())


def _mammogram_ids(folder: Path) -> set[str]:
    with store.read(folder) as con:
        return set(dataset_table.mammograms(con)["mammogram_id"])


def explain(
    study: StudyOption = Path("."),
    mammogram: Annotated[
        list[str] | None, typer.Option(help="only this mammogram; may be repeated")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain hold-out and test mammograms by class maps and the units behind the decision."""
    from core.pipeline import explain as step

    folder = studied(study, together=True)
    known = distributed.once(lambda: _mammogram_ids(folder))
    for name in mammogram or []:
        if name not in known:
            raise UserError(
                f"There is no mammogram {name!r} in {folder}; ids look like"
                f" {min(known, default='S_0001_1.LEFT_CC')}."
            )
    with progress("explain") as report:
        made = step.make(folder, settings.load(folder), report, mammograms=mammogram or [])
    parted()
    with store.read(folder) as con:
        count = len(unit_table.explanations(con, made.run))
    _said(
        "explain",
        folder,
        made,
        {"mammograms": count},
        as_json,
        f"{count} mammograms explained. Next: deepminer serve",
    )
