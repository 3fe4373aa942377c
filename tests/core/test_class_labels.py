"""Classes, their codes and outputs, and names for display, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.class_labels import (
    MAMMOGRAMS,
    MAMMOGRAPHY,
    ClassDefinition,
    ImageDomain,
    names_fault,
    unit_index,
    unit_name,
    view_name,
)

PETS = ClassDefinition(("empty", "cat", "old dog", "bird"), positive="cat", comparison="bird")


def test_codes_and_outputs() -> None:
    assert (PETS.normal, PETS.positive_code) == ("empty", 1)
    assert PETS.outputs == {0: "empty", 1: "cat", 2: "old dog", 3: "bird"}
    assert PETS.codes == (0, 1, 2, 3) and PETS.scored == PETS.names
    two = PETS.with_outputs(2)
    assert two.outputs == {0: "other", 1: "cat"} and two.scored == ("cat",)
    assert two.against_rest and not two.with_outputs(4).against_rest
    assert not PETS.with_outputs(4).against_rest and PETS.with_outputs(3).against_rest
    positive = MAMMOGRAPHY.with_outputs(2)
    assert positive.codes == (0, 2)
    assert positive.output_indices(np.array([2, 0, 2], np.int8)).tolist() == [1, 0, 1]
    assert positive.output_indices(np.array([2, 0], np.int8)).dtype == np.int8
    # Of two classes each has an output, also against the rest.
    pair = ClassDefinition(("no", "yes"), "yes", "yes", against_rest=True)
    assert pair.outputs == {0: "no", 1: "yes"} and pair.scored == ("yes",)
    assert PETS.pathology_codes == {"EMPTY": 0, "CAT": 1, "OLD_DOG": 2, "BIRD": 3}
    assert MAMMOGRAPHY.pathology_codes == {
        "NORMAL": 0,
        "BENIGN": 1,
        "MALIGNANT": 2,
        "BENIGN_WITHOUT_CALLBACK": 1,
    }


def test_stored_definitions() -> None:
    stored = {"names": ["empty", "cat", "old dog", "bird"], "positive": "cat", "comparison": "bird"}
    assert PETS.to_dict() == stored and ClassDefinition.from_dict(stored) == PETS
    assert ClassDefinition.from_manifest({}) == MAMMOGRAPHY
    assert ClassDefinition.from_manifest({"classes": 2}).outputs == {0: "other", 2: "malignant"}
    assert ClassDefinition.from_manifest({"class_definition": stored}) == PETS
    manifest = {"class_definition": stored, "classes": "2"}
    assert ClassDefinition.from_manifest(manifest) == PETS.with_outputs(2)


def test_domains() -> None:
    assert (
        ImageDomain(("normal", "benign", "malignant"), "breast", False, "automatic") == MAMMOGRAMS
    )
    assert MAMMOGRAMS.pathologies == (
        *("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN", "NORMAL"),
    )
    assert ImageDomain(("empty", "cat", "old dog")).pathologies == (
        *("OLD_DOG", "CAT", "UNPROVEN", "EMPTY"),
    )


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["a"], None),
        ([f"c{i}" for i in range(19)], None),
        ([f"c{i}" for i in range(20)], "there are 21 classes, but 2 to 20 are possible"),
        ([], "there are 1 classes, but 2 to 20 are possible"),
        (["a_b-c 1"], None),
        ([" "], "a class name is empty"),
        (["a,b"], "the class name 'a,b' has characters besides letters"),
        (["a "], "the class name 'a ' begins or ends with a space, or is too long"),
        (["x" * 40], None),
        (["x" * 41], "or is too long"),
        (["Other"], "the class name 'Other' has another meaning in DeepMiner"),
        (["benign_without_callback"], "has another meaning"),
        (["cat dog", "Cat_Dog"], "the class name 'Cat_Dog' occurs twice"),
        (["normal"], "the class name 'normal' occurs twice"),
    ],
)
def test_names_of_classes(names: list[str], fault: str | None) -> None:
    found = names_fault("normal", names)
    assert found is None if fault is None else fault in str(found)


def test_names_for_display() -> None:
    assert view_name("RIGHT", "MLO") == "right MLO" and view_name("UNKNOWN", "CC") == "CC"
    assert (unit_name(587), unit_name(12345)) == ("unit_0588", "unit_12346")
    assert (unit_index("unit_588"), unit_index("12")) == (587, 11)
    for text in ("unit_0", "0", "unit_", "unit_1a", "-1", ""):
        with pytest.raises(ValueError, match="is not a unit id"):
            unit_index(text)
