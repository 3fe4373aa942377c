"""Patches and splits by hand: defaults, limits on both sides, and a slow version of the split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.dataset.patches import (
    PatchRule,
    box_sums,
    class_overlaps,
    image_label_patches,
    label_patches,
    reaches_min_overlap,
    reaches_patch,
    window_origins,
    window_overlaps,
)
from core.dataset.splits import split_patients
from core.errors import UserError


def test_defaults_and_limits_of_a_rule() -> None:
    rule = PatchRule()
    assert vars(rule) == {
        "min_tissue": 0.5, "min_overlap": 0.3, "rule": "or", "ambiguous": "keep",
        "classes": MAMMOGRAPHY,
    }  # fmt: skip
    for values in ({"min_tissue": 0.0}, {"min_tissue": 1.0}, {"min_overlap": 1.0}):
        PatchRule(**values)
    for name, value in (
        ("min_tissue", -0.01), ("min_tissue", 1.01), ("min_overlap", 0.0), ("min_overlap", 1.01),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="min_tissue must be in 0..1"):
            PatchRule(**{name: value})
    for name in ("rule", "ambiguous"):
        with pytest.raises(ValueError, match="not a patch rule"):
            PatchRule(**{name: "x"})


def test_windows_overlap_by_half() -> None:
    assert window_origins((6, 5), 3).tolist() == [[y, x] for y in (0, 1, 3) for x in (0, 1)]
    assert window_origins((3, 3), 3).tolist() == [[0, 0]] and len(window_origins((2, 9), 3)) == 0
    assert window_origins((2, 2), 1).tolist() == [
        [y, x] for y in (0, 0, 1, 1) for x in (0, 0, 1, 1)
    ]
    with pytest.raises(ValueError, match="at least one pixel"):
        window_origins((2, 2), 0)


def test_overlaps_by_hand() -> None:
    first, second, none = (np.zeros((4, 6), bool) for _ in range(3))
    first[1:3, 1:4] = True  # 6 pixels
    second[2, 3:5] = True  # 2 pixels, of which one is shared
    origins = np.array([[0, 0], [2, 2], [0, 3], [1, 1]])
    assert box_sums(first, origins, 2).tolist() == [1, 2, 1, 4]
    union, share = window_overlaps([first, none, second], origins, 2)
    assert union.tolist() == [0.25, 0.5, 0.25, 1.0]
    assert share == pytest.approx([1 / 6, 0.5, 1 / 6, 4 / 6])
    for masks in ([], [none]):
        union, share = window_overlaps(masks, origins, 2)
        assert union.tolist() == share.tolist() == [0.0] * 4
    either = reaches_min_overlap(np.array([0.3, 0.1, 0.3]), np.array([0.1, 0.3, 0.3]), PatchRule())
    both = reaches_min_overlap(
        np.array([0.3, 0.1, 0.3]), np.array([0.1, 0.3, 0.3]), PatchRule(rule="and")
    )
    assert either.tolist() == [True] * 3 and both.tolist() == [False, False, True]
    below = reaches_min_overlap(np.array([0.299]), np.array([0.299]), PatchRule())
    assert below.tolist() == [False]


def test_overlaps_of_each_class() -> None:
    mask = np.ones((2, 2), bool)
    origins = np.array([[0, 0]])
    findings = [("BENIGN_WITHOUT_CALLBACK", mask), ("UNPROVEN", mask), ("NORMAL", mask)]
    overlaps = class_overlaps(MAMMOGRAPHY, findings, origins, 2)
    assert {name: union.tolist() for name, (union, _) in overlaps.items()} == {
        "benign": [1.0],
        "malignant": [0.0],
    }
    pets = ClassDefinition(("empty", "cat", "dog", "bird"), "dog", "cat")
    assert list(class_overlaps(pets, [], origins, 2)) == ["cat", "dog", "bird"]


def test_later_class_decides_and_unproven_windows_go() -> None:
    """Four windows of 2 x 2 without overlap in between, of which each shows other findings."""
    tissue = np.ones((2, 8), bool)

    def at(column: int) -> np.ndarray:
        mask = np.zeros((2, 8), bool)
        mask[:, column : column + 2] = True
        return mask

    findings = [
        ("MALIGNANT", at(0)), ("BENIGN", at(0)), ("UNPROVEN", at(0)),
        ("BENIGN", at(2)), ("UNPROVEN", at(2)), ("BENIGN", at(4)), ("NORMAL", at(6)),
    ]  # fmt: skip
    patches = label_patches(tissue, findings, 2, PatchRule(min_overlap=1.0, rule="and"))
    kept = dict(zip(patches.x.tolist(), patches.label.tolist()))
    # Window 2 is dropped; those in between reach no class.
    assert kept == {0: 2, 1: 0, 3: 0, 4: 1, 5: 0, 6: 0}
    assert (patches.dropped_unproven, patches.dropped_ambiguous, patches.weak) == (1, 0, False)
    assert (patches.side, len(patches), set(patches.tissue), set(patches.y)) == (2, 6, {1.0}, {0})
    drop = PatchRule(min_overlap=1.0, rule="and", ambiguous="drop")
    dropped = label_patches(tissue, findings, 2, drop)
    assert dropped.x.tolist() == [0, 4, 6] and dropped.dropped_ambiguous == 3
    assert dropped.dropped_unproven == 1
    binary = label_patches(
        tissue,
        findings,
        2,
        PatchRule(classes=MAMMOGRAPHY.with_outputs(2), min_overlap=1.0, rule="and"),
    )
    assert dict(zip(binary.x.tolist(), binary.label.tolist())) == {
        **dict.fromkeys((1, 3, 4, 5, 6), 0), 0: 2,
    }  # fmt: skip
    assert sorted(patches.union) == sorted(patches.share) == ["benign", "malignant"]


def test_least_tissue_counts() -> None:
    tissue = np.zeros((2, 6), bool)
    tissue[0, :2] = True  # half of the first window, a quarter of the second
    for least, origins in ((0.5, [0]), (0.25, [0, 1]), (0.0, [0, 1, 2, 3, 4])):
        patches = label_patches(tissue, [], 2, PatchRule(min_tissue=least))
        assert patches.x.tolist() == origins
    finding = np.zeros((2, 6), bool)
    finding[:, 4:] = True
    assert not reaches_patch(tissue, finding, 2, PatchRule())
    assert reaches_patch(tissue, finding, 2, PatchRule(min_tissue=0.0))
    assert reaches_patch(np.ones((2, 6), bool), finding, 2, PatchRule())
    assert not reaches_patch(np.ones((2, 6), bool), np.zeros((2, 6), bool), 2, PatchRule())


def test_patches_of_an_image_label() -> None:
    tissue = np.ones((3, 4), bool)
    tissue[:, 3] = False
    patches = image_label_patches(tissue, "MALIGNANT", 2, PatchRule(min_tissue=0.6))
    assert patches.x.tolist() == [0, 1, 0, 1] and patches.y.tolist() == [0, 0, 1, 1]
    assert patches.label.tolist() == [2] * 4 and patches.side == 2 and patches.weak
    assert patches.tissue.tolist() == [1.0] * 4
    assert (patches.dropped_unproven, patches.dropped_ambiguous) == (0, 0)
    for values in (patches.union, patches.share):
        assert {name: array.tolist() for name, array in values.items()} == {
            "benign": [0.0] * 4,
            "malignant": [0.0] * 4,
        }
    labels = {
        name: image_label_patches(tissue, name, 2, PatchRule()).label[0]
        for name in ("NORMAL", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT")
    }
    assert list(labels.values()) == [0, 1, 1, 2]
    none = image_label_patches(tissue, "UNPROVEN", 2, PatchRule(min_tissue=0.6))
    assert (len(none), none.dropped_unproven, none.label.tolist()) == (0, 4, [])
    assert none.union["benign"].tolist() == [] and none.weak


def slow_split(strata: dict[str, str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """Give each patient to the split that then lacks most of its share of all so far."""
    rng = np.random.default_rng(seed)
    result: dict[str, str] = {}
    for stratum in sorted(set(strata.values())):
        members = sorted(patient for patient in strata if strata[patient] == stratum)
        for k in rng.permutation(len(members)):
            lacks = [
                share * (len(result) + 1) - list(result.values()).count(name)
                for name, share in shares.items()
            ]
            result[members[k]] = list(shares)[int(np.argmax(lacks))]
    return result


def patients_of(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"P{7 * i % count}" for i in range(count)],
            "stratum": [i % 3 for i in range(count)],
        }
    )


def test_split_equals_that_of_the_slow_version() -> None:
    patients = patients_of(25)
    strata = {str(row.id): str(row.stratum) for row in patients.itertuples()}
    for fractions, seed in (((0.8, 0.1, 0.1), 1), ((0.5, 0.2, 0.3), 9), ((0.6, 0.4, 0.0), 4)):
        shares = dict(zip(("train", "holdout", "test"), fractions))
        assert split_patients(patients, fractions, seed) == slow_split(strata, shares, seed)
    shares = {"train": 0.8, "holdout": 0.1, "test": 0.1}
    assert split_patients(patients) == slow_split(strata, shares, 1)
    plain = split_patients(patients[["id"]], seed=2)
    assert plain == slow_split(dict.fromkeys(strata, ""), shares, 2)


def test_hold_out_of_a_published_split() -> None:
    patients = patients_of(25)
    strata = {str(row.id): str(row.stratum) for row in patients.itertuples()}
    published = {name: "test" if int(name[1:]) % 4 == 0 else "train" for name in strata}
    train = {name: strata[name] for name in strata if published[name] == "train"}
    # Shares of 3/8 and 1/8 of all are 3 and 1 quarters of what is no test.
    expected = published | slow_split(train, {"train": 0.75, "holdout": 0.25}, 5)
    assert split_patients(patients, (0.375, 0.125, 0.5), 5, published) == expected
    # Without a hold-out share, and without train patients, the split stays as it is.
    assert split_patients(patients, (0.8, 0.0, 0.2), 5, published) == published
    tests = dict.fromkeys(strata, "test")
    assert split_patients(patients, published=tests) == tests
    own = published | {"P1": "holdout"}
    assert split_patients(patients, published=own | {"other": "train"}) == own


@pytest.mark.parametrize(
    ("fractions", "is_valid"),
    [
        ((0.5, 0.3, 0.2), True), ((1.0, 0.0, 0.0), True), ((0.5, 0.5, 1e-7), True),
        ((0.5, 0.5, 1e-5), False), ((0.5, 0.5), False), ((1.1, -0.1, 0.0), False),
        ((0.5, 0.3, 0.1, 0.1), False), ((0.6, 0.3, 0.2), False),
    ],
)  # fmt: skip
def test_fractions(fractions: tuple[float, ...], is_valid: bool) -> None:
    patients = patients_of(4)
    if is_valid:
        assert len(split_patients(patients, fractions)) == 4
    else:
        with pytest.raises(UserError, match="must be three numbers of at least 0 that sum to 1"):
            split_patients(patients, fractions)


def test_incomplete_published_splits() -> None:
    patients = patients_of(4)
    with pytest.raises(UserError, match="no entry for 2 of 4 patients, the first is P3: add them"):
        split_patients(patients, published={"P0": "test", "P2": "test"})
    wrong = {"P0": "test", "P1": "train", "P2": "val", "P3": "train"}
    with pytest.raises(UserError, match="Patient P2 is in an unknown split 'val' .*: use one of t"):
        split_patients(patients, published=wrong)
    with pytest.raises(ValueError, match="a patient occurs twice"):
        split_patients(pd.DataFrame({"id": [1, "1"]}))
