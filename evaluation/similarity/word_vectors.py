"""Word vectors for comparing texts: from a user's word2vec or GloVe file, else from the study's own
lines.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from core import settings
from core.errors import UserError
from evaluation.similarity import CONCEPTS
from evaluation.validation import Array


def load_vectors(path: str | Path, words: Iterable[str] | None = None) -> dict[str, Array]:
    """Vectors of a text file (`word number number ...`, with or without word2vec's first line) or a
    word2vec `.bin` file; only `words` where given, since such files hold millions. A damaged file
    is a UserError that names the line (text) or the word (binary).
    """
    file, wanted = Path(path), None if words is None else set(words)
    if not file.is_file():
        raise UserError(
            f"{file}: there is no such word-vector file; give a word2vec (.txt, .bin) or GloVe"
            " (.txt) file."
        )
    vectors = _read_binary(file, wanted) if file.suffix == ".bin" else _read_text(file, wanted)
    if not vectors:
        raise UserError(
            f"{file}: none of the study's words has a vector in this file; give one trained on"
            " English text in lower case."
        )
    return vectors


def _read_text(file: Path, wanted: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    length = None
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            text = line.rstrip()
            found = text.count(" ")
            if number == 1 and found == 1:
                continue
            length = length or found
            if found != length or not found:
                raise UserError(
                    f"{file}, line {number}: {found} numbers where {length or 'some'} are expected;"
                    " the file is damaged or no word-vector file."
                )
            # Most lines are of words that nobody asks for: only the others are taken apart.
            word = text[: text.index(" ")]
            if wanted is None or word in wanted:
                vectors[word] = _numbers(file, number, text[len(word) + 1 :].split(" "))
    return vectors


def _numbers(file: Path, line: int, parts: list[str]) -> Array:
    try:
        vector = np.array(parts, dtype=np.float64)
    except ValueError as error:
        raise UserError(
            f"{file}, line {line}: a value is not a number; give a word2vec or GloVe text file."
        ) from error
    if not np.isfinite(vector).all():
        raise UserError(
            f"{file}, line {line}: a value is not finite; correct the line or take it out."
        )
    return vector


def _read_binary(file: Path, wanted: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    with file.open("rb") as stream:
        header = stream.readline(100)
        try:
            count, length = (int(value) for value in header.split())
        except ValueError as error:
            raise UserError(
                f"{file}: the first line does not hold the number of words and their length; this"
                " is no word2vec .bin file."
            ) from error
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
            at = len(header)
            for number in range(count):
                blank = held.find(b" ", at)
                end = blank + 1 + 4 * length
                if blank < 0 or end > len(held):
                    raise UserError(
                        f"{file}: word {number + 1} of {count} is cut off; copy the file again."
                    )
                word = held[at:blank].decode("utf-8", errors="replace").strip()
                if wanted is None or word in wanted:
                    vectors[word] = np.frombuffer(held[blank + 1 : end], dtype="<f4").astype(
                        np.float64
                    )
                at = end
    return vectors


@lru_cache(maxsize=4)
def _held(file: Path, changed: int, words: frozenset[str]) -> dict[str, Array]:
    return load_vectors(file, words)


def study_vectors(study: Path, texts: Sequence[Sequence[str]]) -> tuple[dict[str, Array], str]:
    """The vectors for these texts (tokens), and where they come from in words: the file of the
    setting `evaluation.similarity.word_vectors`, read once while it does not change, or the study's own lines.
    UserError where the file is missing or damaged.
    """
    named = settings.load(study).evaluation.word_vectors
    if not named:
        return own_vectors(texts), "the study's own lines"
    file = study / named
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _held(file, changed, frozenset(word for text in texts for word in text)), file.name


def own_vectors(texts: Sequence[Sequence[str]], length: int = 32) -> dict[str, Array]:
    """Vectors from the study's own lines (tokens) and the lexicon: positive pointwise mutual
    information of words that share a line, reduced by a singular value decomposition (Levy and
    Goldberg 2014). The lexicon's words for one concept count as one more line each, so that `mass`
    and `masses` are near. Deterministic; empty for no words.
    """
    lines = [list(text) for text in texts if len(text)] + [
        list(words) for words in CONCEPTS.values()
    ]
    vocabulary = sorted({word for line in lines for word in line})
    index = {word: position for position, word in enumerate(vocabulary)}
    presence = np.zeros((len(lines), len(vocabulary)))
    for row, line in enumerate(lines):
        presence[row, [index[word] for word in line]] = 1
    together = presence.T @ presence
    total, alone = together.sum(), together.sum(axis=1)
    with np.errstate(divide="ignore"):
        information = np.maximum(0.0, np.log(together * total / np.outer(alone, alone)))
    left, values, _ = np.linalg.svd(information)
    kept = min(length, int((values > 1e-9).sum()))
    rows = left[:, :kept] * np.sqrt(values[:kept])
    return {word: rows[position] for word, position in index.items()}
