"""Descriptions that lie beside the release: the file ddsm_meta_data, overlay and .ics files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.sources.ddsm_metadata import read_ics
from core.sources.records import Finding
from core.sources.release_metadata.keywords import FoundWords, find_words, list_names
from core.sources.release_metadata.restricted_pickle import read_plain_values

META_DATA_NAME = "ddsm_meta_data"
# Folders of the release that hold thousands of files and no descriptions.
IMAGE_FOLDERS = {"ddsm_raw", "ddsm_masks", "ddsm_labels", "ddsm_patches", "ddsm_raw_image_lists"}


@dataclass(frozen=True)
class FilmDescription:
    """What is known of the findings of a film.

    overlay: its overlay file, whose outlines locate the findings; preferred where it exists.
    findings: those of ddsm_meta_data, without outlines.
    """

    overlay: Path | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CaseDescription:
    """Age in years and BI-RADS density of a case, None if unknown; ics: its .ics file."""

    age: int | None = None
    density: int | None = None
    ics: Path | None = None


@dataclass(frozen=True)
class ReleaseDescriptions:
    """All descriptions beside the release.

    overlays: overlay files by film ("B_3102_1.LEFT_CC"). ics: .ics files by case. words: content
    of ddsm_meta_data.
    """

    overlays: Mapping[str, tuple[Path, ...]]
    ics: Mapping[str, tuple[Path, ...]]
    words: FoundWords

    def film(self, name: str, volume: str) -> FilmDescription:
        """Return the description of a film ("B_3102_1.LEFT_CC") of a volume ("cancer_01")."""
        return FilmDescription(
            overlay=_choose_file(self.overlays.get(name, ()), (volume,)),
            findings=tuple(self.words.findings.get(name, ())),
        )

    def case(self, name: str, volumes: Iterable[str]) -> CaseDescription:
        """Return the description of a case; UserError if two sources contradict each other."""
        ics = _choose_file(self.ics.get(name, ()), volumes)
        age, density = self.words.ages.get(name), self.words.densities.get(name)
        if ics is not None:
            case = read_ics(ics)
            for subject, ours, theirs in (
                ("age", age, case.age),
                ("density", density, case.density),
            ):
                if None not in (ours, theirs) and ours != theirs:
                    raise UserError(
                        f"Case {name}: {META_DATA_NAME} gives the {subject} {ours}, {ics.name}"
                        f" gives {theirs}; correct one of them."
                    )
            age = case.age if age is None else age
            density = case.density if density is None else density
        return CaseDescription(age, density, ics)


def _choose_file(files: tuple[Path, ...], volumes: Iterable[str]) -> Path | None:
    """Return the file of a film or case that is filed in one of the volumes, else the only one.

    UserError if several files with different content remain.
    """
    filed = [file for file in files if any(volume in file.parts for volume in volumes)] or files
    if len({file.read_bytes() for file in filed}) > 1:
        raise UserError(
            f"{filed[0]} and {filed[1]} describe the same film differently: keep one of them, or"
            " sort both into the folders of their volumes."
        )
    return filed[0] if filed else None


def find_meta_data(root: Path) -> Path | None:
    """Return the file ddsm_meta_data (with any ending) of a release, None without one.

    root: the folder that holds ddsm_raw. The file lies there or, as in the published repository,
    in deepminer/data of the folder that holds all of the release. UserError for two files.
    """
    folders = [root, root / "deepminer" / "data"]
    if root.name == "data":
        folders.append(root.parent / "deepminer" / "data")
    files = [
        file
        for folder in folders
        for file in sorted(folder.glob(f"{META_DATA_NAME}*"))
        if file.is_file()
    ]
    if len(files) > 1:
        raise UserError(f"{files[0]} and {files[1]} describe the same films; keep one of them.")
    return files[0] if files else None


def read_descriptions(root: Path) -> ReleaseDescriptions:
    """Return the descriptions of the release whose folder ddsm_raw lies in `root`.

    They are the file ddsm_meta_data (`find_meta_data`), and the archive's .OVERLAY and .ics files
    in any folder below `root` except those of the images.

    Raises
    ------
    UserError
        If ddsm_meta_data cannot be read without running code, or says nothing in DDSM's keywords.
    """
    words = FoundWords()
    file = find_meta_data(root)
    if file is not None:
        content = read_plain_values(file)
        words = find_words(content, file.name)
        if not (words.findings or words.ages or words.densities):
            raise UserError(
                f"{file} names no film of DDSM with keywords such as LESION_TYPE or ASSESSMENT; it"
                f" holds {', '.join(list_names(content)) or 'nothing'}. Put the overlay files of"
                " the archive beside ddsm_raw instead."
            )
    overlays: dict[str, tuple[Path, ...]] = {}
    ics: dict[str, tuple[Path, ...]] = {}
    for file in sorted(_text_files(root)):
        name = file.stem.upper().replace("-", "_")
        group = overlays if file.suffix.lower() == ".overlay" else ics
        group[name] = (*group.get(name, ()), file)
    return ReleaseDescriptions(overlays, ics, words)


def _text_files(root: Path) -> Iterable[Path]:
    """Yield the overlay and .ics files below a folder."""
    for entry in root.iterdir():
        if entry.is_dir() and entry.name not in IMAGE_FOLDERS:
            files: Iterable[Path] = entry.rglob("*")
        else:
            files = (entry,)
        yield from (
            file
            for file in files
            if file.suffix.lower() in (".overlay", ".ics") and not file.is_dir()
        )
