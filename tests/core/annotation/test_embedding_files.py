"""Files of embeddings: what is read from them, and every fault by name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.annotation.embedding_files import read_patch_embeddings, read_word_embeddings
from core.errors import UserError

PATCHES = {
    "patches_run": "patches-00ab",
    "patch_id": np.array([5, 2, 9], np.int32),
    "embedding": np.array([[3, 4], [0, -2], [5, 12]]),
}
WORDS = {"word": np.array([["Mass  with", " halo"]]), "embedding": np.array([[8.0, 6], [0, 0.5]])}


def write(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "e.npz"
    np.savez(file, **content)
    return file


def test_patch_embeddings(tmp_path: Path) -> None:
    file = write(tmp_path, PATCHES)
    read = read_patch_embeddings(file)
    assert read.patches_run == "patches-00ab"
    assert read.patch_ids.tolist() == [5, 2, 9] and read.patch_ids.dtype == np.int64
    # Each row divided by its length: 5, 2 and 13.
    assert read.vectors == pytest.approx(np.array([[0.6, 0.8], [0, -1], [5 / 13, 12 / 13]]))
    assert read.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_word_embeddings(tmp_path: Path) -> None:
    file = write(tmp_path, WORDS)
    read = read_word_embeddings(file)
    assert read.words == ("Mass with", "halo")
    assert read.vectors == pytest.approx(np.array([[0.8, 0.6], [0, 1]]))
    assert read.digest == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_id": np.array([[5, 2, 9]])}, "patch_id must be a list of whole numbers"),
        ({"patch_id": np.array([5.0, 2, 9])}, "patch_id must be a list of whole numbers"),
        ({"patch_id": np.array([5, 2, 2])}, r"patch 2 occurs twice \(1 patches do\)"),
        ({"embedding": np.ones((2, 2))}, r"shape \(2, 2\), but a row for each of 3 entries"),
        ({"embedding": np.ones(3)}, r"shape \(3,\)"),
        ({"embedding": np.array([[1.0, 0], [0, 0], [np.nan, 1]])}, r"of patch 2 is zero .*\(2 are"),
        ({"embedding": np.array([[1.0, 0], [0, 1], [np.inf, 1]])}, r"of patch 9 is zero .*\(1 are"),
        (
            {"patch_id": np.zeros(0, int), "embedding": np.zeros((0, 2))},
            "each of 0 entries is needed",
        ),
        ({"patches_run": np.array({"a": 1}, object)}, "cannot be read as arrays"),
        ({"embedding": None}, "has no array 'embedding'; it needs patches_run, patch_id"),
    ],
)
def test_faults_of_patch_embeddings(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {name: value for name, value in (PATCHES | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        read_patch_embeddings(write(tmp_path, content))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Mass", " "], "word 2 is empty"),
        (["Mass", "halo ", "MASS"], "'MASS' is both word 1 and word 3"),
    ],
)
def test_faults_of_words(tmp_path: Path, words: list[str], message: str) -> None:
    content = {"word": np.array(words), "embedding": np.ones((len(words), 2))}
    with pytest.raises(UserError, match=message):
        read_word_embeddings(write(tmp_path, content))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz does not exist"):
        read_word_embeddings(tmp_path / "none.npz")
    for content in (b"", b"PK\x03\x04 broken", b"text"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as arrays"):
            read_word_embeddings(tmp_path / "x.npz")
