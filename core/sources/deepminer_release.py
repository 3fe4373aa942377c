"""The published DeepMiner data:

DDSM's films as JPEG, masks of their findings, the published split and the published patch labels.

ddsm_raw/<image>.jpg                     <image> such as benign_01-B_3102_1.LEFT_CC.LJPEG.1
ddsm_masks/3class/[<folder>/]<image>.png 1 benign, 2 malignant; films without findings have none
ddsm_raw_image_lists/{train,val,test}.txt, or else ddsm_labels/{3class,2class}/{train,val,test}.txt
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from core.errors import UserError
from core.images.decoding import Film, read_film
from core.images.polygons import scaled, trace
from core.sources.records import Finding, Mammogram, Patient, Problem
from core.sources.splits_kept import one_split

simulated = False
_VOLUME = r"(?P<volume>(?P<kind>cancer|benign_without_callback|benign|normal)_\d+)"
NAME = re.compile(_VOLUME + r"-(?P<case>[A-Z]_\d+_\d+)\.(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO)\.")
PATCH = re.compile(r"^(?P<image>.+)-y(?P<y>\d+)_x(?P<x>\d+)_h(?P<h>\d+)_w(?P<w>\d+)")
SPLITS = {"train": "train", "val": "holdout", "test": "test"}
KINDS = {
    "cancer": "MALIGNANT",
    "benign": "BENIGN",
    "benign_without_callback": "BENIGN_WITHOUT_CALLBACK",
    "normal": "NORMAL",
}


@dataclass(frozen=True)
class ReleaseImage:
    """A film of the release; mask:

    None where there is none; split: train, holdout, test or None if no list names it.
    """

    name: str
    file: Path
    mask: Path | None
    split: str | None


@dataclass(frozen=True)
class ReleaseTask:
    """The films of one case, from whatever volumes it is filed in."""

    patient: str
    images: tuple[ReleaseImage, ...] = field(repr=False)


def tasks(path: Path | None, skip_bad: bool = False) -> tuple[list[ReleaseTask], list[Problem]]:
    """A task per case with films in ddsm_raw, ordered by case.

    UserError for a listed film that is missing, unless skip_bad; films that no list names and files
    with other names are listed as problems.
    """
    root = _root(path)
    masks = {file.stem: file for file in sorted((root / "ddsm_masks").rglob("*.png"))}
    split_of = _published_splits(root)
    problems, cases = [], dict[str, list[ReleaseImage]]()
    for file in sorted((root / "ddsm_raw").glob("*.jpg")):
        match = NAME.match(file.name)
        if not match:
            problems.append(
                Problem(file.name, "the name is none of the release's", "passed over", skipped=True)
            )
            continue
        cases.setdefault(match["case"], []).append(
            ReleaseImage(file.stem, file, masks.get(file.stem), split_of.get(file.stem))
        )
    here = {image.name for images in cases.values() for image in images}
    missing = sorted(set(split_of) - here)
    if missing:
        fault = (
            f"{len(missing)} of {len(split_of)} listed films are not in {root / 'ddsm_raw'}, the"
            f" first is {missing[0]}.jpg"
        )
        if not skip_bad:
            raise UserError(
                f"{fault}: complete the download, or go on without them with --skip-bad."
            )
        problems.append(Problem("ddsm_raw", fault, "left out", skipped=True))
    if not cases:
        raise UserError(
            f"{root / 'ddsm_raw'} holds no film of the release (such as"
            " benign_01-B_3102_1.LEFT_CC.LJPEG.1.jpg): check the folder."
        )
    return [ReleaseTask(case, tuple(cases[case])) for case in sorted(cases)], problems


def files(task: ReleaseTask) -> list[Path]:
    """The case's films and masks."""
    return [file for image in task.images for file in (image.file, image.mask) if file is not None]


def read(task: ReleaseTask) -> Patient:
    """Read one case.

    A film that is filed in two volumes comes in once, with the findings of both masks.
    """
    problems: list[Problem] = []
    films: dict[str, list[tuple[ReleaseImage, Film]]] = {}
    for image in task.images:
        films.setdefault(_view(image), []).append((image, read_film(image.file)))
    mammograms = []
    for view, found in films.items():
        first, *others = found
        same = [image for image, film in others if np.array_equal(film.pixels, first[1].pixels)]
        problems += [
            Problem(
                image.name,
                f"the same film as {first[0].name}",
                "comes in once, with the findings of both",
            )
            for image in same
        ]
        mammograms.append(_mammogram(f"{task.patient}.{view}", *first, [first[0], *same], problems))
        for image, film in others:
            if image not in same:
                mammograms.append(
                    _mammogram(
                        f"{_part(image, 'volume')}-{task.patient}.{view}",
                        image,
                        film,
                        [image],
                        problems,
                    )
                )
    split, several = one_split(task.patient, (image.split for image in task.images))
    order = tuple(KINDS.values())
    filed = min((KINDS[_part(image, "kind")] for image in task.images), key=order.index)
    unlisted = [image.name for image in task.images if not image.split]
    problems += [
        Problem(name, "no list of the published split names it", "comes in without a split")
        for name in unlisted
    ]
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        published_split=split,
        filed_as=filed,
        problems=tuple(problems + several),
    )


def read_patch_labels(path: Path, classes: int = 3) -> pd.DataFrame:
    """The published patch labels: columns image, y, x, h, w (pixels of the raw film), label (3
    classes: 0 normal, 1 benign, 2 cancer; 2 classes: 1 cancer) and split. UserError for a line that
    is none, naming file and line.
    """
    rows = []
    for split, name in _label_files(_root(path), classes):
        for number, line in enumerate(_lines(name), start=1):
            file, _, label = line.strip().rpartition(" ")
            match = PATCH.match(file.rsplit("/", 1)[-1].strip())
            if not line.strip():
                continue
            if not match or label not in tuple("012"[:classes]):
                raise UserError(
                    f"{name}, line {number}: {line[:60]!r} is no patch file with a label: fetch the"
                    " file again."
                )
            rows.append((match["image"], *(int(match[key]) for key in "yxhw"), int(label), split))
    return pd.DataFrame(rows, columns=["image", "y", "x", "h", "w", "label", "split"])


def _root(path: Path | None) -> Path:
    """The folder that holds ddsm_raw."""
    for folder in (Path(path), Path(path) / "data") if path is not None else ():
        if (folder / "ddsm_raw").is_dir():
            return folder
    raise UserError(
        f"{path} holds no folder ddsm_raw: give the folder into which the release was unpacked."
    )


def _published_splits(root: Path) -> dict[str, str]:
    """Image name -> split, by the image lists, else by the patch lists."""
    answer: dict[str, str] = {}
    lists = [
        (split, root / "ddsm_raw_image_lists" / f"{name}.txt") for name, split in SPLITS.items()
    ]
    if all(file.is_file() for _, file in lists):
        for split, file in lists:
            names = (line.split()[0].rsplit("/", 1)[-1] for line in _lines(file) if line.strip())
            answer |= {name.removesuffix(".jpg"): split for name in names}
        return answer
    for classes in (3, 2):
        for split, file in _label_files(root, classes, needed=False):
            patches = (
                PATCH.match(line.split()[0].rsplit("/", 1)[-1])
                for line in _lines(file)
                if line.strip()
            )
            answer |= {match["image"]: split for match in patches if match}
    return answer


def _lines(file: Path) -> list[str]:
    """Lines of one of the release's lists; UserError if it is no text."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"The list {file} is no text: fetch the file again.") from None


def _label_files(root: Path, classes: int, needed: bool = True) -> Iterable[tuple[str, Path]]:
    """(split, file) of the published patch labels; UserError if one is needed and missing."""
    for name, split in SPLITS.items():
        file = root / "ddsm_labels" / f"{classes}class" / f"{name}.txt"
        if file.is_file():
            yield split, file
        elif needed:
            raise UserError(
                f"The published labels {file} are missing: unpack ddsm_labels beside ddsm_raw."
            )


def _part(image: ReleaseImage, name: str) -> str:
    match = NAME.match(image.file.name)
    assert match is not None  # tasks() took only such names
    return match[name]


def _view(image: ReleaseImage) -> str:
    return f"{_part(image, 'side')}_{_part(image, 'view')}"


def _mammogram(
    name: str, image: ReleaseImage, film: Film, masked: list[ReleaseImage], problems: list[Problem]
) -> Mammogram:
    """A film with the findings of the masks given; what is odd is added to problems."""
    findings: list[Finding] = []
    for other in masked:
        if other.mask is not None:
            findings += _findings(other, film, len(findings), problems)
    return Mammogram(
        id=name,
        laterality=_part(image, "side"),
        view=_part(image, "view"),
        pixels=film.pixels,
        maximum=film.maximum,
        findings=tuple(findings),
        scanner=_part(image, "case")[0],
        file_hash=film.file_hash,
        source_file=image.file.name,
    )


def _findings(
    image: ReleaseImage, film: Film, before: int, problems: list[Problem]
) -> list[Finding]:
    """A finding per connected part of a class in the mask, numbered after `before`."""
    assert image.mask is not None
    values = read_film(image.mask).pixels
    (height, width), (h, w) = film.pixels.shape, values.shape
    if abs(h * width / (w * height) - 1) > 0.02:
        raise UserError(
            f"The mask {image.mask} is {w} x {h} pixels, its film {width} x {height}: fetch both"
            " again or take them out."
        )
    findings: list[Finding] = []
    for value, pathology in _classes(image, values, problems):
        parts, number = ndimage.label(values == value, np.ones((3, 3), int))
        for k, box in enumerate(ndimage.find_objects(parts, number), start=1):
            corner = np.array([box[1].start, box[0].start])
            outline = tuple(polygon + corner for polygon in trace(parts[box] == k))
            findings.append(
                Finding(
                    number=before + len(findings) + 1,
                    pathology=pathology,
                    outline=scaled(outline, (width / w, height / h)),
                )
            )
    return findings


def _classes(
    image: ReleaseImage, values: np.ndarray, problems: list[Problem]
) -> list[tuple[int, str]]:
    """(mask value, pathology):

    1 benign, 2 malignant; other values are read by their order, or by the film's volume where there
    is one only.
    """
    found = [int(value) for value in np.unique(values) if value]
    benign = KINDS[_part(image, "kind")] if _part(image, "kind").startswith("benign") else "BENIGN"
    if set(found) <= {1, 2}:
        return [(value, "MALIGNANT" if value == 2 else benign) for value in found]
    if len(found) == 2:
        problems.append(
            Problem(
                image.name,
                f"mask values {found} instead of 1 and 2",
                "the lower is taken for benign, the higher for malignant",
            )
        )
        return [(found[0], benign), (found[1], "MALIGNANT")]
    if len(found) == 1:
        pathology = KINDS[_part(image, "kind")]
        problems.append(
            Problem(
                image.name,
                f"mask value {found[0]} instead of 1 or 2",
                f"taken for {pathology} after the film's volume",
            )
        )
        return [(found[0], "UNPROVEN" if pathology == "NORMAL" else pathology)]
    raise UserError(
        f"The mask {image.mask} holds {len(found)} values where 1 (benign) and 2 (malignant) are"
        " known: fetch it again or take it out."
    )
