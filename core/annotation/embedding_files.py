"""Files of embeddings that the user supplies: of patches, and of the words of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from core.errors import UserError
from core.runs import file_hash

_IMAGE_ARRAYS, _TEXT_ARRAYS = ("patches_run", "patch_id", "embedding"), ("word", "embedding")


@dataclass(frozen=True)
class PatchEmbeddings:
    """Embeddings of patches.

    patches_run: id of the run that made the patches; patch_ids: int [n]; vectors: float [n, width]
    of length 1; digest: SHA-256 of the file.
    """

    patches_run: str
    patch_ids: np.ndarray
    vectors: np.ndarray
    digest: str


@dataclass(frozen=True)
class WordEmbeddings:
    """Embeddings of the words of a list.

    words: n different texts; vectors: float [n, width] of length 1; digest: SHA-256 of the file.
    """

    words: tuple[str, ...]
    vectors: np.ndarray
    digest: str


def read_patch_embeddings(file: Path) -> PatchEmbeddings:
    """Return the embeddings of patches in a file.

    file: .npz with the arrays patches_run (the id of the patches run), patch_id int [n] and
    embedding float [n, width]. UserError if something is missing, occurs twice or is no number.
    """
    arrays = _read_arrays(file, _IMAGE_ARRAYS)
    ids = arrays["patch_id"]
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise UserError(f"{file}: patch_id must be a list of whole numbers.")
    repeated = [int(number) for number, count in Counter(ids.tolist()).items() if count > 1]
    if repeated:
        raise UserError(
            f"{file}: patch {repeated[0]} occurs twice ({len(repeated)} patches do); give every"
            " patch one embedding."
        )
    vectors = _unit_vectors(file, arrays["embedding"], [f"patch {number}" for number in ids])
    return PatchEmbeddings(
        str(arrays["patches_run"]), ids.astype(np.int64), vectors, file_hash(file)
    )


def read_word_embeddings(file: Path) -> WordEmbeddings:
    """Return the embeddings of a word list in a file.

    file: .npz with the arrays word (texts [n]) and embedding float [n, width]. UserError if a word
    is empty or occurs twice (capitals and spaces do not distinguish words), or is no number.
    """
    arrays = _read_arrays(file, _TEXT_ARRAYS)
    words = tuple(" ".join(str(word).split()) for word in arrays["word"].ravel())
    check_words(file, words)
    vectors = _unit_vectors(file, arrays["embedding"], [repr(word) for word in words])
    return WordEmbeddings(words, vectors, file_hash(file))


def check_words(file: Path, words: Sequence[str]) -> None:
    """Raise UserError if a word of a list is empty, or occurs twice with or without capitals."""
    seen: dict[str, int] = {}
    for number, word in enumerate(words, start=1):
        if not word:
            raise UserError(f"{file}: word {number} is empty; remove it with its embedding.")
        first = seen.setdefault(word.lower(), number)
        if first != number:
            raise UserError(
                f"{file}: {word!r} is both word {first} and word {number}; remove one of them with"
                " its embedding, since equal words share the units between them."
            )


def _read_arrays(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of a .npz file; pickled objects are refused."""
    if not file.is_file():
        raise UserError(f"{file} does not exist; name a .npz file with {', '.join(names)}.")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays.files]
            if missing:
                raise UserError(f"{file} has no array {missing[0]!r}; it needs {', '.join(names)}.")
            return {name: arrays[name] for name in names}
    except (ValueError, OSError, AttributeError, EOFError, BadZipFile) as error:
        raise UserError(
            f"{file} cannot be read as arrays of numbers and texts; write it with numpy.savez,"
            f" with {', '.join(names)}."
        ) from error


def _unit_vectors(file: Path, embedding: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return embeddings of length 1; UserError names the first faulty one."""
    if embedding.ndim != 2 or len(embedding) != len(names) or not len(names):
        raise UserError(
            f"{file}: embedding has the shape {embedding.shape}, but a row for each of"
            f" {len(names)} entries is needed."
        )
    vectors = np.asarray(embedding, np.float64)
    length = np.linalg.norm(vectors, axis=1)
    faulty = np.flatnonzero(~np.isfinite(length) | (length == 0))
    if len(faulty):
        raise UserError(
            f"{file}: the embedding of {names[faulty[0]]} is zero or not a number ({len(faulty)}"
            " are); compute it again."
        )
    return vectors / length[:, None]
