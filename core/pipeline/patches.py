"""Pipeline step `patches`: the split of patients, and all patches with their overlaps and labels.

Label rules belong in `core.dataset`. Stored labels are codes of the classes that study.toml names;
the manifest of the run holds their definition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import MAMMOGRAPHY
from core.dataset.patches import PatchRule
from core.dataset.splits import split_patients
from core.errors import UserError
from core.images.dicom_attributes import MAGNIFIED
from core.images.finding_checks import NO_PATCH, ImageIssue
from core.pipeline.ingestion.problem_rows import JOINT_CODES, UNDECIDED_ACTION, issue_row
from core.pipeline.ingestion.request import check_study_classes
from core.pipeline.inputs import StepResult, load_data_hash
from core.pipeline.labelling.mammogram_patches import (
    FindingOutline,
    LabelledBlock,
    LabellingTask,
    label_mammograms,
)
from core.progress import ProgressCallback
from core.settings import Settings
from core.sources.deepminer_patches import read_published_patches
from core.store import dataset_table, problem_table

_VERSION = 3


def run_patch_extraction(
    study: Path,
    settings: Settings,
    report: ProgressCallback,
    labels: Path | None = None,
    input_side: int | None = None,
    workers: int = 1,
) -> StepResult:
    """Split the patients and label all windows.

    labels: folder of the published release, whose windows, labels and split are used instead; films
    that it does not list have no patches. input_side: side in pixels at which networks see the
    patches, by default images.input_side; windows, labels and split do not depend on it. workers:
    number of processes, on which nothing depends. UserError if no patch remains.
    """
    input_side = input_side or settings.images.input_side
    request = {
        "patches": settings.patches.model_dump(),
        "splits": settings.splits.model_dump(),
        "seed": settings.study.seed,
        "input_side": input_side,
    }
    if settings.class_definition.with_outputs(3) != MAMMOGRAPHY:
        request["classes"] = settings.classes.model_dump()
    data_hash = load_data_hash(study)
    check_study_classes(study, settings)
    _save_chosen_classes(study, settings)
    exclusions = _load_exclusions(study, settings)
    request |= exclusions.request
    listed, absent = (None, 0) if labels is None else _published_patches(study, settings, labels)
    if listed is not None:
        settings = settings.with_changes("splits", published=True)
        request |= {
            "splits": settings.splits.model_dump(),
            "labels": hashlib.sha256(listed.to_csv(index=False).encode()).hexdigest(),
        }
    try:
        with runs.create_run(study, "patches", _VERSION, request, [], data_hash) as run:
            listed_ids = None if listed is None else set(listed["mammogram_id"])
            splits = _split_patients(study, settings, listed_ids)
            patches, dropped, problems = _label_mammograms(
                study, settings, splits, run.track_progress(report), exclusions, listed, workers
            )
            if listed is None:
                with store.write(study) as con:
                    problem_table.replace_open_problems(con, [NO_PATCH], problems)
            if not len(patches):
                raise _no_patch_error(dropped, settings)
            classes = settings.class_definition
            if len(classes.outputs) > 2 and _lacks_normal_images(study, patches):
                # Weak labels without a normal image cannot teach what normal is, so the question
                # becomes malignant (the positive class) against all other.
                classes = classes.with_outputs(2)
                positive = classes.positive_code
                is_positive = patches["label"] == positive
                patches["label"] = np.where(is_positive, positive, 0).astype(np.int32)
            split_rows = {"patient_id": list(splits), "split": list(splits.values())}
            run.add_table("splits", pd.DataFrame(split_rows))
            run.add_table("patches", patches)
            run.manifest |= {
                "patches": len(patches),
                "dropped": dropped,
                "classes": len(classes.outputs),
                "class_definition": classes.to_dict(),
                "labels": "own" if listed is None else "published",
                "left_out": sorted(exclusions.unused),
            }
            if input_side != settings.images.input_side:
                # The side of the images from which the patches are resized.
                run.manifest["ingested_side"] = settings.images.input_side
            if listed is not None:
                run.manifest["listed_films_absent"] = absent
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


@dataclass(frozen=True)
class _Exclusions:
    """Mammograms that give no patches.

    undecided: a problem of a finding is open or was answered with "left out". accepted: findings,
    as (mammogram_id, number), that were called right; they need not reach a patch.
    magnification_views: left out by the setting. left_out: by a decision about the mammogram.
    """

    undecided: frozenset[str]
    accepted: frozenset[tuple[str, int]]
    magnification_views: frozenset[str]
    left_out: frozenset[str]

    @property
    def unused(self) -> frozenset[str]:
        """Mammograms that are used in no step."""
        return self.magnification_views | self.left_out

    @property
    def request(self) -> dict[str, Any]:
        """What of it enters the name of a run; nothing where nothing is excluded."""
        content = {
            "undecided": sorted(self.undecided),
            "accepted": sorted(list(finding) for finding in self.accepted),
            "magnification_views": sorted(self.magnification_views),
        }
        # A key of its own, so that runs without such decisions keep their names.
        if self.left_out:
            content["left_out"] = sorted(self.left_out)
        return {"exclusions": content} if any(content.values()) else {}


def _save_chosen_classes(study: Path, settings: Settings) -> None:
    """Store the positive and the compared class, which may be chosen anew."""
    chosen = settings.class_definition.with_outputs(len(settings.class_definition.names))
    with store.read(study) as con:
        is_stored = dataset_table.load_classes(con) == chosen
    if not is_stored:
        with store.write(study) as con:
            dataset_table.save_classes(con, chosen)


def _load_exclusions(study: Path, settings: Settings) -> _Exclusions:
    with store.read(study) as con:
        decisions = problem_table.finding_decisions(con)
        left_out = problem_table.left_out_mammograms(con)
        mammograms = dataset_table.load_mammograms(con)
    magnified: frozenset[str] = frozenset()
    if settings.images.magnification_views == "leave_out":
        is_magnified = [MAGNIFIED in json.loads(text or "{}") for text in mammograms["attributes"]]
        magnified = frozenset(mammograms.loc[is_magnified, "mammogram_id"])
    accepted = problem_table.ACCEPTED
    return _Exclusions(
        # Findings that reach no patch are found again by every run.
        undecided=frozenset(
            d.mammogram_id for d in decisions if d.resolution != accepted and d.code != NO_PATCH
        ),
        accepted=frozenset(
            (d.mammogram_id, d.finding)
            for d in decisions
            # That a source is right as a whole says nothing about one of its outlines.
            if d.resolution == accepted and d.code not in JOINT_CODES
        ),
        magnification_views=magnified,
        left_out=frozenset(left_out),
    )


def _published_patches(study: Path, settings: Settings, labels: Path) -> tuple[pd.DataFrame, int]:
    """Return the published windows of the study's mammograms, and the number of absent films."""
    if settings.class_definition.names != MAMMOGRAPHY.names:
        raise UserError(
            f"The release labels the classes {', '.join(MAMMOGRAPHY.names)}, but study.toml names"
            " others; use a study with these classes for it."
        )
    with store.read(study) as con:
        mammogram_ids = set(dataset_table.load_mammograms(con)["mammogram_id"])
    return read_published_patches(labels, settings.patches.classes, mammogram_ids)


def _lacks_normal_images(study: Path, patches: pd.DataFrame) -> bool:
    """Return whether labels are image-level and no patch is normal."""
    return lineage.has_image_level_labels(study) and not (patches["label"] == 0).any()


def _split_patients(
    study: Path, settings: Settings, mammogram_ids: Collection[str] | None = None
) -> dict[str, str]:
    """Return the split of all patients, or of those with one of the given mammograms."""
    with store.read(study) as con:
        patients, truth = dataset_table.load_patients(con), dataset_table.load_image_truth(con)
    if mammogram_ids is not None:
        listed = truth.loc[truth["mammogram_id"].isin(mammogram_ids), "patient_id"]
        patients = patients[patients["patient_id"].isin(listed)]
    # Patients with UNPROVEN findings only have no truth and form a stratum.
    worst = truth.groupby("patient_id")["truth"].max().fillna(-1)
    # A source may know better than the worst finding what splits should balance: in a phantom, an
    # appearance of the other pathology.
    strata = [
        stratum if isinstance(stratum, str) else str(int(worst.get(patient, -1)))
        for patient, stratum in zip(patients["patient_id"], patients["stratum"])
    ]
    table = pd.DataFrame({"id": patients["patient_id"], "stratum": strata})
    published = None
    if settings.splits.published:
        published = {
            patient: split
            for patient, split in zip(patients["patient_id"], patients["published_split"])
            if isinstance(split, str)
        }
    train, holdout = settings.splits.train, settings.splits.holdout
    fractions = (train, holdout, 1 - train - holdout)
    return split_patients(table, fractions, settings.study.seed, published)


def _label_mammograms(
    study: Path,
    settings: Settings,
    splits: dict[str, str],
    report: ProgressCallback,
    exclusions: _Exclusions,
    listed: pd.DataFrame | None = None,
    workers: int = 1,
) -> tuple[pd.DataFrame, dict[str, int], list[dict[str, Any]]]:
    """Return the rows of all patches, the counts of what was dropped, and new problems."""
    rule = PatchRule(
        min_tissue=settings.patches.min_tissue,
        min_overlap=settings.patches.min_overlap,
        rule=settings.patches.rule,
        ambiguous=settings.patches.ambiguous,
        classes=settings.class_definition,
    )
    side = settings.images.input_side
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con)
        findings = dataset_table.load_findings(con)
        sources = dataset_table.load_patients(con).set_index("patient_id")["source_id"]
    _check_width(mammograms, side)
    if listed is not None:
        mammograms = mammograms[mammograms["mammogram_id"].isin(listed["mammogram_id"])]
    used, dropped = _exclude(mammograms, exclusions, by_findings=listed is None)
    tasks = _labelling_tasks(used, findings, listed, exclusions.accepted)
    blocks: list[LabelledBlock] = []
    done = 0
    for block in label_mammograms(study, tasks, side, rule, workers):
        blocks.append(block)
        done += block.size
        report(done, len(tasks), "mammograms")
    counts = {name: count for block in blocks for name, count in block.counts.items()}
    dropped |= {
        "unproven": sum(block.unproven for block in blocks),
        "ambiguous": sum(block.ambiguous for block in blocks),
        "films_without_tissue": sum(count == 0 for count in counts.values()),
        "undecided_films": dropped["undecided_films"] + len(tasks) - len(counts),
    }
    patients = dict(zip(used["mammogram_id"], used["patient_id"]))
    problems = [
        _unreached_row(name, finding) | {"source_id": sources[patients[name]]}
        for block in blocks
        for name, finding in block.unreached
    ]
    split_of = {name: splits[patients[name]] for name in counts}
    return _patch_table(blocks, counts, split_of), dropped, problems


def _exclude(
    mammograms: pd.DataFrame, exclusions: _Exclusions, by_findings: bool
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the mammograms that are labelled, and the counts of what is dropped so far.

    by_findings: whether an undecided finding excludes its mammogram.
    """
    ids = mammograms["mammogram_id"]
    magnified = ids.isin(exclusions.magnification_views)
    left_out = ids.isin(exclusions.left_out) & ~magnified
    undecided = ids.isin(exclusions.undecided if by_findings else ()) & ~magnified & ~left_out
    dropped = {
        "unproven": 0,
        "ambiguous": 0,
        "films_without_tissue": 0,
        "undecided_films": int(undecided.sum()),
        "magnification_views": int(magnified.sum()),
        "left_out": int(left_out.sum()),
    }
    return mammograms[~(magnified | left_out | undecided)], dropped


def _labelling_tasks(
    mammograms: pd.DataFrame,
    findings: pd.DataFrame,
    listed: pd.DataFrame | None,
    accepted: frozenset[tuple[str, int]],
) -> list[LabellingTask]:
    """Return what the patches of each mammogram depend on.

    accepted: findings, as (mammogram_id, number), that need not reach a patch.
    """
    outlines: dict[str, list[FindingOutline]] = {}
    for row in findings.itertuples():
        is_checked = row.pathology != "NORMAL" and (row.mammogram_id, row.number) not in accepted
        outline = FindingOutline(row.number, row.pathology, row.outline, is_checked)
        outlines.setdefault(row.mammogram_id, []).append(outline)
    listed_of = {} if listed is None else dict(list(listed.groupby("mammogram_id")))
    return [
        LabellingTask(
            mammogram_id=row.mammogram_id,
            file=row.file,
            image_label=row.image_label if isinstance(row.image_label, str) else None,
            unlocated=row.unlocated,
            findings=outlines.get(row.mammogram_id, []),
            listed=listed_of.get(row.mammogram_id),
            scale=(row.width / row.source_width, row.height / row.source_height),
        )
        for row in mammograms.itertuples()
    ]


def _unreached_row(mammogram_id: str, finding: FindingOutline) -> dict[str, Any]:
    """Return the problem of a finding that counts in no patch of its mammogram."""
    cause = f"the {finding.pathology} finding counts in no patch with enough breast tissue"
    issue = ImageIssue(NO_PATCH, cause)
    return issue_row(mammogram_id, issue, UNDECIDED_ACTION, finding.number)


def _patch_table(
    blocks: list[LabelledBlock], counts: dict[str, int], split_of: dict[str, str]
) -> pd.DataFrame:
    """Return the rows of all patches, numbered in the order of the blocks.

    counts: number of patches of each mammogram; split_of: its split; both in the order of blocks.
    """
    filled = [block.columns for block in blocks if block.columns]
    repeats = np.array(list(counts.values()), int)
    return pd.DataFrame(
        {
            "patch_id": np.arange(repeats.sum(), dtype=np.int32),
            "mammogram_id": np.repeat(np.array(list(counts), object), repeats),
            **{
                name: np.concatenate([columns[name] for columns in filled])
                for name in (filled[0] if filled else ())
            },
            "split": np.repeat(np.array(list(split_of.values()), object), repeats),
        }
    )


def _no_patch_error(dropped: dict[str, int], settings: Settings) -> UserError:
    if dropped["undecided_films"]:
        return UserError(
            f"No patch remains: findings of {dropped['undecided_films']} mammograms are doubtful;"
            " decide about them as `deepminer problems` lists them, or correct the"
            " source."
        )
    unused = dropped["left_out"] + dropped["magnification_views"]
    if unused:
        return UserError(
            f"No patch remains: {unused} mammograms are left out by a decision or by"
            " images.magnification_views; take decisions back with `deepminer problems --reopen`,"
            " or change the setting."
        )
    return UserError(
        f"No patch of any mammogram has {settings.patches.min_tissue:.0%} breast tissue;"
        " inspect the mammograms on the Data page, or lower patches.min_tissue."
    )


def _check_width(mammograms: pd.DataFrame, input_side: int) -> None:
    """Raise UserError if mammograms were ingested for another input side."""
    other = mammograms[mammograms["width"] != 4 * input_side]
    if len(other):
        width = other["width"].iloc[0]
        raise UserError(
            f"images.input_side is {input_side}, but {other['mammogram_id'].iloc[0]} was ingested"
            f" {width} px wide, for {width // 4}; set it back, or ingest into a new study."
        )
