"""The download against a stub of the Imaging Data Commons: resuming, sizes, hashes."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.sources.public_sets import idc_download
from core.sources.public_sets.idc_download import (
    IdcSeries,
    ImagingDataCommons,
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


def test_order_and_progress_of_series(tmp_path: Path) -> None:
    """By patient, then by case, then by series, whatever the order of the index."""
    commons = Commons()
    commons.content = {
        ("b_P_00001_x", "s1"): {"1": b"1"}, ("a_P_00002_x", "s0"): {"2": b"22"},
        ("a_P_00001_x", "s3"): {"3": b"333"}, ("a_P_00001_x", "s2"): {"4": b"4444"},
    }  # fmt: skip
    calls: list[tuple[int, int, str]] = []
    download_collection(tmp_path, commons, lambda *call: calls.append(call))
    assert commons.copied == ["s2/4", "s3/3", "s1/1", "s0/2"]
    assert calls == [(done, 4, "series") for done in range(5)]


def test_files_that_do_not_arrive(tmp_path: Path) -> None:
    commons = Commons()
    commons.fetch = lambda *given: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"a\.dcm of the series s1 did not arrive"):
        download_collection(tmp_path, commons, quiet, patients=1)


def test_sizes_and_hashes_of_local_files(tmp_path: Path) -> None:
    path, md5 = tmp_path / "f", hashlib.md5(b"abc").hexdigest()
    is_correct = idc_download.is_correct
    assert not is_correct(path, RemoteFile("f", 3, ""))
    path.write_bytes(b"abc")
    assert is_correct(path, RemoteFile("f", 3, "")) and is_correct(path, RemoteFile("f", 3, md5))
    assert not is_correct(path, RemoteFile("f", 4, "")) and not is_correct(
        path, RemoteFile("f", 3, md5[::-1])
    )
    assert not is_correct(tmp_path, RemoteFile("f", tmp_path.stat().st_size, ""))


def test_commands_of_the_commons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    outcome: dict[str, Any] = {"returncode": 0, "stderr": "", "stdout": ""}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert options == {"capture_output": True, "text": True, "check": False}
        commands.append(command)
        return subprocess.CompletedProcess(command, **outcome)

    monkeypatch.setattr(idc_download.subprocess, "run", run)
    monkeypatch.setattr(idc_download, "_find_program", lambda: "s5")
    commons = ImagingDataCommons()
    series = IdcSeries(case="c", study="9", series="s", modality="MG", address="s3://b/u")
    outcome["stdout"] = '{"key": "s3://b/u/1.dcm", "type": "file", "size": 3, "etag": "x"}\n'
    assert commons.list_files(series) == [RemoteFile("1.dcm", 3, "")]
    commons.fetch(series, ["1.dcm", "2.dcm"], tmp_path)
    start = ["s5", "--no-sign-request", "--endpoint-url", "https://s3.amazonaws.com"]
    assert commands == [
        [*start, "--json", "ls", "s3://b/u/*"],
        [*start, "cp", "s3://b/u/1.dcm", f"{tmp_path}/"],
        [*start, "cp", "s3://b/u/2.dcm", f"{tmp_path}/"],
    ]
    outcome.update(returncode=1, stderr="no\n  route " + "x" * 300)
    with pytest.raises(UserError, match=r"did not answer \(no route x{191}\): check"):
        commons.list_files(series)


def test_program_of_the_commons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idc_download.sysconfig, "get_path", lambda name: str(tmp_path / name))
    monkeypatch.setattr(idc_download.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"The program s5cmd is missing: install the download"):
        idc_download._find_program()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "s5cmd").touch()
    assert idc_download._find_program() == str(tmp_path / "scripts" / "s5cmd")
    monkeypatch.setattr(idc_download.shutil, "which", lambda name: f"/bin/{name}")
    assert idc_download._find_program() == "/bin/s5cmd"


def test_names_of_series() -> None:
    series = IdcSeries(
        case="Calc-Test_P_01234_RIGHT_MLO", study="1.2", series="1.3", modality="SEG", address="s"
    )
    assert series.patient == "P_01234"
    assert series.folder == Path("cbis_ddsm/Calc-Test_P_01234_RIGHT_MLO/1.2/SEG_1.3")
    other = IdcSeries(case="Q_P_123_x", study="1", series="2", modality="MG", address="s")
    assert other.patient == "Q_P_123_x"
