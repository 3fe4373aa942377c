"""Embeddings of patches and words by a model of open_clip in a local folder.

open_clip is an extra of the installation (`pip install 'deepminer[open-clip]'`). Nothing is ever
downloaded: the folder holds `open_clip_config.json`, the weights and, where the model needs them,
the files of its tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core import lineage, runs
from core.annotation.embedding_files import check_words
from core.atomic_files import atomic_write
from core.errors import UserError
from core.images.working_images import PatchReader, WorkingImages
from core.networks.device import select_device
from core.pipeline.inputs import load_patch_table
from core.progress import ProgressCallback

PATCHES_FILE, WORDS_FILE = "patches.npz", "words.npz"
CONFIG_FILE = "open_clip_config.json"
_BATCH = 64


def embed_study(
    study: Path,
    model_folder: Path,
    word_list: Path,
    out: Path,
    report: ProgressCallback,
    dissect: str | None = None,
) -> tuple[Path, Path]:
    """Write the embeddings of the dissected patches and of a word list; return the two files.

    Parameters
    ----------
    study : Path
        The study folder.
    model_folder : Path
        Folder of a model, as open_clip saves it.
    word_list : Path
        Text file with one word or phrase a line.
    out : Path
        Folder for `patches.npz` and `words.npz` (`core.annotation.embedding_files`).
    report : callable
        Progress callback.
    dissect : str, optional
        Id of a dissect run, by default the latest one.

    Raises
    ------
    UserError
        If open_clip is not installed, the model cannot be loaded from the folder, or the word list
        is empty or names a word twice. Nothing is written then.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    words = _read_word_list(word_list)
    model, preprocess, tokenizer = _load_model(model_folder)
    patches_run = lineage.ancestor_run(study, dissected, "patches")
    patches = load_patch_table(study, patches_run)
    used = np.load(runs.run_folder(study, dissected) / "patch_ids.npy")
    patches = patches[patches["patch_id"].isin(used)]
    batches = _embed_patches(model, preprocess, PatchReader(WorkingImages(study), patches), report)
    vectors = np.concatenate(list(batches))
    with torch.inference_mode():
        texts = model.encode_text(tokenizer(list(words)).to(select_device()))
    out.mkdir(parents=True, exist_ok=True)
    files = out / PATCHES_FILE, out / WORDS_FILE
    ids = patches["patch_id"].to_numpy(np.int64)
    _write_arrays(files[0], patches_run=np.array(patches_run), patch_id=ids, embedding=vectors)
    _write_arrays(files[1], word=np.array(words), embedding=texts.float().cpu().numpy())
    return files


def _write_arrays(file: Path, **arrays: Any) -> None:
    # numpy adds a suffix to the name of a file, not to an open file.
    with atomic_write(file) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_word_list(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} cannot be read ({error}); name a UTF-8 text file with one word a line."
        ) from error
    words = tuple(" ".join(line.split()) for line in lines if line.strip())
    if not words:
        raise UserError(f"{file} has no words; write one word or phrase a line.")
    check_words(file, words)
    return words


def _load_model(folder: Path) -> tuple[Any, Any, Any]:
    """Return model, preprocessing of an image, and tokenizer."""
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"{folder} holds no {CONFIG_FILE}; name the folder of a model as open_clip saves it."
        )
    # Before the import, which reads them: a tokenizer would otherwise be fetched by its name.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    try:
        import open_clip
    except ImportError as error:
        raise UserError(
            "open_clip is not installed; install it with `pip install 'deepminer[open-clip]'`, or"
            " compute the embeddings elsewhere and name their files in `deepminer labels machine`."
        ) from error
    name = f"local-dir:{folder.resolve()}"
    try:
        model, preprocess = open_clip.create_model_from_pretrained(name)
        tokenizer = open_clip.get_tokenizer(name)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip(" .")
        raise UserError(
            f"The model in {folder} cannot be loaded ({reason}); nothing is downloaded, so the"
            " folder must hold its weights and the files of its tokenizer."
        ) from error
    return model.to(select_device()).eval(), preprocess, tokenizer


def _embed_patches(
    model: Any, preprocess: Any, reader: PatchReader, report: ProgressCallback
) -> Iterator[np.ndarray]:
    """Yield the embeddings of batches of patches, float32 [n, width]."""
    for start in range(0, len(reader), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(reader)))
        images = [
            Image.fromarray(patch.transpose(1, 2, 0).squeeze()).convert("RGB")
            for patch in reader.batch(rows)
        ]
        pixels = torch.stack([preprocess(image) for image in images]).to(select_device())
        with torch.inference_mode():
            yield model.encode_image(pixels).float().cpu().numpy()
        report(int(rows[-1]) + 1, len(reader), "patches")
