"""All exports of a study as one ZIP file: a folder for each export, and a page that lists them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.queries import provenance

INDEX_NAME = "index.html"


def archive_name(study_name: str) -> str:
    """Return the name of the archive, and of the folder in it, for a study.

    Examples
    --------
    >>> archive_name("Phantom demonstration"), archive_name("")
    ('Phantom-demonstration-exports', 'study-exports')
    """
    words = re.findall(r"[\w.]+", study_name)
    return "-".join([*(words or ["study"]), "exports"])


def zip_exports(folder: Path, study_name: str) -> bytes:
    """Return every export in a folder, with its provenance record, as one ZIP file.

    The archive holds one folder, with `figures/NAME/` and `tables/NAME/` for each export, and
    `index.html`, which lists the exports with title, caption and links to the files.
    """
    root = archive_name(study_name)
    buffer = io.BytesIO()
    entries: dict[str, list[dict[str, Any]]] = {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in provenance.load_records(folder):
            entry = _archive_entry(record, folder)
            for name in entry["files"]:
                archive.write(folder / name, f"{root}/{entry['folder']}/{name}")
            entries.setdefault(f"{record['kind']}s", []).append(entry)
        archive.writestr(f"{root}/{INDEX_NAME}", _index_page(study_name, entries))
    return buffer.getvalue()


def _archive_entry(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what the index page shows of an export; files: those that exist in the folder."""
    names = (*record["files"], f"{record['name']}{provenance.RECORD_SUFFIX}")
    files = [name for name in names if (folder / name).is_file()]
    return {
        "folder": f"{record['kind']}s/{record['name']}",
        "title": record["title"],
        "caption": record["caption"],
        "simulated": record["simulated"],
        "hash": record["data_hash"][:12],
        "command": record["command"],
        "files": files,
        "picture": next((name for name in files if name.endswith((".png", ".svg"))), ""),
    }


def _index_page(study_name: str, entries: Mapping[str, list[dict[str, Any]]]) -> str:
    environment = Environment(
        loader=PackageLoader("evaluation.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("archive_index.html")
    return template.render(study_name=study_name or "Study", entries=entries) + "\n"
