"""Where CBIS-DDSM's images lie: its tables name series, its downloads name folders in three ways."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

IMAGES = (".dcm", ".jpg", ".jpeg", ".png", "")


class SeriesIndex:
    """Folders beneath a root, by the series they hold: - <case>/<study UID>/<series
    UID>/000000.dcm, as the tables write it; - <case>/...-<end of study UID>/...-<end of series
    UID>/1-1.dcm, as the archive's downloader writes it, with the last five digits; - jpeg/<series
    UID>/1-172.jpg, the re-release as JPEG; its dicom_info.csv tells which file of a series is the
    mask.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_case: dict[str, list[Path]] = defaultdict(list)
        for folder, _, files in os.walk(root):
            if files:
                path = Path(folder)
                self._by_name[path.name].append(path)
                self._by_case[path.parent.parent.name].append(path)

    def files(self, cell: str) -> list[Path]:
        """Image files of the series that a table's path names, the named file first; empty if the
        series is not there.
        """
        parts = cell.replace("\\", "/").split("/")
        if len(parts) < 3:
            return []
        case, series, name = parts[0], parts[-2], parts[-1]
        folders = self._by_name.get(series) or [
            f for f in self._by_case.get(case, []) if f.name.endswith("-" + series[-5:])
        ]
        found = [
            file
            for folder in folders
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in IMAGES and file.is_file()
        ]
        return sorted(found, key=lambda file: file.name != name)
