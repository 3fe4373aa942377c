"""What is to be ingested: the kind of a source, its location and its options."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from core import store
from core.class_labels import MAMMOGRAMS, MAMMOGRAPHY, ClassDefinition
from core.errors import UserError
from core.runs import canonical_json
from core.settings import Settings
from core.sources.records import Problem
from core.store import dataset_table

# Module of core.sources by kind of source.
SOURCE_MODULES = {
    "phantom": "phantom",
    "manifest": "manifest",
    "ddsm": "ddsm",
    "cbis-ddsm": "cbis_ddsm",
    "release": "deepminer_release",
    "dicom": "dicom_folder",
    "vindr": "public_sets.vindr",
    "inbreast": "public_sets.inbreast",
    "rsna": "public_sets.rsna",
    "mini-mias": "public_sets.mini_mias",
    "cmmd": "public_sets.cmmd",
    "embed": "public_sets.embed",
    "coco": "annotation_tools.coco",
    "label-studio": "annotation_tools.label_studio",
    "cvat": "annotation_tools.cvat",
    "yolo": "annotation_tools.yolo",
}
# Options that name a secret key: no content of the source, and never stored.
_KEYS = ("pseudonym_key",)


@dataclass(frozen=True, kw_only=True)
class SourceRequest:
    """What identifies a source: kind, location, options, shard and input side.

    classes: of the study, under which the findings are stored; no part of the identity.
    """

    kind: str
    path: Path | None
    options: dict[str, Any]
    shard: tuple[int, int]
    input_side: int
    classes: ClassDefinition = MAMMOGRAPHY

    @property
    def location(self) -> str:
        """The path as text, "" without one."""
        return "" if self.path is None else str(self.path)

    @property
    def shows_breasts(self) -> bool:
        """Whether the images are mammograms."""
        return bool(self.options.get("domain", MAMMOGRAMS).subject == "breast")

    def source_id(self, *content: str) -> str:
        """Return the id of the source, which also depends on the given content."""
        text = canonical_json(
            [
                self.kind,
                # A relative path is the same source from every working directory.
                os.path.abspath(self.location) if self.location else "",
                {
                    # A relative path is the same file from every working directory.
                    name: os.path.abspath(value) if isinstance(value, Path) else value
                    for name, value in self.options.items()
                    if value is not None and name not in _KEYS
                },
                self.shard,
                self.input_side,
                *filter(None, content),
            ]
        )
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def table_hash(self) -> str:
        """Return the SHA-256 of the files that the source names: a changed table is another source.

        It is "" for folders and for unreadable files; the source reports the latter.
        """
        options = [
            value
            for name, value in self.options.items()
            if isinstance(value, Path) and name not in _KEYS
        ]
        digests = []
        for file in (self.path, *options):
            if file is None or not file.is_file():
                continue
            try:
                with file.open("rb") as opened:
                    digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
            except OSError:
                return ""
        return "".join(digests)

    def without_folders(self, problem: Problem) -> Problem:
        """Return a problem without the folders of the source: a full path can identify people."""
        cause = problem.cause
        for path in (self.path, *self.options.values()):
            if not isinstance(path, Path):
                continue
            folder = path if path.is_dir() else path.parent
            # The current folder and the root have no name that could be removed: a dot occurs in
            # every sentence, a slash in the names of other folders.
            if folder.name:
                cause = cause.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
        return dataclasses.replace(problem, cause=cause)

    def stored_options(self) -> dict[str, Any]:
        """Return the options without folders: a full path can identify people."""
        return {
            name: value.name if isinstance(value, Path) else value
            for name, value in self.options.items()
            if name not in _KEYS
        }


def source_module(kind: str) -> ModuleType:
    """Return the module of a kind of source; UserError that lists the kinds for an unknown one."""
    if kind not in SOURCE_MODULES:
        raise UserError(f"There is no source {kind!r}; choose one of {', '.join(SOURCE_MODULES)}.")
    return importlib.import_module(f"core.sources.{SOURCE_MODULES[kind]}")


def check_options(module: ModuleType, kind: str, options: dict[str, Any]) -> None:
    """Raise UserError for an option that the source does not have."""
    accepted = inspect.signature(module.list_tasks).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return  # the source checks its options itself
    for name, value in options.items():
        if name not in accepted and value is not None:
            raise UserError(
                f"The source {kind} has no option --{name.replace('_', '-')}; leave it out."
            )


def domain_options(module: ModuleType, kind: str, settings: Settings) -> dict[str, Any]:
    """Return the option of a source that states images and classes other than mammography's.

    UserError for a source that describes mammograms only.
    """
    domain = settings.image_domain
    if domain == MAMMOGRAMS:
        return {}
    if "domain" not in inspect.signature(module.list_tasks).parameters:
        raise UserError(
            f"The source {kind} describes mammograms, but study.toml names other classes or images;"
            " describe the images in a table and use `deepminer ingest manifest`."
        )
    return {"domain": domain}


def check_study_classes(study: Path, settings: Settings) -> None:
    """Raise UserError if study.toml names other classes than the images of the study have."""
    with store.read(study) as con:
        has_images = bool(dataset_table.dataset_counts(con)["mammograms"])
        ingested = dataset_table.load_classes(con).names
    named = settings.class_definition.names
    if has_images and ingested != named:
        raise UserError(
            f"study.toml names the classes {', '.join(named)}, but the images were ingested with"
            f" {', '.join(ingested)}; restore the names, or ingest into a new study."
        )
