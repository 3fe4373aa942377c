"""Download of CBIS-DDSM from the Imaging Data Commons: resumable, sizes and hashes checked.

The index of the commons (package idc-index-data) lists the series of a collection, the program
s5cmd lists and copies their files; both come with the extra `idc`. The client idc-index is not used
because it requires an older DuckDB than the store.

References
----------
Fedorov A et al. National Cancer Institute Imaging Data Commons. RadioGraphics 43, e230180 (2023).
learn.canceridc.dev, "Downloading data": buckets, series folders; s5cmd, "--json ls".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import UserError

COLLECTION = "cbis_ddsm"
_ENDPOINT = "https://s3.amazonaws.com"
_CASE = re.compile(r"_(P_\d{5})_")
_MD5 = re.compile(r"[0-9a-f]{32}")
_INSTALL = "install the download programs with: pip install 'deepminer[idc]'"


@dataclass(frozen=True, kw_only=True)
class IdcSeries:
    """A series of the commons. case: its PatientID, such as Mass-Training_P_00001_LEFT_CC."""

    case: str
    study: str
    series: str
    modality: str
    address: str

    @property
    def patient(self) -> str:
        """The patient, such as P_00001; the whole PatientID in other collections."""
        match = _CASE.search(self.case)
        return match.group(1) if match else self.case

    @property
    def folder(self) -> Path:
        """The folder of the series, as the client of the commons names it."""
        return Path(COLLECTION, self.case, self.study, f"{self.modality}_{self.series}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a series. md5: "" where the store does not give it (files sent in parts)."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True, kw_only=True)
class DownloadResult:
    """Result of a download. present: files that were there and correct; fetched: files copied."""

    patients: int
    series: int
    present: int
    fetched: int
    bytes_fetched: int


class SeriesStore(Protocol):
    """What a download needs of the commons."""

    def list_series(self) -> list[IdcSeries]:
        """Return all series of the collection."""

    def list_files(self, series: IdcSeries) -> list[RemoteFile]:
        """Return the files of a series."""

    def fetch(self, series: IdcSeries, names: Sequence[str], folder: Path) -> None:
        """Copy files of a series into a folder."""


def download_collection(
    folder: Path,
    store: SeriesStore,
    report: Callable[[int, int, str], None],
    patients: int | None = None,
) -> DownloadResult:
    """Bring the images of the first patients, or of all, into a folder.

    A file that is there with the right size and hash is not copied again; any other one is. A
    series gets its name when all its files are correct, so an interrupted download continues.

    Parameters
    ----------
    folder : Path
        Created if it is missing.
    store : SeriesStore
        The commons; `ImagingDataCommons` or a stub.
    report : callable
        Called with the numbers of finished and of all series, and "series".
    patients : int, optional
        Number of patients, in the order of their codes; None: all.

    Raises
    ------
    UserError
        If a copied file has another size or hash than the commons state.
    """
    series = sorted(store.list_series(), key=lambda item: (item.patient, item.case, item.series))
    codes = sorted({item.patient for item in series})[:patients]
    series = [item for item in series if item.patient in set(codes)]
    present = fetched = copied = 0
    for done, item in enumerate(series):
        report(done, len(series), "series")
        files = store.list_files(item)
        missing = [file for file in files if not is_correct(folder / item.folder / file.name, file)]
        present += len(files) - len(missing)
        if missing:
            _fetch_series(folder, item, missing, store)
            fetched += len(missing)
            copied += sum(file.size for file in missing)
    report(len(series), len(series), "series")
    return DownloadResult(
        patients=len(codes),
        series=len(series),
        present=present,
        fetched=fetched,
        bytes_fetched=copied,
    )


def is_correct(path: Path, file: RemoteFile) -> bool:
    """Return whether a local file has the size and, where it is known, the hash of a remote one."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if not file.md5:
        return True
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "md5").hexdigest() == file.md5


def _fetch_series(
    root: Path, series: IdcSeries, files: Sequence[RemoteFile], store: SeriesStore
) -> None:
    """Copy files of a series beside it, check them, and move them in."""
    target = root / series.folder
    waiting = target.with_name(f"{target.name}.partial")
    waiting.mkdir(parents=True, exist_ok=True)
    needed = [file for file in files if not is_correct(waiting / file.name, file)]
    if needed:
        store.fetch(series, [file.name for file in needed], waiting)
    for file in files:
        if not is_correct(waiting / file.name, file):
            (waiting / file.name).unlink(missing_ok=True)
            raise UserError(
                f"The file {file.name} of the series {series.series} did not arrive with the size"
                " and hash that the Imaging Data Commons state: run the command again, finished"
                " files are kept."
            )
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        os.replace(waiting / file.name, target / file.name)
    shutil.rmtree(waiting)


class ImagingDataCommons:
    """The public buckets of the Imaging Data Commons; UserError without the extra `idc`."""

    def __init__(self) -> None:
        self._program = _find_program()

    def list_series(self) -> list[IdcSeries]:
        """Return all series of CBIS-DDSM in the installed index."""
        try:
            from idc_index_data import INDEX_METADATA
        except ImportError:
            raise UserError(
                f"The index of the Imaging Data Commons is missing: {_INSTALL}."
            ) from None
        import pandas as pd

        columns = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"]
        frame = pd.read_parquet(
            INDEX_METADATA["idc_index"]["parquet_filepath"],
            columns=[*columns, "aws_bucket", "crdc_series_uuid"],
            filters=[("collection_id", "==", COLLECTION)],
        )
        return [
            IdcSeries(
                case=row.PatientID,
                study=row.StudyInstanceUID,
                series=row.SeriesInstanceUID,
                modality=row.Modality,
                address=f"s3://{row.aws_bucket}/{row.crdc_series_uuid}",
            )
            for row in frame.itertuples()
        ]

    def list_files(self, series: IdcSeries) -> list[RemoteFile]:
        """Return name, size and hash of the files of a series."""
        lines = self._run("--json", "ls", f"{series.address}/*").splitlines()
        return parse_listing(lines)

    def fetch(self, series: IdcSeries, names: Sequence[str], folder: Path) -> None:
        """Copy files of a series into a folder."""
        for name in names:
            self._run("cp", f"{series.address}/{name}", f"{folder}/")

    def _run(self, *arguments: str) -> str:
        command = [self._program, "--no-sign-request", "--endpoint-url", _ENDPOINT, *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            reason = " ".join(finished.stderr.split())[:200]
            raise UserError(
                f"The Imaging Data Commons did not answer ({reason}): check the connection and run"
                " the command again, finished files are kept."
            )
        return finished.stdout


def parse_listing(lines: Sequence[str]) -> list[RemoteFile]:
    """Return the files of a listing of s5cmd, a JSON object per line.

    Examples
    --------
    >>> line = '{"key": "s3://b/u/a.dcm", "type": "file", "size": 7, "etag": "x-2"}'
    >>> parse_listing([line])
    [RemoteFile(name='a.dcm', size=7, md5='')]
    """
    files = []
    for line in lines:
        if not line.strip():
            continue
        entry = json.loads(line)
        if entry.get("type") != "file":
            continue
        # The tag of a file sent in one part is its MD5; others end in "-<parts>".
        tag = str(entry.get("etag", "")).strip('"')
        name = str(entry["key"]).rsplit("/", 1)[-1]
        files.append(RemoteFile(name, int(entry["size"]), tag if _MD5.fullmatch(tag) else ""))
    return files


def _find_program() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "s5cmd"
    program = shutil.which("s5cmd") or (str(beside_python) if beside_python.is_file() else None)
    if program is None:
        raise UserError(f"The program s5cmd is missing: {_INSTALL}.")
    return program
