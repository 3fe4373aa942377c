"""Step `machine_names`: names of the selected units from embeddings that the user supplies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import lineage, runs, store
from core.annotation.embedding_files import (
    PatchEmbeddings,
    WordEmbeddings,
    read_patch_embeddings,
    read_word_embeddings,
)
from core.class_labels import unit_name
from core.errors import UserError
from core.pipeline.inputs import StepResult, load_patch_table
from core.progress import ProgressCallback
from core.store import unit_table
from core.store.labels.machine_names import RUN_KIND
from evaluation.annotation.machine_names import name_units

TOP_PATCHES = 32  # those that experts see
_VERSION = 1


def run_machine_names(
    study: Path,
    images: Path,
    words: Path,
    report: ProgressCallback,
    dissect: str | None = None,
) -> StepResult:
    """Name the selected units of a dissect run; they become the label set "machine".

    Parameters
    ----------
    study : Path
        The study folder.
    images, words : Path
        Files of `core.annotation.embedding_files`: embeddings of patches and of a word list.
    report : callable
        Progress callback.
    dissect : str, optional
        Id of a dissect run, by default the latest one.

    Raises
    ------
    UserError
        If a file is faulty, belongs to another patches run, or lacks a top patch. Nothing is
        stored then.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    patches_run = lineage.ancestor_run(study, dissected, "patches")
    patch_vectors, word_vectors = read_patch_embeddings(images), read_word_embeddings(words)
    _check_match(images, patch_vectors, words, word_vectors, patches_run, dissected)
    with store.read(study) as con:
        units = unit_table.selected_unit_ids(con, dissected)
        top = unit_table.load_top_patches(con, dissected, patches_run, units, TOP_PATCHES)
    # Background and top patches come from the same splits: those that were dissected.
    patch_ids = np.load(runs.run_folder(study, dissected) / "patch_ids.npy")
    used = np.isin(patch_vectors.patch_ids, patch_ids)
    row_of = {int(number): row for row, number in enumerate(patch_vectors.patch_ids[used])}
    for row in top.itertuples():
        if int(row.patch_id) not in row_of:
            raise UserError(
                f"{images} has no embedding of patch {row.patch_id}, a top patch of"
                f" {unit_name(int(row.unit))}; embed every patch of {patches_run}."
            )
    by_unit = [
        np.array([row_of[int(number)] for number in rows["patch_id"]])
        for _, rows in top.groupby("unit")
    ]
    patient_of = load_patch_table(study, patches_run).set_index("patch_id")["patient_id"]
    settings = {"images": patch_vectors.digest, "words": word_vectors.digest}
    try:
        with runs.create_run(study, RUN_KIND, _VERSION, settings, [dissected], "") as run:
            names = name_units(
                patch_vectors.vectors[used] @ word_vectors.vectors.T,
                patient_of.loc[list(row_of)].to_numpy(str),
                np.stack(by_unit),
                word_vectors.words,
            )
            run.track_progress(report)(len(units), len(units), "units")
            run.manifest |= {
                "words": len(word_vectors.words),
                "patches": int(used.sum()),
                "names": [
                    {
                        "unit": unit,
                        "word": name.word,
                        "score": name.score,
                        "p_adjusted": name.p_adjusted,
                        "named": name.named,
                    }
                    for unit, name in zip(sorted(units), names)
                ],
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _check_match(
    images: Path,
    patches: PatchEmbeddings,
    words: Path,
    word_list: WordEmbeddings,
    patches_run: str,
    dissect: str,
) -> None:
    """Raise UserError if the files belong to another run or to different models."""
    if patches.patches_run != patches_run:
        raise UserError(
            f"{images} holds embeddings of the patches of {patches.patches_run}, but {dissect} was"
            f" made from {patches_run}; embed the patches of that run."
        )
    if patches.vectors.shape[1] != word_list.vectors.shape[1]:
        raise UserError(
            f"The embeddings of {images} have {patches.vectors.shape[1]} numbers and those of"
            f" {words} {word_list.vectors.shape[1]}; use one model for both."
        )
