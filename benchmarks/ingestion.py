"""Ingestion against decoding the same files alone, in one process each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import BenchmarkRow, throughput_row, wall_time
from core import settings, study_folder
from core.images.decoding import read_image
from core.pipeline.ingest import ingest
from core.sources import phantom

MAMMOGRAM_COUNT, WIDTH = 20, 2400
NOISE_SD = 6  # grey levels of 12 bits


def scanner_pixels(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a phantom enlarged to a scanner's size with noise: uint16 [h, w] of 12 bits."""
    size = (WIDTH, round(WIDTH * pixels.shape[0] / pixels.shape[1]))
    enlarged = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    grey = np.asarray(enlarged, np.float32) * 16
    # Without noise PNG would compress, and so decode, far better than a real scan.
    return (grey + rng.normal(0, NOISE_SD, grey.shape)).clip(0, 4095).astype(np.uint16)


def write_mammograms(folder: Path) -> list[Path]:
    """Write the mammograms as PNG and their manifest; return the paths of the images."""
    rng, paths = np.random.default_rng(0), []
    tasks, _ = phantom.list_tasks(None, patients=MAMMOGRAM_COUNT // 2, seed=3, width=400)
    lines = ["image,patient,laterality,view,pathology"]
    for task in tasks:
        for mammogram in phantom.read_patient(task).mammograms:
            path = folder / f"{mammogram.id}.png"
            pixels = scanner_pixels(mammogram.pixels, rng)
            Image.fromarray(pixels).save(path, compress_level=1)
            findings = mammogram.findings
            pathology = findings[0].pathology if findings else "NORMAL"
            lines.append(
                f"{path.name},{task.patient},{mammogram.laterality},{mammogram.view},{pathology}"
            )
            paths.append(path)
    (folder / "mammograms.csv").write_text("\n".join(lines) + "\n")
    return paths


def measure_ingestion() -> list[BenchmarkRow]:
    """Return the row of this subject."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_mammograms(folder)
        megapixels = sum(read_image(p).pixels.size for p in paths) / 1e6
        defaults = settings.settings_from_preset()
        product_s, reference_s = [], []

        def ingest_all(study: Path) -> None:
            """Ingest the manifest into an empty study."""
            ingest(
                study,
                defaults,
                "manifest",
                folder / "mammograms.csv",
                lambda *_: None,
                image_labels=True,
            )

        for turn in range(2):
            study = study_folder.create_study(folder / f"study{turn}", defaults)
            product_s.append(wall_time(lambda study=study: ingest_all(study)))
            reference_s.append(wall_time(lambda: [read_image(p) for p in paths]))
        return [
            throughput_row(
                "ingestion",
                megapixels,
                min(product_s),
                min(reference_s),
                0.8,
                "megapixels/s",
                f"{len(paths)} mammograms of {megapixels / len(paths):.1f} megapixels, 12 bits in"
                " PNG",
            )
        ]
