"""The published data of the DeepMiner study: films of DDSM as JPEG, masks, split and patch labels.

Patches with the published labels are made in `core.sources.deepminer_patches`. The release holds:

ddsm_raw/<image>.jpg                     <image> such as benign_01-B_3102_1.LEFT_CC.LJPEG.1
ddsm_masks/3class/[<folder>/]<image>.png 1 benign, 2 malignant; no file without findings
ddsm_raw_image_lists/{train,val,test}.txt, or else ddsm_labels/{3class,2class}/{train,val,test}.txt
ddsm_meta_data*                          words about cases and findings, read by `release_metadata`;
                                         also in deepminer/data beside the folder of the films

Overlay and .ics files of the archive, in any other folder beside ddsm_raw, are joined to the films.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from core.errors import UserError
from core.images.decoding import DecodedImage, read_image
from core.images.polygons import scale_polygons, trace_mask
from core.sources.conventions import mammogram_from_image, resolve_published_split
from core.sources.ddsm_metadata import parse_overlay, read_text_lines
from core.sources.records import Finding, Mammogram, Patient, Problem
from core.sources.release_metadata import (
    CaseDescription,
    FilmDescription,
    describe_findings,
    read_descriptions,
)

SIMULATED = False
TRUTH_BASIS = "pathology"
_VOLUME = r"(?P<volume>(?P<kind>cancer|benign_without_callback|benign|normal)_\d+)"
IMAGE_NAME = re.compile(
    _VOLUME + r"-(?P<case>[A-Z]_\d+_\d+)\.(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO)\."
)
_PATCH_NAME = re.compile(r"^(?P<image>.+)-y(?P<y>\d+)_x(?P<x>\d+)_h(?P<h>\d+)_w(?P<w>\d+)")
SPLIT_OF_LIST = {"train": "train", "val": "holdout", "test": "test"}
# Pathology of a volume, from worst to best.
_VOLUME_PATHOLOGIES = {
    "cancer": "MALIGNANT",
    "benign": "BENIGN",
    "benign_without_callback": "BENIGN_WITHOUT_CALLBACK",
    "normal": "NORMAL",
}


@dataclass(frozen=True)
class ReleaseImage:
    """A film of the release.

    mask: None without findings. split: train, holdout, test, or None if no list names the film.
    description: words about its findings.
    """

    name: str
    file: Path
    mask: Path | None
    split: str | None
    description: FilmDescription = field(default_factory=FilmDescription)

    def part(self, name: str) -> str:
        """Return a part of the file name: volume, kind, case, side or view."""
        match = IMAGE_NAME.match(self.file.name)
        assert match is not None, "list_tasks accepts no other names"
        return match[name]


@dataclass(frozen=True)
class ReleaseTask:
    """The films of one case, from all volumes in which it is filed."""

    patient: str
    images: tuple[ReleaseImage, ...] = field(repr=False)
    description: CaseDescription = field(default_factory=CaseDescription)


def list_tasks(
    path: Path | None, skip_bad: bool = False
) -> tuple[list[ReleaseTask], list[Problem]]:
    """Return one task per case with films in ddsm_raw, ordered by case, and the problems found.

    Films that no list names and files with other names are problems. UserError for a listed film
    that is missing; with skip_bad it is a problem instead.
    """
    root = _release_root(path)
    masks = {file.stem: file for file in sorted((root / "ddsm_masks").rglob("*.png"))}
    split_of = _published_splits(root)
    descriptions = read_descriptions(root)
    problems, cases = [], dict[str, list[ReleaseImage]]()
    for file in sorted((root / "ddsm_raw").glob("*.jpg")):
        match = IMAGE_NAME.match(file.name)
        if not match:
            problems.append(
                Problem(file.name, "not a file name of the release", "ignored", skipped=True)
            )
            continue
        film = f"{match['case']}.{match['side']}_{match['view']}"
        cases.setdefault(match["case"], []).append(
            ReleaseImage(
                file.stem,
                file,
                masks.get(file.stem),
                split_of.get(file.stem),
                descriptions.film(film, match["volume"]),
            )
        )
    present = {image.name for images in cases.values() for image in images}
    missing = sorted(set(split_of) - present)
    # Results on a part of the release cannot be compared with the published ones.
    if missing:
        fault = (
            f"{len(missing)} of {len(split_of)} listed films are not in {root / 'ddsm_raw'}, the"
            f" first is {missing[0]}.jpg"
        )
        if not skip_bad:
            raise UserError(
                f"{fault}: complete the download, or continue without them with --skip-bad."
            )
        problems.append(Problem("ddsm_raw", fault, "left out", skipped=True))
    if not cases:
        raise UserError(
            f"{root / 'ddsm_raw'} holds no film of the release (such as"
            " benign_01-B_3102_1.LEFT_CC.LJPEG.1.jpg): check the folder."
        )
    tasks = []
    for case, images in sorted(cases.items()):
        volumes = [image.part("volume") for image in images]
        tasks.append(ReleaseTask(case, tuple(images), descriptions.case(case, volumes)))
    return tasks, problems


def task_files(task: ReleaseTask) -> list[Path]:
    """Return the films, masks, overlay and .ics files of the case."""
    files = [
        file
        for image in task.images
        for file in (image.file, image.mask, image.description.overlay)
    ]
    return [file for file in (*files, task.description.ics) if file is not None]


def read_patient(task: ReleaseTask) -> Patient:
    """Read one case.

    A film that is filed in two volumes becomes one mammogram with the findings of both masks.
    """
    problems: list[Problem] = []
    by_view: dict[str, list[tuple[ReleaseImage, DecodedImage]]] = {}
    for image in task.images:
        view = f"{image.part('side')}_{image.part('view')}"
        by_view.setdefault(view, []).append((image, read_image(image.file)))
    mammograms = [
        mammogram
        for view, films in by_view.items()
        for mammogram in _view_mammograms(f"{task.patient}.{view}", films, problems)
    ]
    split, split_problems = resolve_published_split(
        task.patient, (image.split for image in task.images)
    )
    order = tuple(_VOLUME_PATHOLOGIES.values())
    filed = (_VOLUME_PATHOLOGIES[image.part("kind")] for image in task.images)
    problems += [
        Problem(image.name, "no list of the published split names it", "imported without a split")
        for image in task.images
        if not image.split
    ]
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        age=task.description.age,
        density=task.description.density,
        published_split=split,
        filed_as=min(filed, key=order.index),
        problems=tuple(problems + split_problems),
    )


def _view_mammograms(
    name: str, films: list[tuple[ReleaseImage, DecodedImage]], problems: list[Problem]
) -> list[Mammogram]:
    """Return the mammograms of one view; problems are appended.

    Films with equal pixels become one mammogram. Different films keep their volume in the id.
    """
    (first, first_film), *others = films
    # DDSM files some films in two volumes; as two mammograms they would count twice.
    copies = [image for image, film in others if np.array_equal(film.pixels, first_film.pixels)]
    problems += [
        Problem(
            image.name,
            f"the same film as {first.name}",
            "imported once, with the findings of both",
        )
        for image in copies
    ]
    mammograms = [_mammogram(name, first, first_film, [first, *copies], problems)]
    for image, film in others:
        if image not in copies:
            identifier = f"{image.part('volume')}-{name}"
            mammograms.append(_mammogram(identifier, image, film, [image], problems))
    return mammograms


def read_patch_labels(path: Path, n_classes: int = 3) -> pd.DataFrame:
    """Read the published patch labels.

    Parameters
    ----------
    path : Path
        Folder of the release.
    n_classes : int
        3 (0 normal, 1 benign, 2 cancer) or 2 (1 cancer).

    Returns
    -------
    DataFrame
        Columns image, y, x, h, w (pixels of the raw film), label, split.

    Raises
    ------
    UserError
        If a list is missing, or a line is not a patch file with a label.
    """
    rows = []
    for split, file in _patch_lists(_release_root(path), n_classes):
        for number, line in enumerate(_read_list(file), start=1):
            if not line.strip():
                continue
            patch, _, label = line.strip().rpartition(" ")
            match = _PATCH_NAME.match(patch.rsplit("/", 1)[-1].strip())
            if not match or label not in tuple("012"[:n_classes]):
                raise UserError(
                    f"{file}, line {number}: {line[:60]!r} is not a patch file with a label:"
                    " download the file again."
                )
            rows.append((match["image"], *(int(match[key]) for key in "yxhw"), int(label), split))
    return pd.DataFrame(rows, columns=["image", "y", "x", "h", "w", "label", "split"])


def _release_root(path: Path | None) -> Path:
    """Return the folder that holds ddsm_raw."""
    folder = None if path is None else find_release_root(Path(path))
    if folder is None:
        raise UserError(
            f"{path} has no folder ddsm_raw: give the folder into which the release was unpacked."
        )
    return folder


def find_release_root(path: Path) -> Path | None:
    """Return the folder that holds ddsm_raw, `path` or `data` in it; None without one."""
    folders = (path, path / "data")
    return next((folder for folder in folders if (folder / "ddsm_raw").is_dir()), None)


def _published_splits(root: Path) -> dict[str, str]:
    """Return the split of each image name, by the image lists, else by the patch lists."""
    splits: dict[str, str] = {}
    lists = [
        (split, root / "ddsm_raw_image_lists" / f"{name}.txt")
        for name, split in SPLIT_OF_LIST.items()
    ]
    # Preferred to the patch lists, which lack films without a labelled patch.
    if all(file.is_file() for _, file in lists):
        for split, file in lists:
            splits |= {name.removesuffix(".jpg"): split for name in _listed_names(file)}
        return splits
    for n_classes in (3, 2):
        for split, file in _patch_lists(root, n_classes, required=False):
            matches = (_PATCH_NAME.match(name) for name in _listed_names(file))
            splits |= {match["image"]: split for match in matches if match}
    return splits


def _listed_names(file: Path) -> Iterable[str]:
    """Return the file names of a list, without folders and labels."""
    return (line.split()[0].rsplit("/", 1)[-1] for line in _read_list(file) if line.strip())


def _read_list(file: Path) -> list[str]:
    """Return the lines of a list of the release; UserError if it is not text."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"The list {file} is not text: download the file again.") from None


def _patch_lists(root: Path, n_classes: int, required: bool = True) -> Iterable[tuple[str, Path]]:
    """Yield (split, file) of the published patch labels; UserError if a required one is missing."""
    for name, split in SPLIT_OF_LIST.items():
        file = root / "ddsm_labels" / f"{n_classes}class" / f"{name}.txt"
        if file.is_file():
            yield split, file
        elif required:
            raise UserError(
                f"The published labels {file} are missing: unpack ddsm_labels beside ddsm_raw."
            )


def _mammogram(
    name: str,
    image: ReleaseImage,
    film: DecodedImage,
    masked: list[ReleaseImage],
    problems: list[Problem],
) -> Mammogram:
    """Return a film with the findings of the given masks; problems are appended."""
    findings: list[Finding] = []
    for other in masked:
        if other.mask is not None:
            findings += _mask_findings(other, other.mask, film, len(findings), problems)
    described = _described_findings(masked, problems)
    height, width = film.pixels.shape
    findings, mismatches = describe_findings(image.name, findings, described, (height, width))
    problems += mismatches
    # The institution is all that the release keeps of the scanner.
    return mammogram_from_image(
        replace(film, scanner=image.part("case")[0]),
        id=name,
        laterality=image.part("side"),
        view=image.part("view"),
        findings=findings,
        source_file=image.file.name,
    )


def _described_findings(images: list[ReleaseImage], problems: list[Problem]) -> list[Finding]:
    """Return the descriptions of one film, of its overlay file if it has one; append problems."""
    findings: dict[str, Finding] = {}
    for description in (image.description for image in images):
        own = description.findings
        if description.overlay is not None:
            file = description.overlay
            overlay = parse_overlay(read_text_lines(file), file.name)
            problems += overlay.problems
            own = overlay.findings
        # A film that is filed in two volumes is described once for each.
        findings |= {f"{finding.number} {finding.report}": finding for finding in own}
    return list(findings.values())


def _mask_findings(
    image: ReleaseImage, file: Path, film: DecodedImage, offset: int, problems: list[Problem]
) -> list[Finding]:
    """Return one finding per connected part of a class in the mask, numbered from offset + 1."""
    values = read_image(file).pixels
    (height, width), (h, w) = film.pixels.shape, values.shape
    if abs(h * width / (w * height) - 1) > 0.02:
        raise UserError(
            f"The mask {file} is {w} x {h} pixels, its film {width} x {height}: download both"
            " again or remove them."
        )
    findings: list[Finding] = []
    for value, pathology in _mask_classes(image, values, problems):
        # Eight neighbours, so that a diagonal border does not split a finding.
        parts, count = ndimage.label(values == value, np.ones((3, 3), int))
        for k, box in enumerate(ndimage.find_objects(parts, count), start=1):
            corner = np.array([box[1].start, box[0].start])
            outline = tuple(polygon + corner for polygon in trace_mask(parts[box] == k))
            findings.append(
                Finding(
                    number=offset + len(findings) + 1,
                    pathology=pathology,
                    outline=scale_polygons(outline, (width / w, height / h)),
                )
            )
    return findings


def _mask_classes(
    image: ReleaseImage, values: np.ndarray, problems: list[Problem]
) -> list[tuple[int, str]]:
    """Return (mask value, pathology); problems are appended.

    1 is benign and 2 malignant. Two other values are interpreted by their order, a single other
    value by the volume of the film. UserError for more values.
    """
    present = [int(value) for value in np.unique(values) if value]
    volume = _VOLUME_PATHOLOGIES[image.part("kind")]
    benign = volume if volume.startswith("BENIGN") else "BENIGN"
    if set(present) <= {1, 2}:
        return [(value, "MALIGNANT" if value == 2 else benign) for value in present]
    if len(present) == 2:
        problems.append(
            Problem(
                image.name,
                f"mask values {present} instead of 1 and 2",
                "the lower is interpreted as benign, the higher as malignant",
            )
        )
        return [(present[0], benign), (present[1], "MALIGNANT")]
    if len(present) == 1:
        problems.append(
            Problem(
                image.name,
                f"mask value {present[0]} instead of 1 or 2",
                f"interpreted as {volume} from the volume of the film",
            )
        )
        # A mask of a normal film contradicts its volume, so the pathology is unproven.
        return [(present[0], "UNPROVEN" if volume == "NORMAL" else volume)]
    raise UserError(
        f"The mask {image.mask} holds {len(present)} values where 1 (benign) and 2 (malignant) are"
        " defined: download it again or remove it."
    )
