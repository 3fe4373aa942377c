"""Word vectors for comparing texts: from a user's word2vec or GloVe file, else from the study's own lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from evaluation.inputs import Array
from evaluation.similarity import CONCEPTS


def load_vectors(path: str | Path, words: Iterable[str] | None = None) -> dict[str, Array]:
    """Vectors of a text file (`word number number ...`, with or without word2vec's first line) or a word2vec `.bin` file; only `words` where
    given, since such files hold millions. A line of another length is a UserError that names it."""
    file, wanted = Path(path), None if words is None else set(words)
    if not file.is_file():
        raise UserError(f"{file}: there is no such word-vector file; give a word2vec (.txt, .bin) or GloVe (.txt) file.")
    vectors = _read_binary(file, wanted) if file.suffix == ".bin" else _read_text(file, wanted)
    if not vectors:
        raise UserError(f"{file}: none of the study's words has a vector in this file; give one trained on English text in lower case.")
    return vectors


def _read_text(file: Path, wanted: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    length = None
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            word, *parts = line.rstrip().split(" ")
            if number == 1 and len(parts) == 1:
                continue
            length = length or len(parts)
            if len(parts) != length:
                raise UserError(f"{file}, line {number}: {len(parts)} numbers where the first line has {length}; the file is damaged.")
            if wanted is None or word in wanted:
                try:
                    vectors[word] = np.array(parts, dtype=np.float64)
                except ValueError as error:
                    raise UserError(f"{file}, line {number}: a value is not a number; give a word2vec or GloVe text file.") from error
    return vectors


def _read_binary(file: Path, wanted: set[str] | None) -> dict[str, Array]:
    vectors: dict[str, Array] = {}
    with file.open("rb") as stream:
        try:
            count, length = (int(value) for value in stream.readline().split())
        except ValueError as error:
            raise UserError(f"{file}: the first line does not hold the number of words and their length; this is no word2vec .bin file.") from error
        for number in range(count):
            name = bytearray()
            while (byte := stream.read(1)) not in (b" ", b""):
                name += byte
            data = stream.read(4 * length)
            if len(data) < 4 * length:
                raise UserError(f"{file}: word {number + 1} of {count} is cut off; copy the file again.")
            word = name.decode("utf-8", errors="replace").strip()
            if wanted is None or word in wanted:
                vectors[word] = np.frombuffer(data, dtype="<f4").astype(np.float64)
    return vectors


def own_vectors(texts: Sequence[Sequence[str]], length: int = 32) -> dict[str, Array]:
    """Vectors from the study's own lines (tokens) and the lexicon: positive pointwise mutual information of words that share a line,
    reduced by a singular value decomposition (Levy and Goldberg 2014). The lexicon's words for one concept count as one more line each,
    so that `mass` and `masses` are near. Deterministic; empty for no words."""
    lines = [list(text) for text in texts if len(text)] + [list(words) for words in CONCEPTS.values()]
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
