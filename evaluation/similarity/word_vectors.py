"""Word vectors: from a user's word2vec or GloVe file, or derived from the study's own texts."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from core import settings
from core.errors import UserError
from evaluation.similarity.text_matching import CONCEPTS
from evaluation.validation import Array

OWN_VECTOR_LENGTH = 32


def load_vectors(path: str | Path, vocabulary: Iterable[str] | None = None) -> dict[str, Array]:
    """Load word vectors from a file.

    Parameters
    ----------
    path : str or Path
        Text file (`word number number ...`, GloVe, or word2vec with its header line), or a
        word2vec `.bin` file.
    vocabulary : iterable of str, optional
        Words to load. Such files hold millions of words; by default all are loaded.

    Returns
    -------
    dict of str to ndarray of float64, shape (d,)

    Raises
    ------
    UserError
        If the file is missing, holds none of the words, or is damaged. The message names the line
        (text) or the word number (binary).
    """
    file, selection = Path(path), None if vocabulary is None else set(vocabulary)
    if not file.is_file():
        raise UserError(
            f"{file}: there is no such word-vector file; give a word2vec (.txt, .bin) or GloVe"
            " (.txt) file."
        )
    vectors = (
        _read_binary(file, selection) if file.suffix == ".bin" else _read_text(file, selection)
    )
    if not vectors:
        raise UserError(
            f"{file}: none of the study's words has a vector in this file; give one trained on"
            " English text in lower case."
        )
    return vectors


def _read_text(file: Path, selection: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    length = None
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            # The original word2vec program ends every line of its text format with a blank.
            text = line.rstrip()
            count = text.count(" ")
            # word2vec's header line: number of words, and length of a vector.
            if number == 1 and count == 1:
                continue
            length = length or count
            if count != length or not count:
                raise UserError(
                    f"{file}, line {number}: {count} numbers where {length or 'some'} are expected;"
                    " the file is damaged or is not a word-vector file."
                )
            # Only selected lines are split into numbers, which takes most of the time.
            word = text[: text.index(" ")]
            if selection is None or word in selection:
                vectors[word] = _parse_numbers(file, number, text[len(word) + 1 :].split(" "))
    return vectors


def _parse_numbers(file: Path, line: int, parts: list[str]) -> Array:
    try:
        vector = np.array(parts, dtype=np.float64)
    except ValueError as error:
        raise UserError(
            f"{file}, line {line}: a value is not a number; give a word2vec or GloVe text file."
        ) from error
    if not np.isfinite(vector).all():
        raise UserError(
            f"{file}, line {line}: a value is not finite; correct the line or remove it."
        )
    return vector


def _read_binary(file: Path, selection: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    with file.open("rb") as stream:
        header = stream.readline(100)
        try:
            count, length = (int(value) for value in header.split())
        except ValueError as error:
            raise UserError(
                f"{file}: the first line does not hold the number of words and their length; this"
                " is not a word2vec .bin file."
            ) from error
        # Mapped, because such files are larger than the memory that the selected words need.
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            position = len(header)
            for number in range(count):
                blank = data.find(b" ", position)
                end = blank + 1 + 4 * length
                if blank < 0 or end > len(data):
                    raise UserError(
                        f"{file}: word {number + 1} of {count} is cut off; copy the file again."
                    )
                # Some writers end a vector with a line feed, which then precedes the next word.
                word = data[position:blank].decode("utf-8", errors="replace").strip()
                if selection is None or word in selection:
                    vectors[word] = np.frombuffer(data[blank + 1 : end], dtype="<f4").astype(
                        np.float64
                    )
                position = end
    return vectors


@lru_cache(maxsize=4)
def _cached_vectors(file: Path, modified: int, vocabulary: frozenset[str]) -> dict[str, Array]:
    """Load vectors once per file version; `modified` (nanoseconds) is part of the cache key."""
    return load_vectors(file, vocabulary)


def study_vectors(study: Path, texts: Sequence[Sequence[str]]) -> tuple[dict[str, Array], str]:
    """Return the word vectors for a study's texts, and their source in words.

    Parameters
    ----------
    study : Path
        Study folder. The setting `evaluation.word_vectors` names a file; without it the vectors are
        `own_vectors`.
    texts : sequence of sequence of str
        Words of each text.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    name = settings.load_settings(study).evaluation.word_vectors
    # A study needs no file: the vectors then depend on its own texts only.
    if not name:
        return own_vectors(texts), "the study's own lines"
    file = study / name
    modified = file.stat().st_mtime_ns if file.is_file() else 0
    vocabulary = frozenset(word for text in texts for word in text)
    return _cached_vectors(file, modified, vocabulary), file.name


def own_vectors(
    texts: Sequence[Sequence[str]], length: int = OWN_VECTOR_LENGTH
) -> dict[str, Array]:
    """Derive word vectors from texts and the concept lexicon.

    Parameters
    ----------
    texts : sequence of sequence of str
        Words of each text.
    length : int
        Largest length of a vector.

    Returns
    -------
    dict of str to ndarray of float64, shape (d,), d <= length

    Notes
    -----
    Positive pointwise mutual information of words that share a text, reduced by a singular value
    decomposition. The words of each concept form one more text, so that `mass` and `masses` are
    similar.

    References
    ----------
    Levy O, Goldberg Y. Neural word embedding as implicit matrix factorization. NIPS 2014:2177-2185.

    Examples
    --------
    >>> vectors = own_vectors([("mass", "spiculated"), ("calcification", "clustered")])
    >>> vectors["mass"].shape
    (30,)
    """
    lines = [list(line) for line in (*texts, *CONCEPTS.values())]
    vocabulary = sorted({word for line in lines for word in line})
    index = {word: position for position, word in enumerate(vocabulary)}
    presence = np.zeros((len(lines), len(vocabulary)))
    for row, line in enumerate(lines):
        presence[row, [index[word] for word in line]] = 1
    joint = presence.T @ presence
    total, single = joint.sum(), joint.sum(axis=1)
    # Words that never share a text have log(0) = -inf, which the maximum turns into 0.
    with np.errstate(divide="ignore"):
        information = np.maximum(0.0, np.log(joint * total / np.outer(single, single)))
    left, values, _ = np.linalg.svd(information)
    # Singular values below this are rounding; their directions are arbitrary.
    rank = min(length, int((values > 1e-9).sum()))
    # Levy and Goldberg weigh the directions by the square roots of the singular values.
    rows = left[:, :rank] * np.sqrt(values[:rank])
    return {word: rows[position] for word, position in index.items()}
