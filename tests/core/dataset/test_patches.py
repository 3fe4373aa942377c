from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.class_labels import MAMMOGRAPHY
from core.dataset.patches import (
    PatchRule,
    image_label_patches,
    label_patches,
    window_origins,
)

TWO_OUTPUTS = MAMMOGRAPHY.with_outputs(2)


def literal_labels(
    tissue: np.ndarray, findings: list[tuple[str, np.ndarray]], side: int, rule: PatchRule
) -> tuple[list[tuple], int, int]:
    """Label windows literally as `docs/reference/definitions.md` ("Patches") defines them.

    Returns rows (y, x, tissue, union and share of benign, of malignant, label), and the numbers of
    dropped unproven and ambiguous windows.
    """
    rows, unproven, ambiguous = [], 0, 0
    height, width = tissue.shape
    for ky in range(2 * height // side + 1):
        for kx in range(2 * width // side + 1):
            y, x = ky * side // 2, kx * side // 2
            if y + side > height or x + side > width:
                continue
            covered = (
                sum(bool(tissue[i, j]) for i in range(y, y + side) for j in range(x, x + side))
                / side**2
            )
            if covered < rule.min_tissue:
                continue
            numbers = {}
            for name, pathologies in {
                "b": ("BENIGN", "BENIGN_WITHOUT_CALLBACK"),
                "m": ("MALIGNANT",),
                "u": ("UNPROVEN",),
            }.items():
                masks = [
                    mask for pathology, mask in findings if pathology in pathologies and mask.any()
                ]
                union, share = 0, 0.0
                for i in range(y, y + side):
                    for j in range(x, x + side):
                        union += any(mask[i, j] for mask in masks)
                for mask in masks:
                    share = max(share, mask[y : y + side, x : x + side].sum() / mask.sum())
                covered_enough, contained_enough = (
                    union / side**2 >= rule.min_overlap,
                    share >= rule.min_overlap,
                )
                numbers[name] = (
                    union / side**2,
                    share,
                    (covered_enough or contained_enough)
                    if rule.rule == "or"
                    else (covered_enough and contained_enough),
                )
            if numbers["u"][2] and not numbers["m"][2]:
                unproven += 1
                continue
            if len(rule.classes.outputs) == 3:
                label = 2 if numbers["m"][2] else 1 if numbers["b"][2] else 0
                touched = any(numbers[name][0] > 0 for name in "bmu")
            else:
                label = 2 if numbers["m"][2] else 0
                touched = any(numbers[name][0] > 0 for name in "mu")
            if rule.ambiguous == "drop" and label == 0 and touched:
                ambiguous += 1
                continue
            rows.append((y, x, covered, *numbers["b"][:2], *numbers["m"][:2], label))
    return rows, unproven, ambiguous


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    shape = draw(st.integers(4, 24)), draw(st.integers(4, 16))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tissue = rng.uniform(size=shape) < rng.uniform(0.3, 1)
    findings = []
    for pathology in draw(
        st.lists(
            st.sampled_from(["MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN"]),
            max_size=4,
        )
    ):
        mask = np.zeros(shape, bool)
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[y : y + rng.integers(0, 9), x : x + rng.integers(0, 9)] = True
        findings.append((pathology, mask))
    return tissue, findings


@settings(max_examples=150, deadline=None)
@given(
    image=images(),
    side=st.integers(1, 7),
    rule=st.builds(
        PatchRule,
        min_tissue=st.sampled_from([0.0, 0.5, 0.8]),
        min_overlap=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
        rule=st.sampled_from(["or", "and"]),
        ambiguous=st.sampled_from(["keep", "drop"]),
        classes=st.sampled_from([MAMMOGRAPHY.with_outputs(2), MAMMOGRAPHY]),
    ),
)
def test_labels_equal_the_literal_definition(image: tuple, side: int, rule: PatchRule) -> None:
    tissue, findings = image
    got = label_patches(tissue, findings, side, rule)
    rows, unproven, ambiguous = literal_labels(tissue, findings, side, rule)
    columns = (
        got.y,
        got.x,
        got.tissue,
        got.union["benign"],
        got.share["benign"],
        got.union["malignant"],
        got.share["malignant"],
        got.label,
    )
    np.testing.assert_allclose(
        np.stack(columns, 1).reshape(-1, 8), np.array(rows, float).reshape(-1, 8), atol=1e-12
    )
    assert (got.dropped_unproven, got.dropped_ambiguous) == (unproven, ambiguous)


def test_window_origins() -> None:
    assert window_origins((10, 5), 5)[:, 0].tolist() == [0, 2, 5]
    assert sorted(set(window_origins((13, 13), 5)[:, 0])) == [0, 2, 5, 7]
    assert len(window_origins((4, 9), 5)) == 0, "an image lower than a patch has no window"


def test_small_and_large_findings() -> None:
    tissue = np.ones((8, 8), bool)
    dot, sheet = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    dot[0, 0] = True
    sheet[:, 4:] = True
    got = label_patches(tissue, [("MALIGNANT", dot), ("BENIGN", sheet)], 4, PatchRule())
    labels = {(int(y), int(x)): int(label) for y, x, label in zip(got.y, got.x, got.label)}
    assert labels[0, 0] == 2 and labels[2, 0] == 0 and labels[0, 2] == 1 and labels[4, 4] == 1
    strict = label_patches(
        tissue, [("MALIGNANT", dot), ("BENIGN", sheet)], 4, PatchRule(rule="and")
    )
    assert strict.label[0] == 0


def test_malignant_precedes_benign() -> None:
    both = np.ones((4, 4), bool)
    assert label_patches(
        both, [("BENIGN", both), ("MALIGNANT", both)], 4, PatchRule()
    ).label.tolist() == [2]
    assert label_patches(
        both, [("BENIGN", both), ("MALIGNANT", both)], 4, PatchRule(classes=TWO_OUTPUTS)
    ).label.tolist() == [2]


def test_image_label_patches() -> None:
    tissue = np.ones((8, 8), bool)
    weak = image_label_patches(tissue, "BENIGN_WITHOUT_CALLBACK", 4, PatchRule())
    assert (
        weak.weak and set(weak.label) == {1} and len(weak) == 9 and not weak.union["benign"].any()
    )
    assert set(
        image_label_patches(tissue, "MALIGNANT", 4, PatchRule(classes=TWO_OUTPUTS)).label
    ) == {2}
    assert set(image_label_patches(tissue, "BENIGN", 4, PatchRule(classes=TWO_OUTPUTS)).label) == {
        0
    }
    none = image_label_patches(tissue, "UNPROVEN", 4, PatchRule())
    assert len(none) == 0 and none.dropped_unproven == 9


@pytest.mark.parametrize(
    "invalid",
    [
        {"rule": "xor"},
        {"ambiguous": "maybe"},
        {"min_overlap": 0.0},
        {"min_tissue": 1.5},
    ],
)
def test_invalid_rule(invalid: dict) -> None:
    with pytest.raises(ValueError):
        PatchRule(**invalid)
