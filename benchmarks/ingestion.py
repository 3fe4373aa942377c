"""Ingestion against decoding the same files alone, one process each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import Row, rate, seconds
from core import settings, study_folder
from core.images.decoding import read_film
from core.pipeline.ingest import ingest
from core.sources import phantom

FILMS, WIDTH = 20, 2400


def write_films(folder: Path) -> list[Path]:
    """Phantom films enlarged to a scanner's size with its noise, 12 bits in 16-bit PNG, and the
    manifest.
    """
    rng, paths = np.random.default_rng(0), []
    tasks, _ = phantom.tasks(None, patients=FILMS // 2, seed=3, width=400)
    lines = ["image,patient,laterality,view,pathology"]
    for task in tasks:
        for film in phantom.read(task).mammograms:
            height = round(WIDTH * film.pixels.shape[0] / film.pixels.shape[1])
            large = (
                np.asarray(
                    Image.fromarray(film.pixels).resize((WIDTH, height), Image.Resampling.BICUBIC),
                    np.float32,
                )
                * 16
            )
            pixels = (large + rng.normal(0, 6, large.shape)).clip(0, 4095).astype(np.uint16)
            paths.append(folder / f"{film.id}.png")
            Image.fromarray(pixels).save(paths[-1], compress_level=1)
            lines.append(
                f"{paths[-1].name},{task.patient},{film.laterality},{film.view},{film.findings[0].pathology if film.findings else 'NORMAL'}"
            )
    (folder / "films.csv").write_text("\n".join(lines) + "\n")
    return paths


def measure() -> list[Row]:
    """All rows of this subject."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_films(folder)
        megapixels = sum(read_film(p).pixels.size for p in paths) / 1e6
        chosen, products, references = settings.preset(), [], []
        for turn in range(2):
            made = study_folder.init(folder / f"study{turn}", chosen)
            products.append(
                seconds(
                    lambda made=made: ingest(
                        made,
                        chosen,
                        "manifest",
                        folder / "films.csv",
                        lambda *_: None,
                        image_labels=True,
                    )
                )
            )
            references.append(seconds(lambda: [read_film(p) for p in paths]))
        return [
            rate(
                "ingestion",
                megapixels,
                min(products),
                min(references),
                0.8,
                "megapixels/s",
                f"{len(paths)} films of {megapixels / len(paths):.1f} megapixels, 12 bits in PNG",
            )
        ]
