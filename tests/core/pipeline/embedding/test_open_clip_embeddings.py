"""Embeddings by a local model of open_clip, with a stand-in that has the same interface."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from core import lineage
from core.annotation.embedding_files import read_patch_embeddings, read_word_embeddings
from core.errors import UserError
from core.images.working_images import PatchReader, WorkingImages
from core.pipeline.embedding.open_clip_embeddings import CONFIG_FILE, embed_study
from core.pipeline.inputs import load_patch_table

pytestmark = pytest.mark.slow
WORDS = ("spiculated mass", "normal tissue", "round calcifications")


class MeanAndLength(torch.nn.Module):
    """An image becomes mean and maximum of its grey values, a text its length and 1."""

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[1:] == (3, 8, 8) and torch.is_inference_mode_enabled()
        return torch.stack([pixels.mean((1, 2, 3)), pixels.amax((1, 2, 3))], dim=1)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([tokens[:, 0], torch.ones(len(tokens))], dim=1)


def preprocess(image: Image.Image) -> torch.Tensor:
    assert image.mode == "RGB"
    small = image.resize((8, 8), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small, np.float32)).permute(2, 0, 1) + 1


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a model, and a stand-in for the package that loads nothing else."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / CONFIG_FILE).write_text("{}")

    def load(name: str) -> tuple[torch.nn.Module, object]:
        assert name == f"local-dir:{folder}"
        return MeanAndLength(), preprocess

    def tokenizer_of(name: str) -> object:
        assert name == f"local-dir:{folder}"
        return lambda texts: torch.tensor([[len(text)] for text in texts], dtype=torch.float32)

    stand_in = SimpleNamespace(create_model_from_pretrained=load, get_tokenizer=tokenizer_of)
    monkeypatch.setitem(sys.modules, "open_clip", stand_in)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    return folder


@pytest.fixture
def word_list(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text("\n".join([WORDS[0], "", f"  {WORDS[1]} ", WORDS[2]]) + "\n")
    return file


def silent(*_: object) -> None:
    """Report nothing."""


def test_files_belong_to_the_dissected_patches(
    demonstration: Path, model_folder: Path, word_list: Path, tmp_path: Path
) -> None:
    files = embed_study(demonstration, model_folder, word_list, tmp_path / "out", silent)
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    patches, words = read_patch_embeddings(files[0]), read_word_embeddings(files[1])
    dissect = lineage.resolve_run(demonstration, "dissect", None)
    ids = np.load(demonstration / "runs" / dissect / "patch_ids.npy")
    assert sorted(patches.patch_ids) == sorted(ids)
    table = load_patch_table(demonstration, patches.patches_run).set_index("patch_id")
    rows = np.linspace(0, len(ids) - 1, 5).astype(int)
    reader = PatchReader(WorkingImages(demonstration), table.loc[patches.patch_ids[rows]])
    for row, pixels in zip(rows, reader.batch(np.arange(5))):
        grey = preprocess(Image.fromarray(pixels[0]).convert("RGB")).numpy()
        expected = np.array([grey.mean(), grey.max()])
        np.testing.assert_allclose(
            patches.vectors[row], expected / np.linalg.norm(expected), rtol=1e-5
        )
    assert words.words == WORDS
    lengths = np.array([[len(word), 1.0] for word in WORDS])
    np.testing.assert_allclose(
        words.vectors, lengths / np.linalg.norm(lengths, axis=1)[:, None], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("package", "open_clip is not installed; install it with"),
        ("weights", "cannot be loaded (no weights); nothing is downloaded"),
        ("config", f"holds no {CONFIG_FILE}"),
        ("twice", "is both word 1 and word 2"),
        ("empty", "has no words"),
        ("binary", "cannot be read"),
    ],
)
def test_faulty_input_writes_nothing(
    demonstration: Path,
    model_folder: Path,
    word_list: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    sentence: str,
) -> None:
    if fault == "package":
        monkeypatch.setitem(sys.modules, "open_clip", None)
    elif fault == "weights":

        def fail(_: str) -> None:
            raise RuntimeError("no weights.")

        monkeypatch.setattr(sys.modules["open_clip"], "create_model_from_pretrained", fail)
    elif fault == "config":
        (model_folder / CONFIG_FILE).unlink()
    else:
        content = {"twice": b"Mass\nmass\n", "empty": b"\n", "binary": b"\xff\xfe\x00"}[fault]
        word_list.write_bytes(content)
    with pytest.raises(UserError) as caught:
        embed_study(demonstration, model_folder, word_list, tmp_path / "out", silent)
    assert sentence in str(caught.value)
    assert not (tmp_path / "out").exists()
