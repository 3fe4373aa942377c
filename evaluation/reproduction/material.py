"""What a folder with published files contains, and what of the publication it lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core import networks
from core.annotation.label_files import CONSENSUS, LABEL_SUFFIXES, LabelEntry, read_label_file
from core.errors import UserError
from core.lexicon.annotation_answers import is_substantive
from core.lexicon.birads_categories import BIRADS
from core.networks.architectures import supported_architectures
from core.sources import deepminer_release
from core.sources.release_metadata import IMAGE_FOLDERS, read_descriptions
from evaluation.queries.architectures import PUBLISHED_ARCHITECTURES
from evaluation.reproduction.published import HDSR_ARCHITECTURE, HDSR_CLASSES, SPIE_CLASSES

_WEIGHTS = (".tar", ".pth", ".pt", ".safetensors")
_SHEETS = {
    "cases": "explanations-benchmark.csv",
    "responses": "explanations-benchmark-responses.csv",
    "key": "explanations-benchmark-answer-key.csv",
}


@dataclass(frozen=True)
class Gap:
    """Material that is missing or could not be used. effect: its cause, or what follows from it."""

    part: str
    effect: str


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint; architecture and number of classes as its path and its head state them."""

    file: Path
    architecture: str
    classes: int


@dataclass(frozen=True)
class LabelFile:
    """Unit labels of one network: raw answers of experts, or a consensus."""

    file: Path
    architecture: str
    classes: int
    entries: tuple[LabelEntry, ...]

    @property
    def is_consensus(self) -> bool:
        """Whether every entry is a consensus label."""
        return all(entry.set == CONSENSUS for entry in self.entries)

    def named_units(self) -> set[int]:
        """Return the 0-based units for which an entry names something."""
        return {entry.unit for entry in self.entries if is_substantive(entry.answer)}


@dataclass(frozen=True, kw_only=True)
class Material:
    """The published files below one folder.

    Attributes
    ----------
    films : Path or None
        Folder that holds ddsm_raw.
    patch_labels : tuple of int
        Numbers of classes for which all three lists of ddsm_labels exist.
    checkpoints : tuple of CheckpointFile
        At most one per architecture and number of classes; the published network of HDSR last.
    labels : tuple of LabelFile
        Raw answers before the consensus, which refers to them.
    sheets : dict of str to Path
        Keys cases, responses and key; empty unless all three exist.
    gaps : tuple of Gap
    """

    films: Path | None
    patch_labels: tuple[int, ...]
    checkpoints: tuple[CheckpointFile, ...]
    labels: tuple[LabelFile, ...]
    sheets: dict[str, Path]
    gaps: tuple[Gap, ...]

    def labels_of(self, architecture: str, classes: int) -> list[LabelFile]:
        """Return the label files of a network."""
        return [
            labels
            for labels in self.labels
            if (labels.architecture, labels.classes) == (architecture, classes)
        ]


def find_material(release: Path) -> Material:
    """Search a folder for the published files.

    Films, masks and lists stand in the folder or in `data` below it. Checkpoints, label files
    (a path with "label") and the three sheets of the reading study may stand in any folder. The
    path of a checkpoint or label file names its architecture, and "2class" or "3class" in the path
    of a label file the number of classes; without them a label file is that of HDSR's network.

    Raises
    ------
    UserError
        If the folder does not exist, holds nothing of the publication, holds two checkpoints of
        one network or two sheets of one name, or a label file is damaged.
    """
    if not release.is_dir():
        raise UserError(f"{release} is not a folder; give the folder with the published files.")
    gaps: list[Gap] = []
    files = [
        file
        for file in sorted(release.rglob("*"))
        if file.is_file() and not set(file.relative_to(release).parts) & IMAGE_FOLDERS
    ]
    films = deepminer_release.find_release_root(release)
    patch_labels = _patch_label_classes(films, gaps)
    checkpoints = _find_checkpoints(release, files, gaps)
    labels = _find_labels(release, files, gaps)
    sheets = _find_sheets(files, gaps)
    if films is None and not (checkpoints or labels or sheets):
        raise UserError(
            f"{release} holds none of the published files (ddsm_raw, checkpoints, unit labels,"
            f" {_SHEETS['cases']}); give the folder into which they were unpacked."
        )
    return Material(
        films=films,
        patch_labels=patch_labels,
        checkpoints=checkpoints,
        labels=labels,
        sheets=sheets,
        gaps=tuple(gaps),
    )


def _patch_label_classes(films: Path | None, gaps: list[Gap]) -> tuple[int, ...]:
    """Return for which numbers of classes patch labels exist; append what the films lack."""
    if films is None:
        effect = "no classifier is evaluated, no unit dissected and no mammogram explained"
        gaps.append(Gap("films (ddsm_raw)", effect))
        return ()
    if not any((films / "ddsm_masks").rglob("*.png")):
        gaps.append(Gap("masks (ddsm_masks)", "films have no findings and no truth"))
    descriptions = read_descriptions(films)
    if not (descriptions.overlays or descriptions.words.findings):
        effect = "explanations stand without reports, and similarity to reports is not measured"
        gaps.append(Gap("reports (ddsm_meta_data, or .OVERLAY files)", effect))
    present = []
    for classes in (HDSR_CLASSES, SPIE_CLASSES):
        folder = films / "ddsm_labels" / f"{classes}class"
        if all((folder / f"{name}.txt").is_file() for name in deepminer_release.SPLIT_OF_LIST):
            present.append(classes)
        else:
            effect = "windows and labels of patches follow the overlap rule instead"
            gaps.append(Gap(f"patch labels (ddsm_labels/{classes}class)", effect))
    _, problems = deepminer_release.list_tasks(films, skip_bad=True)
    gaps += [Gap(problem.item, problem.cause) for problem in problems]
    return tuple(present)


def _architecture_of(release: Path, file: Path) -> str | None:
    """Return the architecture that a path names, None without one.

    The name nearest to the file counts.
    """
    # Longest first: vgg16_bn contains vgg16.
    names = sorted(supported_architectures(), key=len, reverse=True)
    for part in reversed(file.relative_to(release).parts):
        for name in names:
            if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", part.lower()):
                return name
    return None


def _find_checkpoints(
    release: Path, files: list[Path], gaps: list[Gap]
) -> tuple[CheckpointFile, ...]:
    by_network: dict[tuple[int, str], CheckpointFile] = {}
    for file in (file for file in files if file.suffix.lower() in _WEIGHTS):
        architecture = _architecture_of(release, file)
        if architecture is None:
            effect = "not used: no part of its path names an architecture, such as resnet152"
            gaps.append(Gap(str(file.relative_to(release)), effect))
            continue
        try:
            classes = networks.head_size(networks.read_state(file))
        except UserError as error:
            gaps.append(Gap(str(file.relative_to(release)), f"not used: {error}"))
            continue
        earlier = by_network.get((classes, architecture))
        if earlier is not None:
            raise UserError(
                f"{earlier.file} and {file} are both {architecture} with {classes} classes; leave"
                " the published one in the folder."
            )
        by_network[classes, architecture] = CheckpointFile(file, architecture, classes)
    expected = {(HDSR_CLASSES, HDSR_ARCHITECTURE)}
    expected |= {(SPIE_CLASSES, name) for name in PUBLISHED_ARCHITECTURES}
    for classes, name in sorted(expected - by_network.keys(), reverse=True):
        gaps.append(Gap(f"checkpoint {name}, {classes} classes", "its values are not computed"))
    # Figures show the newest run: that of the network of HDSR.
    ordered = sorted(
        by_network.values(), key=lambda c: (c.architecture == HDSR_ARCHITECTURE, c.file)
    )
    return tuple(ordered)


def _find_labels(release: Path, files: list[Path], gaps: list[Gap]) -> tuple[LabelFile, ...]:
    label_files = []
    for file in files:
        path = str(file.relative_to(release)).lower()
        if "label" not in path or file.suffix.lower() not in LABEL_SUFFIXES:
            continue
        stated = re.search(r"([23])class", path)
        architecture = _architecture_of(release, file) or HDSR_ARCHITECTURE
        classes = int(stated[1]) if stated else HDSR_CLASSES
        entries = tuple(read_label_file(file, BIRADS))
        label_files.append(LabelFile(file, architecture, classes, entries))
    networks_of_labels = {(labels.classes, labels.architecture) for labels in label_files}
    if (HDSR_CLASSES, HDSR_ARCHITECTURE) not in networks_of_labels:
        gaps.append(Gap("unit labels of HDSR 2021", "its units have no labels"))
    for name in sorted(PUBLISHED_ARCHITECTURES):
        if (SPIE_CLASSES, name) not in networks_of_labels:
            gaps.append(Gap(f"unit labels of SPIE 2018, {name}", "its units are not counted"))
    return tuple(sorted(label_files, key=lambda labels: (labels.is_consensus, labels.file)))


def _find_sheets(files: list[Path], gaps: list[Gap]) -> dict[str, Path]:
    sheets = {}
    for key, name in _SHEETS.items():
        matching = [file for file in files if file.name == name]
        if len(matching) > 1:
            raise UserError(f"{matching[0]} and {matching[1]} have one name; remove one of them.")
        if matching:
            sheets[key] = matching[0]
        else:
            gaps.append(Gap(f"reading study, {name}", "the published answers are not analysed"))
    return sheets if len(sheets) == len(_SHEETS) else {}
