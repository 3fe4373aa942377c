"""Files of plain values are read without running code from them."""

from __future__ import annotations

import datetime
import io
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from core.errors import UserError
from core.sources.release_metadata.restricted_pickle import read_plain_values

VALUES: dict[str, Any] = {
    "list": [1, 2.5, None, True, "ü", b"\x00z"],
    "rows": np.arange(12.0).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "number": np.float64(2.5),
    "objects": np.array([{"k": (1, 2)}, "t", None], object),
    "texts": np.array(["ab", "c"]),
}


def assert_equal(read: dict[str, Any]) -> None:
    assert read.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert np.array_equal(np.asarray(read[name], object), np.asarray(value, object)), name


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_joblib_files(tmp_path: Path, compress: Any) -> None:
    for protocol in (2, 4, 5):
        joblib.dump(VALUES, tmp_path / "values", compress=compress, protocol=protocol)
        assert_equal(read_plain_values(tmp_path / "values"))


@pytest.mark.parametrize("protocol", range(5))
def test_pickle_files(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "values").write_bytes(pickle.dumps(VALUES, protocol))
    assert_equal(read_plain_values(tmp_path / "values"))


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("protocol", range(6))
def test_file_that_wants_to_run_code(tmp_path: Path, protocol: int, compress: int) -> None:
    target = tmp_path / "written"
    for attack in (
        Attack(os.mkdir, str(target)),
        Attack(eval, f"open({str(target)!r}, 'w')"),
        Attack(np.save, str(target), 1),
    ):
        joblib.dump({"film": [attack]}, tmp_path / "attack", protocol=protocol, compress=compress)
        with pytest.raises(UserError, match="Nothing was executed"):
            read_plain_values(tmp_path / "attack")
        assert not target.exists() and not target.with_suffix(".npy").exists()
    # The attack itself works: a reader that runs code creates the file.
    joblib.dump(Attack(os.mkdir, str(target)), tmp_path / "attack", protocol=protocol)
    joblib.load(tmp_path / "attack")
    assert target.exists()


def instructions(*parts: bytes) -> bytes:
    return b"".join(parts) + b"."


@pytest.mark.parametrize(
    "data",
    [
        # Protocol 0: INST and OBJ call a class, GLOBAL alone only names it.
        instructions(b"(S'true'\nios\nsystem\n"),
        instructions(b"(cos\nsystem\nS'true'\no"),
        instructions(b"cos\nsystem\n"),
        # A reference to an object outside the file, and the attributes of an allowed class.
        instructions(b"P1\n"),
        instructions(b"ccollections\nOrderedDict\n}S'x'\nI1\nsb"),
        # A call of a value that is no class, and numpy.dtype with a name that could be evaluated.
        instructions(b"S'x'\n(tR"),
        instructions(b"cnumpy\ndtype\n(S'i4,f8'\ntR"),
        instructions(b"cnumpy.core.multiarray\nscalar\n(S'i4'\nS'abcd'\ntR"),
    ],
)
def test_refused_instructions(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "attack").write_bytes(data)
    with pytest.raises(UserError, match="Nothing was executed"):
        read_plain_values(tmp_path / "attack")


def test_array_of_objects_that_wants_to_run_code(tmp_path: Path) -> None:
    target = tmp_path / "written"
    values = np.array([Attack(os.mkdir, str(target))], object)
    joblib.dump({"film": values}, tmp_path / "attack")
    with pytest.raises(UserError, match="Nothing was executed"):
        read_plain_values(tmp_path / "attack")
    assert not target.exists()


def test_other_classes_and_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "values"
    joblib.dump({"made": datetime.date(2018, 1, 1)}, file)
    with pytest.raises(UserError, match=r"datetime.date"):
        read_plain_values(file)
    buffer = io.BytesIO()
    joblib.dump(VALUES, buffer)
    for data in (b"", b"\x78\x9cbroken", b"\x1f\x8bbroken", buffer.getvalue()[:-40]):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"values .*download it again"):
            read_plain_values(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_plain_values(tmp_path / "missing")
