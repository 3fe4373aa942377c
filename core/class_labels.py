"""The classes of a study, and display names of splits, views and units.

The classes are named in study.toml (`core.settings`). The patches run stores their definition, and
`core.lineage.run_classes` returns it for every run that was built on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# Pathologies without a class of their name. UNPROVEN has no class.
_BENIGN_SYNONYM = "BENIGN_WITHOUT_CALLBACK"
UNPROVEN = "UNPROVEN"
MAX_CLASSES = 20
_MAX_NAME_LENGTH = 40
# Names with a meaning beside the classes: in menus, for two outputs, and for findings.
_RESERVED_NAMES = ("all", "other", "unproven", "predicted", _BENIGN_SYNONYM.lower())
SPLITS = ("train", "holdout", "test")
SPLIT_NAMES = {"train": "train", "holdout": "hold-out", "test": "test"}


@dataclass(frozen=True)
class ClassDefinition:
    """The classes of patches and images, and the part that each has in the study.

    The stored code of a class is its position in `names`.

    Parameters
    ----------
    names : tuple of str
        The class of what has no finding, then the classes of findings. Where several findings count
        in one patch or image, the later class decides.
    positive : str
        The class that scores, operating points and reading studies are about.
    comparison : str
        The class that reading studies compare with the positive one.
    against_rest : bool
        Whether the network tells the positive class from all other, as in the study of 2018.

    Examples
    --------
    >>> MAMMOGRAPHY.outputs
    {0: 'normal', 1: 'benign', 2: 'malignant'}
    >>> MAMMOGRAPHY.with_outputs(2).outputs
    {0: 'other', 2: 'malignant'}
    >>> ClassDefinition(("empty", "cat", "dog"), positive="cat", comparison="dog").positive_code
    1
    """

    names: tuple[str, ...]
    positive: str
    comparison: str
    against_rest: bool = False

    @property
    def normal(self) -> str:
        """Name of the class of what has no finding."""
        return self.names[0]

    @property
    def positive_code(self) -> int:
        """Stored code of the positive class."""
        return self.names.index(self.positive)

    @property
    def outputs(self) -> dict[int, str]:
        """Names by stored code, in the order of the network's outputs."""
        if self.against_rest and len(self.names) > 2:
            # The positive class keeps its code, so that stored labels mean the same in every run.
            return {0: "other", self.positive_code: self.positive}
        return dict(enumerate(self.names))

    @property
    def codes(self) -> tuple[int, ...]:
        """Stored codes, in the order of the network's outputs."""
        return tuple(self.outputs)

    def output_indices(self, labels: np.ndarray) -> np.ndarray:
        """Return the network's output of each stored label."""
        # Commands that compute nothing start without it.
        import numpy as np

        return np.searchsorted(self.codes, labels).astype(labels.dtype)

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of the classes that have a score; of two outputs only the positive one."""
        # The other score of two outputs is determined by the positive one.
        return tuple(self.outputs.values()) if len(self.outputs) > 2 else (self.positive,)

    @property
    def pathology_codes(self) -> dict[str, int]:
        """Stored code of each pathology of a finding that has a class."""
        codes = {pathology_name(name): code for code, name in enumerate(self.names)}
        if "BENIGN" in codes:
            codes[_BENIGN_SYNONYM] = codes["BENIGN"]
        return codes

    def with_outputs(self, count: int) -> ClassDefinition:
        """Return the definition with one output per class, or with two outputs."""
        return ClassDefinition(
            self.names, self.positive, self.comparison, against_rest=count < len(self.names)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the names as the store and a run's manifest hold them."""
        return {
            "names": list(self.names),
            "positive": self.positive,
            "comparison": self.comparison,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ClassDefinition:
        """Return the definition with these names and one output per class."""
        return cls(tuple(stored["names"]), stored["positive"], stored["comparison"])

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> ClassDefinition:
        """Return the definition in the manifest of a patches run.

        Runs from before classes could be named have those of mammography.
        """
        stored = manifest.get("class_definition")
        classes = MAMMOGRAPHY if stored is None else cls.from_dict(stored)
        return classes.with_outputs(int(manifest.get("classes", len(classes.names))))


def pathology_name(name: str) -> str:
    """Return the pathology of findings of a class, as sources and the store spell it.

    Examples
    --------
    >>> pathology_name("malignant"), pathology_name("full moon")
    ('MALIGNANT', 'FULL_MOON')
    """
    return name.upper().replace(" ", "_")


class ImageDomain(NamedTuple):
    """What the images of a study are; the default is mammography.

    names: of the classes, that of no finding first. subject, colour, inversion: as in the settings
    of images.
    """

    names: tuple[str, ...] = ("normal", "benign", "malignant")
    subject: str = "breast"
    colour: bool = False
    inversion: str = "automatic"

    @property
    def pathologies(self) -> tuple[str, ...]:
        """Allowed pathologies of rows, the worst first."""
        normal, *lesions = (pathology_name(name) for name in self.names)
        worst = lesions[::-1]
        if "BENIGN" in worst:
            worst.insert(worst.index("BENIGN") + 1, _BENIGN_SYNONYM)
        return (*worst, UNPROVEN, normal)


MAMMOGRAMS = ImageDomain()
MAMMOGRAPHY = ClassDefinition(("normal", "benign", "malignant"), "malignant", "benign")


def names_fault(normal: str, lesions: Sequence[str]) -> str | None:
    """Return the fault of the names of classes; None for valid names.

    Examples
    --------
    >>> names_fault("normal", ["cat", "Cat"])
    "the class name 'Cat' occurs twice"
    >>> print(names_fault("normal", ["cat", "dog"]))
    None
    """
    names = [normal, *lesions]
    if not 2 <= len(names) <= MAX_CLASSES:
        return f"there are {len(names)} classes, but 2 to {MAX_CLASSES} are possible"
    seen: set[str] = set()
    for name in names:
        if not name.strip():
            return "a class name is empty"
        if not name.replace("_", "").replace("-", "").replace(" ", "").isalnum():
            return f"the class name {name!r} has characters besides letters, digits, space, - and _"
        if name != name.strip() or len(name) > _MAX_NAME_LENGTH:
            return f"the class name {name!r} begins or ends with a space, or is too long"
        if name.lower() in _RESERVED_NAMES:
            return f"the class name {name!r} has another meaning in DeepMiner"
        if pathology_name(name) in seen:
            return f"the class name {name!r} occurs twice"
        seen.add(pathology_name(name))
    return None


def view_name(laterality: str, view: str) -> str:
    """Return a view in words, without the part that is unknown.

    Examples
    --------
    >>> view_name("LEFT", "CC"), view_name("LEFT", "UNKNOWN"), view_name("UNKNOWN", "UNKNOWN")
    ('left CC', 'left', 'view unknown')
    """
    parts = [part for part in (laterality.lower(), view) if part.upper() != "UNKNOWN"]
    return " ".join(parts) or "view unknown"


def unit_name(unit: int) -> str:
    """Return the published id of a unit, which counts from 1 and is padded to four digits.

    Examples
    --------
    >>> unit_name(0)
    'unit_0001'
    """
    return f"unit_{unit + 1:04d}"


def unit_index(name: str) -> int:
    """Return the 0-based index of a unit id; the zero padding is optional.

    Raises
    ------
    ValueError
        If the text is not a unit id.

    Examples
    --------
    >>> unit_index("unit_0001"), unit_index("unit_1"), unit_index("1")
    (0, 0, 0)
    """
    digits = name.removeprefix("unit_")
    if not digits.isdigit() or int(digits) < 1:
        raise ValueError(f"{name!r} is not a unit id such as unit_0588")
    return int(digits) - 1
