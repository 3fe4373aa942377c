"""What stands for the classes of a pickle: types, shapes, arrays and the refusal of the rest."""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from core.sources.release_metadata import restricted_pickle
from core.sources.release_metadata.restricted_pickle import _Array, _DataType, _JoblibArray

REFUSED = pickle.UnpicklingError


def data_type(code: str, order: str = "|") -> _DataType:
    kind = _DataType(code)
    kind.set_state((3, order))
    return kind


@pytest.mark.parametrize("code", ["?", "b", "i4", "u2", "f8", "S3", "U12", "O", "O8"])
def test_types_of_plain_values(code: str) -> None:
    kind = _DataType(code, False, True)
    assert (kind.code, kind.order, kind.is_object) == (code, "|", code.startswith("O"))


@pytest.mark.parametrize("code", ["i4,f8", "V8", "S", "U", "M8[ns]", "c16", "i444", "", 4, None])
def test_other_types_are_refused(code: Any) -> None:
    with pytest.raises(REFUSED, match=re.escape(f"the array type '{code}'")):
        _DataType(code)


@pytest.mark.parametrize("state", [None, (), (3,), (3, "x"), (3, ("a",)), [3, "<"], (3, None)])
def test_states_of_types_are_checked(state: Any) -> None:
    with pytest.raises(REFUSED, match="an array type with fields"):
        _DataType("i4").set_state(state)


def test_bytes_of_an_array() -> None:
    values = np.array([[1, 2, 300], [-4, 5, 6]])
    for order, code in (("<", "i2"), (">", "i4"), ("=", "i8")):
        data = values.astype(f"{order}{code}").tobytes()
        assert data_type(code, order).build(data, (2, 3), "C").tolist() == values.tolist()
        assert data_type(code, order).build(data, (3, 2), "F").tolist() == [
            [1, -4],
            [2, 5],
            [300, 6],
        ]
    assert data_type("f8").size == 8 and data_type("U3").size == 12


@pytest.mark.parametrize("shape", [None, [2], (2, -1), (2, "3"), (1.0,)])
def test_shapes_are_checked(shape: Any) -> None:
    with pytest.raises(REFUSED, match="an array without a shape"):
        restricted_pickle._shape(shape)
    with pytest.raises(REFUSED, match="an array without a shape"):
        _JoblibArray().set_state({"dtype": data_type("i4"), "shape": shape})


def test_shapes_of_nothing() -> None:
    assert restricted_pickle._shape(()) == () and restricted_pickle._shape((0, 3)) == (0, 3)


def test_arrays_of_pickle() -> None:
    array = _Array("ndarray", (0,), b"b")
    assert array.value.shape == (0,)
    # Bytes of Python 2 arrive as text of the same codes.
    text = np.array([1, 200], "<u2").tobytes().decode("latin1")
    array.set_state((1, (2,), data_type("u2", "<"), False, text))
    assert array.value.tolist() == [1, 200]
    matrix = np.array([[1, 2, 3], [4, 5, 6]], "u1")
    array.set_state((1, (2, 3), data_type("u1"), True, bytearray(matrix.tobytes("F"))))
    assert array.value.tolist() == matrix.tolist()
    inner = _Array()
    inner.set_state((1, (1,), data_type("u1"), False, b"\x07"))
    array.set_state((1, (2, 2), data_type("O"), True, ["a", 2, inner, None]))
    assert array.value[0].tolist()[0] == "a" and array.value[1].tolist() == [2, None]
    assert array.value[0, 1].tolist() == [7]
    with pytest.raises(REFUSED, match="an array without a data type"):
        array.set_state((1, (2,), "u1", False, b"ab"))


def test_descriptions_of_joblib() -> None:
    array = _JoblibArray()
    assert (array.shape, array.order, array.dtype, array.aligned) == ((), "C", None, False)
    kind = data_type("u2", "<")
    array.set_state({"dtype": kind, "shape": (2, 2), "order": "F"})
    assert (array.shape, array.order, array.dtype) == ((2, 2), "F", kind) and not array.aligned
    array.set_state({"dtype": kind, "shape": (2,), "order": "K", "numpy_array_alignment_bytes": 16})
    assert (array.order, array.aligned) == ("C", True)
    for state in ({"shape": (2,)}, {"shape": (2,), "dtype": "u2"}, [kind], None):
        with pytest.raises(REFUSED, match="an array without a data type"):
            array.set_state(state)


def test_array_behind_its_description() -> None:
    """An aligned array follows a byte that counts the bytes of padding."""
    array = _JoblibArray()
    array.set_state({"dtype": data_type("u2", "<"), "shape": (2, 2), "order": "F"})
    data = np.array([[1, 2], [3, 4]], "<u2").tobytes("F")

    def read(content: bytes) -> list:
        return restricted_pickle._Reader(io.BytesIO(content))._following_array(array).tolist()

    assert read(data) == read(data + b"next") == [[1, 2], [3, 4]]
    with pytest.raises(EOFError):
        read(data[:-1])
    array.aligned = True
    assert read(b"\x03abc" + data) == read(b"\x00" + data) == [[1, 2], [3, 4]]
    array.dtype = data_type("O")
    assert read(pickle.dumps(np.array([1, "a"], object), protocol=4)) == [1, "a"]


def test_single_values_and_texts() -> None:
    scalar, text_bytes = restricted_pickle._scalar, restricted_pickle._text_bytes
    assert scalar(data_type("i4", "<"), b"\x05\x00\x00\x00") == 5
    value = scalar(data_type("f4", ">"), np.array(2.5, ">f4").tobytes().decode("latin1"))
    assert value == 2.5 and isinstance(value, float)
    for kind in ("i4", data_type("O"), None):
        with pytest.raises(REFUSED, match="a scalar without a data type"):
            scalar(kind, b"abcd")
    assert text_bytes("a\xff") == text_bytes("a\xff", "latin1") == b"a\xff"
    for given in (("a", "utf-8"), (b"a", "latin1"), (b"a",), (4, "x")):
        with pytest.raises(REFUSED, match="an encoding"):
            text_bytes(*given)


def test_names_that_files_may_hold() -> None:
    """Anything else could run code."""
    cores = ("numpy.core.multiarray", "numpy._core.multiarray")
    wrapper = "NumpyArrayWrapper"
    assert set(restricted_pickle._STANDINS) == {
        ("numpy", "dtype"), ("numpy", "ndarray"), ("joblib.numpy_pickle", wrapper),
        ("sklearn.externals.joblib.numpy_pickle", wrapper), ("collections", "OrderedDict"),
        ("_codecs", "encode"), *((core, "_reconstruct") for core in cores),
        *((core, "scalar") for core in cores),
    }  # fmt: skip
    reader = restricted_pickle._Reader(io.BytesIO())
    assert reader.find_class("collections", "OrderedDict") is OrderedDict
    for module, name in (("builtins", "eval"), ("numpy", "load"), ("collections", "namedtuple")):
        with pytest.raises(REFUSED, match=f"{module}.{name}"):
            reader.find_class(module, name)


@pytest.mark.parametrize("name", restricted_pickle._REFUSED_INSTRUCTIONS)
def test_each_refused_instruction(name: str) -> None:
    code = restricted_pickle._CODES[name]
    with pytest.raises(REFUSED, match="an instruction that plain values do not need"):
        restricted_pickle._Reader.dispatch[code](restricted_pickle._Reader(io.BytesIO()))


def test_values_in_place_of_what_stands_for_them() -> None:
    array = _Array()
    array.value = np.array([4, 5])
    nested = restricted_pickle._resolved({"a": [array, (array, {"b"})], (1, 2): frozenset({3})})
    assert nested["a"][0] is array.value and nested["a"][1] == (array.value, {"b"})
    assert nested[1, 2] == frozenset({3}) and isinstance(nested["a"][1], tuple)
    assert restricted_pickle._resolved(None) is None
