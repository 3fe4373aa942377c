"""Plain values of a joblib or pickle file, read without running code from the file.

A pickle is a program. This reader knows the instructions that build numbers, texts, containers and
NumPy arrays, and refuses every other instruction and every other class. Arrays are built here from
their bytes, so no function is called that the file names.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickle
import pickletools
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.errors import UserError

# Endings of such files; the published ones end in .jbl.
PICKLE_SUFFIXES = (".jbl", ".joblib", ".pkl")
# First bytes of the compressions that joblib writes.
_DECOMPRESSORS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x5d\x00\x00", lzma.decompress),
    (b"\x78", zlib.decompress),
)
# Instructions that never occur in files of plain values: references to objects outside the file,
# registered extensions, and the ways in which old classes are made.
_REFUSED_INSTRUCTIONS = {
    "PERSID",
    "BINPERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "INST",
    "OBJ",
    "NEWOBJ_EX",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
}
# Booleans, whole numbers, floating-point numbers, bytes, texts and "anything" (a list of values).
_DTYPE = re.compile(r"[?biuf]\d{0,2}|[SU]\d+|O\d?")


class _DataType:
    """Stands for numpy.dtype: the code of a type and its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"the array type {str(code)[:40]!r}")
        self.code, self.order = code, "|"

    def set_state(self, state: Any) -> None:
        """Set the byte order, which stands second in the state of numpy.dtype."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("an array type with fields")
        self.order = state[1]

    @property
    def is_object(self) -> bool:
        """Whether the elements are Python values."""
        return self.code.startswith("O")

    def build(self, data: bytes, shape: tuple[int, ...], order: str) -> np.ndarray:
        """Return the array of these bytes."""
        prefix = "" if self.order == "|" else self.order
        return np.frombuffer(data, prefix + self.code).reshape(shape, order=order)  # type: ignore[call-overload]

    @property
    def size(self) -> int:
        """Bytes per element."""
        return np.dtype(self.code).itemsize


class _Array:
    """Stands for an array that pickle itself stores: filled by `set_state`."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray = np.zeros(0)

    def set_state(self, state: Any) -> None:
        """Fill from (version, shape, data type, Fortran order, bytes or list of elements)."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _DataType):
            raise pickle.UnpicklingError("an array without a data type")
        order = "F" if fortran else "C"
        if dtype.is_object:
            self.value = _object_array(content, _shape(shape), order)
            return
        data = content.encode("latin1") if isinstance(content, str) else bytes(content)
        self.value = dtype.build(data, _shape(shape), order)


class _JoblibArray:
    """Stands for joblib's NumpyArrayWrapper: the array follows it in the file."""

    def __init__(self, *_: Any) -> None:
        self.shape: tuple[int, ...] = ()
        self.order = "C"
        self.dtype: _DataType | None = None
        self.aligned = False

    def set_state(self, state: Any) -> None:
        """Fill from the attributes that joblib stores."""
        if not isinstance(state, dict) or not isinstance(state.get("dtype"), _DataType):
            raise pickle.UnpicklingError("an array without a data type")
        self.shape, self.dtype = _shape(state.get("shape")), state["dtype"]
        self.order = "F" if state.get("order") == "F" else "C"
        self.aligned = state.get("numpy_array_alignment_bytes") is not None


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise pickle.UnpicklingError("an array without a shape")
    return shape


def _object_array(values: Any, shape: tuple[int, ...], order: str) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = [_resolved(value) for value in values]
    return array.reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: Any, data: Any = None) -> Any:
    """Return a NumPy scalar as a Python value."""
    if not isinstance(dtype, _DataType) or dtype.is_object:
        raise pickle.UnpicklingError("a scalar without a data type")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    return dtype.build(raw, (1,), "C")[0].item()


def _text_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    """Return what `_codecs.encode` makes of a text: protocol 2 stores bytes in this way."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("an encoding")
    return text.encode("latin1")


# Names of the file and what stands for them; the modules differ between versions of NumPy.
_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_STANDINS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DataType,
    ("numpy", "ndarray"): _Array,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _text_bytes,
    **{(module, "_reconstruct"): _Array for module in _NUMPY_CORE},
    **{(module, "scalar"): _scalar for module in _NUMPY_CORE},
}


class _Reader(pickle._Unpickler):
    """Reads one pickle, with arrays of joblib that follow their description in the file."""

    stack: list[Any]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO) -> None:
        # latin1: files of Python 2 store texts as bytes.
        super().__init__(file, encoding="latin1")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class of the file; refuse all others."""
        if (module, name) not in _STANDINS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _STANDINS[module, name]

    def load_reduce(self) -> None:
        """Call a stand-in; nothing else can be called."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not any(function is standin for standin in _STANDINS.values()):
            raise pickle.UnpicklingError("a call")
        self.stack[-1] = function(*arguments)

    def load_newobj(self) -> None:
        """Create a stand-in object."""
        arguments = self.stack.pop()
        kind = self.stack.pop()
        if kind not in (_Array, _JoblibArray, OrderedDict):
            raise pickle.UnpicklingError("an object")
        self.append(kind(*arguments))

    def load_build(self) -> None:
        """Fill a stand-in; replace a description of joblib by the array that follows it."""
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (_DataType, _Array, _JoblibArray)):
            raise pickle.UnpicklingError("the state of an object")
        target.set_state(state)
        if isinstance(target, _JoblibArray):
            self.stack[-1] = self._following_array(target)

    def _following_array(self, description: _JoblibArray) -> np.ndarray:
        assert description.dtype is not None, "set_state requires it"
        if description.dtype.is_object:
            return _resolved(_Reader(self._file).load())
        if description.aligned:
            self._file.read(self._file.read(1)[0])
        size = math.prod(description.shape) * description.dtype.size
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return description.dtype.build(data, description.shape, description.order)


def _refuse(reader: _Reader) -> None:
    raise pickle.UnpicklingError("an instruction that plain values do not need")


_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
for _name in _REFUSED_INSTRUCTIONS:
    _Reader.dispatch[_CODES[_name]] = _refuse
_Reader.dispatch[_CODES["REDUCE"]] = _Reader.load_reduce
_Reader.dispatch[_CODES["NEWOBJ"]] = _Reader.load_newobj
_Reader.dispatch[_CODES["BUILD"]] = _Reader.load_build


def _resolved(value: Any) -> Any:
    """Return a value with arrays in place of what stands for them."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_resolved(key): _resolved(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_resolved(item) for item in value)
    return value


def read_plain_values(path: Path) -> Any:
    """Return the content of a joblib or pickle file of plain values.

    Parameters
    ----------
    path : Path
        File that `joblib.dump` or `pickle.dump` wrote, compressed by zlib, gzip, bz2, lzma or not.

    Returns
    -------
    object
        Numbers, texts, bytes, None, lists, tuples, sets, dicts and NumPy arrays.

    Raises
    ------
    UserError
        If the file is damaged, or contains a class, a call or an instruction that plain values do
        not need. Nothing of it has been executed.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "values"
    >>> _ = path.write_bytes(pickle.dumps({"B_3102_1": [1, 2.5, None]}))
    >>> read_plain_values(path)
    {'B_3102_1': [1, 2.5, None]}
    >>> folder.cleanup()
    """
    try:
        data = path.read_bytes()
        for start, decompress in _DECOMPRESSORS:
            if data.startswith(start):
                data = decompress(data)
                break
        return _resolved(_Reader(io.BytesIO(data)).load())
    except OSError as error:
        # gzip and bz2 report damaged data by an OSError without a number.
        reason = error.strerror or "its compressed data are damaged"
        raise UserError(f"The file {path} cannot be read ({reason}): download it again.") from None
    except pickle.UnpicklingError as error:
        raise UserError(
            f"The file {path} contains {error}; only numbers, texts, lists, dictionaries and arrays"
            " are read, because anything else could run code. Nothing was executed. Give labels as"
            " JSON and descriptions as the overlay files of the archive instead."
        ) from None
    except (
        EOFError,
        zlib.error,
        lzma.LZMAError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ):
        # What the instructions of a damaged pickle raise.
        raise UserError(
            f"The file {path} is not a complete joblib or pickle file: download it again."
        ) from None
