"""Ingestion against decoding the same files alone, with the fastest decoder of each format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation, generate_uid
from pydicom.uid import ExplicitVRLittleEndian as UNCOMPRESSED
from pydicom.uid import JPEGLossless as LOSSLESS_JPEG

from benchmarks.timing import BenchmarkRow, alternating_times, shortest, throughput_row, time_call
from core import settings, study_folder
from core.images.decoding import read_image
from core.pipeline.ingest import ingest
from core.sources import phantom

MAMMOGRAM_COUNT, WIDTH = 20, 2400
NOISE_SD = 6  # grey levels of 12 bits
ROUNDS, INGEST_GOAL = 3, 0.85


def scanner_pixels(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a phantom enlarged to a scanner's size with noise: uint16 [h, w] of 12 bits."""
    size = (WIDTH, round(WIDTH * pixels.shape[0] / pixels.shape[1]))
    enlarged = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    grey = np.asarray(enlarged, np.float32) * 16
    # Without noise PNG would compress, and so decode, far better than a real scan.
    return (grey + rng.normal(0, NOISE_SD, grey.shape)).clip(0, 4095).astype(np.uint16)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a film as PNG."""
    Image.fromarray(pixels).save(path, compress_level=1)


def write_dicom(path: Path, pixels: np.ndarray, syntax: UID = UNCOMPRESSED) -> None:
    """Write a film as DICOM, with or without lossless JPEG inside."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PhotometricInterpretation = "MG", "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    if syntax == LOSSLESS_JPEG:
        data.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=12)])
        data["PixelData"].VR = "OB"
    else:
        data.PixelData = pixels.astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
    data.save_as(path, enforce_file_format=True)


def write_lossless_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write a film as DICOM with lossless JPEG inside."""
    write_dicom(path, pixels, LOSSLESS_JPEG)


def write_mammograms(
    folder: Path, write_film: Callable[[Path, np.ndarray], None], suffix: str
) -> list[Path]:
    """Write the mammograms and their manifest; return the paths of the images."""
    rng, paths = np.random.default_rng(0), []
    tasks, _ = phantom.list_tasks(None, patients=MAMMOGRAM_COUNT // 2, seed=3, width=400)
    lines = ["image,patient,laterality,view,pathology"]
    for task in tasks:
        for mammogram in phantom.read_patient(task).mammograms:
            path = folder / f"{mammogram.id}{suffix}"
            write_film(path, scanner_pixels(mammogram.pixels, rng))
            findings = mammogram.findings
            pathology = findings[0].pathology if findings else "NORMAL"
            lines.append(
                f"{path.name},{task.patient},{mammogram.laterality},{mammogram.view},{pathology}"
            )
            paths.append(path)
    (folder / "mammograms.csv").write_text("\n".join(lines) + "\n")
    return paths


def frame_bytes(path: Path) -> bytes:
    """Return the compressed pixels of a DICOM film."""
    fragments = pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
    return next(fragments)


# How a film is written, its suffix, and the decoders that it is compared with.
FORMATS: dict[
    str, tuple[Callable[[Path, np.ndarray], None], str, dict[str, Callable[[Path], object]]]
] = {
    "12 bits in PNG": (
        write_png,
        ".png",
        {
            "Pillow": lambda path: np.asarray(Image.open(path)),
            "imagecodecs": lambda path: imagecodecs.png_decode(path.read_bytes()),
        },
    ),
    "DICOM, uncompressed": (
        write_dicom,
        ".dcm",
        {"pydicom": lambda path: pydicom.dcmread(path).pixel_array},
    ),
    "DICOM, lossless JPEG": (
        write_lossless_jpeg,
        ".dcm",
        {"imagecodecs": lambda path: imagecodecs.ljpeg_decode(frame_bytes(path))},
    ),
}


def measure_ingestion() -> Iterator[BenchmarkRow]:
    """Yield a row for each format."""
    for name, (write_film, suffix, decoders) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = write_mammograms(Path(folder), write_film, suffix)
            yield ingestion_row(name, Path(folder), paths, decoders)


def ingestion_row(
    name: str, folder: Path, paths: list[Path], decoders: dict[str, Callable[[Path], object]]
) -> BenchmarkRow:
    """Compare the ingestion of a folder with decoding its films in one thread."""
    megapixels = sum(read_image(p).pixels.size for p in paths) / 1e6
    defaults = settings.settings_from_preset()

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

    def decode_all(decode: Callable[[Path], object]) -> Callable[[], None]:
        """Return a work that decodes each film."""

        def run() -> None:
            for path in paths:
                decode(path)

        return run

    product = []
    for turn in range(ROUNDS):
        study = study_folder.create_study(folder / f"study{turn}", defaults)
        product.append(time_call(lambda study=study: ingest_all(study)))
    references = alternating_times(
        {decoder: decode_all(decode) for decoder, decode in decoders.items()}, ROUNDS
    )
    return throughput_row(
        f"ingestion, {name}",
        megapixels,
        shortest(product),
        references,
        INGEST_GOAL,
        "megapixels/s",
        f"{len(paths)} mammograms of {megapixels / len(paths):.1f} megapixels",
    )
