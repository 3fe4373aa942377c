"""Case folders as in the archive of the DDSM: headers, overlays and films."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.sources.ddsm_metadata import DDSM_VIEWS
from support.ljpeg_writer import encode

LINES, PIXELS = 60, 40
SQUARE = (
    "11 21" + " 2" * 9 + " 4" * 9 + " 6" * 9 + " 0" * 9 + " #"
)  # columns 10..19, rows 20..29 counted from 0


def grey(seed: int) -> np.ndarray:
    """Return the grey levels of a film of 12 bits."""
    y, x = np.mgrid[:LINES, :PIXELS]
    return (
        np.where(x < 25, 2000 + 40 * x + 3 * y, 80)
        + np.random.default_rng(seed).integers(0, 20, (LINES, PIXELS))
    ).astype(np.uint16)


def overlay(*abnormalities: str, total: int | None = None) -> str:
    """Return the text of an overlay file with these abnormalities."""
    blocks = [f"ABNORMALITY {k}\n{text}\n" for k, text in enumerate(abnormalities, start=1)]
    return f"TOTAL_ABNORMALITIES {total or len(blocks)}\n" + "".join(blocks)


def mass(pathology: str, chain: str = SQUARE, outlines: int = 1, more: str = "") -> str:
    """Return the text of a mass in an overlay file; outlines: the number that the text gives."""
    words = (
        "LESION_TYPE MASS SHAPE IRREGULAR-ARCHITECTURAL_DISTORTION MARGINS SPICULATED\nASSESSMENT"
        " 5\nSUBTLETY 4\n"
    )
    return f"{words}PATHOLOGY {pathology}\nTOTAL_OUTLINES {outlines}\nBOUNDARY \n{chain}\n{more}"


def make_case(
    folder: Path,
    name: str,
    overlays: dict[str, str],
    announced: tuple[str, ...] | None = None,
    digitizer: str = "LUMISYS LASER",
    seed: int = 0,
) -> Path:
    """Write a case folder with four films; announced: views whose .ics line has OVERLAY."""
    folder.mkdir(parents=True)
    case = name.replace("-", "_")
    announced = tuple(overlays) if announced is None else announced
    text = (
        f"ics_version 1.0\nfilename {name}\nDATE_OF_STUDY 2 7 1995\nPATIENT_AGE 42 \nFILM"
        " \nFILM_TYPE REGULAR\nDENSITY 3\n"
    )
    text += f"DATE_DIGITIZED 7 22 1997 \nDIGITIZER {digitizer}\nSEQUENCE\n"
    for k, view in enumerate(DDSM_VIEWS):
        flag = "OVERLAY" if view in announced else "NON_OVERLAY"
        text += (
            f"{view} LINES {LINES} PIXELS_PER_LINE {PIXELS} BITS_PER_PIXEL 12 RESOLUTION 50"
            f" {flag} \n"
        )
        stored = (
            grey(seed + k) if k % 2 else grey(seed + k).reshape(PIXELS, LINES)
        )  # as in the archive, some headers have width and height exchanged
        (folder / f"{case}.{view}.LJPEG").write_bytes(encode(stored, 16, 7))
    for view, content in overlays.items():
        (folder / f"{case}.{view}.OVERLAY").write_text(content)
    path = folder / f"{name}.ics"
    path.write_text(text)
    return path


def create_cases(folder: Path) -> None:
    """Write two patients with four views.

    They have an UNPROVEN finding, two findings in one film, an abnormal case without overlay, stray
    files, a TOTAL_OUTLINES that is too high, a chain that leaves the film, and a CORE.
    """
    calcium = (
        "LESION_TYPE CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED\nLESION_TYPE MASS SHAPE"
        " N/A MARGINS N/A\nASSESSMENT 4\nSUBTLETY 2\n"
    )
    core = f"CORE\n{SQUARE}\n"
    calcium += (
        f"PATHOLOGY UNPROVEN\nTOTAL_OUTLINES 1\nBOUNDARY\n38 5{' 2' * 8}{' 4' * 8}{' 7' * 8} #"
    )
    two = overlay(mass("BENIGN", outlines=3, more=core), calcium)
    cancer = folder / "cases" / "cancers" / "cancer_01" / "case3013"
    make_case(cancer, "B-3013-1", {"LEFT_CC": two, "LEFT_MLO": overlay(mass("MALIGNANT"))})
    (cancer / "B_3013_1.LEFT_CC.OVERLAY~").write_text("old")
    (cancer / "B_3013_1.LEFT_CC.LJPEG.1").write_bytes(b"raw")
    make_case(
        folder / "cases" / "benigns" / "benign_02" / "case0200",
        "C-0200-1",
        {},
        announced=("RIGHT_CC",),
        seed=10,
    )
