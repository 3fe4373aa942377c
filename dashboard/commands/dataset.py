"""Commands that create a study and bring data into it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError
from core.progress import progress_bar
from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    emit_result,
    resolve_study,
)

dataset_app = typer.Typer()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Translate errors of the disk (full, read-only, not permitted) into a UserError."""
    from core.runs import format_error

    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(format_error(error, folder)) from error
        raise UserError(
            f"{error.filename or folder}: {error.strerror or error}; check the disk and its"
            " permissions, and run the command again."
        ) from error


@dataset_app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(help="the study folder, created if it is missing")],
    as_json: JsonOption = False,
) -> None:
    """Create a study folder with commented settings and an empty store."""
    from core import study_folder

    with _disk_errors(folder):
        study = study_folder.create_study(folder)
    text = (
        f"Created the study {study}. Next: review {study / 'study.toml'}, then deepminer ingest"
        f" SOURCE --study {study}"
    )
    emit_result("init", study, {"study": str(study)}, as_json, text)


def _parse_shard(text: str | None) -> tuple[int, int]:
    """Return (I, N) of a shard such as "2/8"; (1, 1) is the whole source."""
    if text is None:
        return 1, 1
    parts = text.split("/")
    if (
        len(parts) != 2
        or not all(part.isdigit() for part in parts)
        or not 1 <= int(parts[0]) <= int(parts[1])
    ):
        raise UserError(f"--shard is {text!r}: give I/N such as 2/8, with I from 1 to N.")
    return int(parts[0]), int(parts[1])


SourceKind = Annotated[
    str,
    typer.Argument(
        help=(
            "phantom, manifest, dicom; ddsm, cbis-ddsm, release, vindr, inbreast, rsna, mini-mias,"
            " cmmd, embed; coco, label-studio, cvat, yolo"
        )
    ),
]
SourcePath = Annotated[
    Path | None, typer.Argument(help="folder or file of the source; none for phantom")
]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="skip and report patients that cannot be read")
]
WorkersOption = Annotated[int, typer.Option(help="number of processes", min=1)]
ShardOption = Annotated[str | None, typer.Option(help="I/N: only every N-th patient")]
ImageLabelsOption = Annotated[
    bool,
    typer.Option(
        "--image-labels",
        help="manifest without outlines: every tissue patch gets the diagnosis of its image",
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="coco, label-studio, cvat, yolo: folder of the images")
]
TruthOption = Annotated[
    Path | None,
    typer.Option(help="dicom: table of the truth, by sop_instance, study or accession"),
]
PseudonymKeyOption = Annotated[
    Path | None,
    typer.Option(
        help=(
            "dicom: key file of the pseudonyms, outside the study; created if missing (default"
            " ~/.config/deepminer/pseudonym.key)"
        )
    ),
]
BiradsOption = Annotated[
    str | None,
    typer.Option(
        help=(
            "vindr, inbreast, embed, annotation tools: pathologies of BI-RADS categories, such as"
            " 1-2=BENIGN,5-6=MALIGNANT; others are UNPROVEN"
        )
    ),
]
PatientsOption = Annotated[int, typer.Option(help="phantom: number of patients", min=1)]
SeedOption = Annotated[int, typer.Option(help="phantom: seed", min=0)]
CheckOption = Annotated[
    bool, typer.Option("--check", help="read, compare and list problems; write nothing")
]
SheetOption = Annotated[
    Path | None,
    typer.Option(help="with --check: PNG file of the mammograms with their outlines"),
]


@dataset_app.command("ingest")
def ingest_command(
    kind: SourceKind,
    source: SourcePath = None,
    study: StudyOption = Path("."),
    skip_bad: SkipBadOption = False,
    workers: WorkersOption = 2,
    shard: ShardOption = None,
    image_labels: ImageLabelsOption = False,
    images: ImagesOption = None,
    truth: TruthOption = None,
    pseudonym_key: PseudonymKeyOption = None,
    pathology_from_birads: BiradsOption = None,
    patients: PatientsOption = 200,
    seed: SeedOption = 1,
    check: CheckOption = False,
    sheet: SheetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import the mammograms and findings of a source; if a patient fails, nothing is added.

    Patients of a source that was corrected since are replaced.
    """
    from core import settings
    from core.sources.dicom_folder import pseudonyms

    folder = resolve_study(study)
    study_settings = settings.load_settings(folder)
    options: dict[str, Any] = {
        "images": images,
        "truth": truth,
        "pseudonym_key": pseudonym_key,
        "pathology_from_birads": pathology_from_birads,
        "image_labels": image_labels or None,
    }
    options = {name: value for name, value in options.items() if value is not None}
    if kind == "phantom":
        # Four patches fit across a phantom mammogram.
        width = 4 * study_settings.images.input_side
        options |= {"patients": patients, "seed": seed, "width": width}
    if kind == "dicom":
        pseudonyms.check_key_location(pseudonym_key or pseudonyms.DEFAULT_KEY_FILE, folder)
    if check:
        _check_source(folder, study_settings, kind, source, workers, sheet, options, as_json)
        return
    options |= {"skip_bad": skip_bad, "workers": workers, "shard": _parse_shard(shard)}
    _ingest_source(folder, study_settings, kind, source, options, as_json)


def _ingest_source(
    folder: Path,
    study_settings: Any,
    kind: str,
    source: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    """Ingest a source and print what was added."""
    from core import settings, store
    from core.pipeline import ingest as ingestion
    from core.store import dataset_table

    with progress_bar(f"ingest {kind}") as report, _disk_errors(folder):
        ingested = ingestion.ingest(folder, study_settings, kind, source, report, **options)
    with store.read(folder) as con:
        totals = dataset_table.dataset_counts(con)
    noun = settings.load_image_noun(folder)
    text = _ingest_text(ingested, totals["patients"], noun, "image_labels" in options)
    # Published JSON keys: `turned` and `answered`.
    result = vars(ingested) | {
        "turned": ingested.inverted_count,
        "answered": ingested.already_ingested,
    }
    del result["inverted_count"], result["already_ingested"]
    emit_result("ingest", folder, {"source": result, "totals": totals}, as_json, text)


def _check_source(
    folder: Path,
    study_settings: Any,
    kind: str,
    source: Path | None,
    workers: int,
    sheet: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    """List what an ingestion would give; exit status 1 where there is a problem."""
    from core.pipeline.ingestion.source_check import check_source

    with progress_bar(f"check {kind}") as report, _disk_errors(folder):
        checked = check_source(
            folder, study_settings, kind, source, report, workers=workers, sheet=sheet, **options
        )
    lines = [f"{row['item']}: {row['cause']} ({row['action']})" for row in checked.problems]
    lines.append(
        f"{checked.patients} patients, {checked.mammograms} mammograms and {checked.findings}"
        f" findings can be imported; {len(checked.problems)} problems. Nothing was written."
    )
    emit_result("ingest", folder, {"check": vars(checked)}, as_json, "\n".join(lines))
    if checked.problems:
        raise typer.Exit(1)


def _ingest_text(ingested: Any, patients: int, noun: str, image_labels: bool) -> str:
    from evaluation.intervals import count_text

    if ingested.already_ingested:
        text = "This source is in the study already; nothing was added."
    else:
        text = (
            f"Added {count_text(ingested.patients, 'patient')} and"
            f" {count_text(ingested.mammograms, noun)} ({ingested.inverted_count} of"
            f" inverted polarity were corrected); the study contains"
            f" {count_text(patients, 'patient')}."
        )
    if ingested.replaced:
        text += (
            f" {ingested.replaced} of them replace earlier content, and what rested on it is out of"
            " date."
        )
    if ingested.problems:
        problem = ingested.problems[0]
        text += f" {len(ingested.problems)} problems, such as: {problem['item']}:"
        text += f" {problem['cause'].rstrip('.')}."
    if image_labels:
        text += " Labels are image-level, and so are all results derived from them."
    return f"{text} Next: deepminer patches"


@dataset_app.command("download")
def download_command(
    collection: Annotated[str, typer.Argument(help="cbis-ddsm")],
    out: Annotated[Path, typer.Option(help="folder for the images")] = Path("cbis-ddsm"),
    patients: Annotated[
        int | None, typer.Option(help="only the first N patients; default all", min=1)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a public set from the Imaging Data Commons; a repeated command continues."""
    from core.sources.public_sets import idc_download

    if collection != "cbis-ddsm":
        raise UserError(f"There is no download of {collection!r}; choose cbis-ddsm.")
    commons = idc_download.ImagingDataCommons()
    with progress_bar("download") as report, _disk_errors(out):
        result = idc_download.download_collection(out, commons, report, patients)
    text = (
        f"{out} holds {result.series} series of {result.patients} patients ({result.fetched} files"
        f" copied, {result.present} were there). Next: put the tables"
        " *_case_description_*_set.csv of CBIS-DDSM beside them (docs/reference/data_sets.md), then"
        f" deepminer ingest cbis-ddsm {out}"
    )
    emit_result("download", None, vars(result), as_json, text)


@dataset_app.command("patches")
def patches_command(
    study: StudyOption = Path("."),
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help=(
                "folder of the published release: use its windows, labels (ddsm_labels) and split"
            ),
        ),
    ] = None,
    input_side: Annotated[
        int | None,
        typer.Option(
            help=(
                "side in pixels at which networks see the patches, such as 299 for inception_v3"
                " beside 227; windows, labels and split stay the same"
            ),
            min=32,
            max=1024,
        ),
    ] = None,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Split the patients and label every patch."""
    from core import settings, store
    from core.class_labels import ClassDefinition
    from core.pipeline import patches as patch_step
    from core.store import dataset_table, run_table
    from dashboard.commands.pipeline import emit_run

    folder = resolve_study(study)
    study_settings = settings.load_settings(folder)
    with progress_bar("patches") as report:
        step_result = patch_step.run_patch_extraction(
            folder, study_settings, report, labels, input_side, workers
        )
    with store.read(folder) as con:
        counts = dataset_table.load_patch_counts(con, step_result.run)
        manifest = run_table.load_run(con, step_result.run)["manifest"]
    classes, absent = (
        ClassDefinition.from_manifest(manifest),
        manifest.get("listed_films_absent", 0),
    )
    names = classes.outputs
    text = "; ".join(
        f"{split}: " + ", ".join(f"{row.patches} {names[row.label]}" for row in rows.itertuples())
        for split, rows in counts.groupby("split")
    )
    if len(names) != study_settings.patches.classes:
        text += (
            f"; two classes, {classes.positive} against all other, because no image is labelled"
            f" {classes.normal}"
        )
    if absent:
        text += f"; {absent} listed images are not in the study"
    if "ingested_side" in manifest:
        text += f"; resized from {manifest['ingested_side']} to {input_side} px"
        if input_side > manifest["ingested_side"]:
            text += (
                " (to keep all detail, ingest into a study with images.input_side ="
                f" {input_side} and resize for the other networks)"
            )
    result = {"counts": counts.to_dict("records")}
    emit_run("patches", folder, step_result, result, as_json, f"{text}. Next: deepminer train")
