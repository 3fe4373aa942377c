"""The download against a stub of the Imaging Data Commons: resuming, sizes, hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import UserError
from core.sources.public_sets.idc_download import (
    IdcSeries,
    RemoteFile,
    download_collection,
    parse_listing,
)


class Commons:
    """Files by series; `fail_at` ends the process at the n-th copied file, `damaged` alters one."""

    def __init__(self) -> None:
        self.content = {
            ("Mass-Training_P_00002_LEFT_CC", "s2"): {"a.dcm": b"two" * 9},
            ("Mass-Training_P_00001_LEFT_CC", "s1"): {"a.dcm": b"one" * 7, "b.dcm": b"more"},
            ("Mass-Training_P_00001_LEFT_CC_1", "s3"): {"roi.dcm": b"mask"},
        }
        self.copied: list[str] = []
        self.fail_at: int | None = None
        self.damaged = ""

    def list_series(self) -> list[IdcSeries]:
        return [
            IdcSeries(case=case, study="9", series=uid, modality="MG", address=f"s3://b/{uid}")
            for case, uid in self.content
        ]

    def list_files(self, series: IdcSeries) -> list[RemoteFile]:
        files = self.content[series.case, series.series]
        return [RemoteFile(n, len(d), hashlib.md5(d).hexdigest()) for n, d in files.items()]

    def fetch(self, series: IdcSeries, names: Sequence[str], folder: Path) -> None:
        for name in names:
            if self.fail_at == len(self.copied):
                raise ConnectionError("connection lost")
            data = self.content[series.case, series.series][name]
            (folder / name).write_bytes(b"x" * len(data) if name == self.damaged else data)
            self.copied.append(f"{series.series}/{name}")


def quiet(*_: object) -> None:
    return None


def test_layout_and_selection_of_patients(tmp_path: Path) -> None:
    commons = Commons()
    result = download_collection(tmp_path, commons, quiet, patients=1)
    assert (result.patients, result.series, result.fetched, result.present) == (1, 2, 3, 0)
    assert result.bytes_fetched == 21 + 4 + 4
    base = tmp_path / "cbis_ddsm"
    folder = base / "Mass-Training_P_00001_LEFT_CC" / "9" / "MG_s1"
    assert (folder / "a.dcm").read_bytes() == b"one" * 7
    assert not list(base.rglob("*00002*")) and not list(base.rglob("*.partial"))
    again = download_collection(tmp_path, commons, quiet)
    assert (again.patients, again.fetched, again.present) == (2, 1, 3)


def test_interrupted_download_continues(tmp_path: Path) -> None:
    commons = Commons()
    commons.fail_at = 1
    with pytest.raises(ConnectionError):
        download_collection(tmp_path, commons, quiet)
    assert not (tmp_path / "cbis_ddsm" / "Mass-Training_P_00001_LEFT_CC" / "9" / "MG_s1").exists()
    commons.fail_at = None
    download_collection(tmp_path, commons, quiet)
    # No file is copied twice.
    assert sorted(commons.copied) == ["s1/a.dcm", "s1/b.dcm", "s2/a.dcm", "s3/roi.dcm"]


def test_altered_files_are_copied_again(tmp_path: Path) -> None:
    commons = Commons()
    download_collection(tmp_path, commons, quiet)
    file = next(tmp_path.rglob("MG_s2/a.dcm"))
    file.write_bytes(b"TWO" * 9)
    result = download_collection(tmp_path, commons, quiet)
    assert result.fetched == 1 and file.read_bytes() == b"two" * 9


def test_files_with_another_hash_are_refused(tmp_path: Path) -> None:
    commons = Commons()
    commons.damaged = "roi.dcm"
    with pytest.raises(UserError, match=r"roi.dcm of the series s3 did not arrive"):
        download_collection(tmp_path, commons, quiet)
    assert not list(tmp_path.rglob("roi.dcm"))


def test_listing() -> None:
    lines = [
        '{"key":"s3://bucket/uuid/1.dcm","etag":"\\"900150983cd24fb0d6963f7d28e17f72\\"",'
        '"type":"file","size":3}',
        '{"key":"s3://bucket/uuid/big.dcm","etag":"\\"900150983cd24fb0d6963f7d28e17f72-4\\"",'
        '"type":"file","size":9}',
        '{"key":"s3://bucket/uuid/sub/","type":"directory"}',
        "",
    ]
    assert parse_listing(lines) == [
        RemoteFile("1.dcm", 3, hashlib.md5(b"abc").hexdigest()),
        RemoteFile("big.dcm", 9, ""),
    ]
