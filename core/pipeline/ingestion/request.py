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

from core.errors import UserError
from core.runs import canonical_json
from core.sources.records import Problem

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
    """What identifies a source: kind, location, options, shard and input side."""

    kind: str
    path: Path | None
    options: dict[str, Any]
    shard: tuple[int, int]
    input_side: int

    @property
    def location(self) -> str:
        """The path as text, "" without one."""
        return "" if self.path is None else str(self.path)

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


def without_folder(problem: Problem, path: Path | None) -> Problem:
    """Return a problem without the folder of the source: a full path can identify people."""
    if path is None:
        return problem
    folder = path if path.is_dir() else path.parent
    cause = problem.cause.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
    return dataclasses.replace(problem, cause=cause)
