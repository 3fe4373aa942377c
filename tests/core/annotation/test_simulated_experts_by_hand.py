"""Simulated experts at their limits: shares, confidence, oversights, audits and scores by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.annotation import simulated_experts
from core.annotation.simulated_experts import ConceptShare
from core.sources.phantom.concepts import CONCEPT_DESCRIPTIONS, NORMAL_TISSUE, Concept

RNG = np.random.default_rng
MASS, VESSEL = Concept.SPICULATED_MASS, Concept.VESSEL


class ImagesOfConcepts:
    """Working images that are known by their concepts."""

    def __init__(self, bits: dict[str, np.ndarray]) -> None:
        self.bits = bits

    def concepts(self, file: str) -> np.ndarray:
        return self.bits[file]


def share(concept: Concept, value: float, iou: float = 0.0) -> ConceptShare:
    return ConceptShare(unit=0, concept=concept, share=value, iou=iou)


def answer(*shares: ConceptShare) -> dict:
    return simulated_experts.simulate_annotation(shares, RNG(0), careful=True)


def concept_shares(
    columns: dict[int, list[tuple[int, int, int]]], ranks: int
) -> list[ConceptShare]:
    """Return the shares of units 3 and 7 in films of 8 x 8 patches below 5 empty rows.

    columns: by rank, the (concept, rows, columns) of a patch whose highlighted half is columns 0
    to 3. Unit 7 has the same patches in reverse order.
    """
    bits = np.zeros((13, 8 * ranks), np.uint32)
    for rank, parts in columns.items():
        for concept, rows, width in parts:
            bits[5 : 5 + rows, 8 * rank : 8 * rank + width] |= np.uint32(concept)
    top = pd.DataFrame(
        [
            {"unit": u, "rank": r, "file": "a", "y": 5, "x": 8 * place, "side": 8}
            for u in (7, 3)
            for r in range(ranks)
            for place in [r if u == 3 else ranks - 1 - r]
        ]
    )
    # Two cells a patch: .3 on the left, .2 on the right; the largest activation is 1.
    maps = np.zeros((8, ranks, 1, 2), np.float32)
    maps[..., 0], maps[..., 1] = 0.6, 0.0
    images = ImagesOfConcepts({"a": bits})
    return simulated_experts.concept_shares(images, top, maps, {3: 1.0, 7: 1.0}, 0.5)  # type: ignore[arg-type]


def test_share_and_iou_by_hand() -> None:
    found = concept_shares({0: [(MASS, 8, 4), (VESSEL, 3, 4)], 1: [(MASS, 8, 8)]}, 2)
    assert [s.unit for s in found] == [3] * len(Concept) + [7] * len(Concept)
    for unit in (3, 7):
        mine = [s for s in found if s.unit == unit]
        # Falling share, then falling IoU.
        keys = [(-s.share, -s.iou) for s in mine]
        assert keys == sorted(keys) and [s.concept for s in mine[:2]] == [MASS, VESSEL]
        by_concept = {s.concept: s for s in mine}
        region = region_pixels()
        first, second = region & columns_below(4), region
        intersection = int(first.sum() + second.sum())
        union = int((region | columns_below(4)).sum()) + 64
        assert by_concept[MASS].iou == pytest.approx(intersection / union)
        assert by_concept[Concept.NIPPLE].iou == 0


def columns_below(end: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[:, :end] = True
    return mask


def region_pixels() -> np.ndarray:
    """Return the highlighted region of the patches above."""
    maps = np.array([[0.6, 0.0]], np.float32)
    return np.asarray(simulated_experts.highlighted_region(maps, 8, 0.5), bool)


def test_only_sixteen_patches_count() -> None:
    # The last two of 18 patches show the mass everywhere, the others nothing.
    found = concept_shares({rank: [(MASS, 8, 8)] for rank in (16, 17)}, 18)
    by_unit = {s.unit: s.share for s in found if s.concept == MASS}
    assert by_unit == {3: 0.0, 7: pytest.approx(2 / 16)}


@pytest.mark.parametrize(
    ("common", "mask", "region", "shown"),
    [
        (12, 12, 12, False),
        (13, 13, 13, True),
        (13, 26, 60, True),
        (13, 27, 60, False),
        (13, 60, 26, True),
        (13, 60, 27, False),
    ],
)
def test_a_region_shows_half_of_the_smaller_area(
    common: int, mask: int, region: int, shown: bool
) -> None:
    a, b = np.zeros(120, bool), np.zeros(120, bool)
    a[:mask] = True
    b[mask - common : mask - common + region] = True
    assert int((a & b).sum()) == common
    assert simulated_experts._is_shown(a, b) is shown


@pytest.mark.parametrize(
    ("concept", "least"),
    [(c, 0.4) for c in list(Concept)[:10]]
    + [(Concept.VIEW_LABEL, 0.4), (Concept.SKIN_MARKER, 0.4)]
    + [(c, 0.65) for c in (Concept.PECTORAL_MUSCLE, Concept.NIPPLE, Concept.SKIN_LINE, VESSEL)]
    + [(Concept.DENSE_TISSUE, 0.75), (Concept.FATTY_TISSUE, 0.75)],
)
def test_least_share_of_each_concept(concept: Concept, least: float) -> None:
    assert answer(share(concept, least - 0.01))["recognisable"] == "nothing"
    (phenomenon,) = answer(share(concept, least))["phenomena"]
    expected = CONCEPT_DESCRIPTIONS[concept]
    if concept in (Concept.DENSE_TISSUE, Concept.FATTY_TISSUE):
        assert phenomenon["category"] == "normal"
    else:
        assert phenomenon["category"] == expected.category
        assert phenomenon["terms"] == dict(expected.descriptors)
        assert phenomenon["association"] == expected.association


def test_order_of_what_is_named() -> None:
    round_ones, vascular = Concept.ROUND_CALCIFICATION, Concept.VASCULAR_CALCIFICATION

    def terms(*shares: ConceptShare) -> list[str]:
        return [p["terms"]["type"] for p in answer(*shares)["phenomena"]]

    assert terms(share(round_ones, 0.5), share(vascular, 0.6)) == ["vascular", "round"]
    # Of equal shares the larger IoU is first; a third finding is left out.
    three = [
        share(round_ones, 0.5, 0.1),
        share(vascular, 0.5, 0.3),
        share(Concept.COARSE_CALCIFICATION, 0.5, 0.2),
    ]
    assert terms(*three) == ["vascular", "coarse (popcorn)"]
    structures = answer(share(Concept.NIPPLE, 0.7), share(VESSEL, 0.8))
    assert [p["terms"] for p in structures["phenomena"]] == [{"structure": "uncalcified vessel"}]
    # Two markers are one phenomenon of the lexicon, and come before any finding.
    marks = answer(share(Concept.VIEW_LABEL, 0.4), share(MASS, 1.0))
    assert [p["terms"] for p in marks["phenomena"]] == [{"structure": "marker or artefact"}]


def test_findings_of_several_kinds_have_nothing_in_common() -> None:
    parts = [share(Concept.LYMPH_NODE, 0.25), share(Concept.NIPPLE, 0.7)]
    assert answer(*parts, share(MASS, 0.25))["recognisable"] == "nothing"
    named = answer(*parts, share(MASS, 0.24))
    assert [p["terms"] for p in named["phenomena"]] == [{"structure": "nipple"}]


def test_tissue_beside_findings_and_confidence() -> None:
    dense = share(Concept.DENSE_TISSUE, 0.8)
    assert answer(dense, share(MASS, 0.2))["phenomena"][0]["category"] == "normal"
    assert answer(dense, share(MASS, 0.21))["phenomena"][0]["category"] == "composition"
    assert answer(dense)["confidence"] == 3
    assert answer(share(Concept.DENSE_TISSUE, 0.79))["confidence"] == 2
    two = [share(Concept.COARSE_CALCIFICATION, 0.79), share(MASS, 0.8)]
    assert answer(*two)["confidence"] == 3


def test_second_expert_follows_two_draws() -> None:
    """The first draw below .1 overlooks the unit, the second below .2 names the last finding."""
    unit = [share(Concept.ROUND_CALCIFICATION, 0.7), share(Concept.VASCULAR_CALCIFICATION, 0.5)]
    kinds = set()
    for seed in range(60):
        first, second = RNG(seed).uniform(size=2)
        expected = [] if first < 0.1 else ["vascular"] if second < 0.2 else ["round", "vascular"]
        given = simulated_experts.simulate_annotation(unit, RNG(seed), careful=False)
        assert [p["terms"]["type"] for p in given["phenomena"]] == expected
        kinds.add(len(expected))
    assert kinds == {0, 1, 2}


@pytest.mark.parametrize(
    ("pixels", "expected"), [(0, "no"), (1, "unsure"), (11, "unsure"), (12, "yes")]
)
def test_audit_judgement_by_hand(pixels: int, expected: str) -> None:
    bits = np.zeros((8, 8), np.uint32)
    bits.flat[:pixels] = int(Concept.LYMPH_NODE)
    bits.flat[40:] = int(MASS)
    wrong = {"yes": "no", "no": "yes", "unsure": "unsure"}[expected]
    mistakes = 0
    for seed in range(80):
        is_mistake = RNG(seed).uniform() < 0.05
        mistakes += is_mistake
        given = simulated_experts.simulate_audit_judgement("LYMPH node", bits, RNG(seed))
        assert given == (wrong if is_mistake else expected)
    assert mistakes
    assert simulated_experts.simulate_audit_judgement("Cat", bits, RNG(0)) == "unsure"


def test_label_of_every_concept_is_understood() -> None:
    for concept, description in CONCEPT_DESCRIPTIONS.items():
        (phenomenon,) = [{"category": description.category, "terms": dict(description.descriptors)}]
        text = simulated_experts.format_label(
            [phenomenon | {"association": None}], simulated_experts.BIRADS
        )
        same = [
            c
            for c, d in CONCEPT_DESCRIPTIONS.items()
            if (d.category, d.descriptors) == (description.category, description.descriptors)
        ]
        assert simulated_experts._concepts_of_label(text) == sum(map(int, same)), concept


def test_normal_tissue_is_described_as_the_category_of_the_lexicon() -> None:
    (normal,) = [c for c in simulated_experts.BIRADS.categories if c.name == NORMAL_TISSUE.category]
    assert NORMAL_TISSUE.label == "Normal tissue" and normal.noun == "normal tissue"


def test_reader_score_is_the_formula() -> None:
    texts = {
        ("Spiculated mass", "lymph node", "Distortion", "irregular"): 1.0 - 0.7 + 0.5,
        ("Round calcifications", "Fine linear"): -1.0 + 0.7,
        ("suspicious round ones", "pleomorphic", "coarse"): 0.0 + 0.7 - 0.5,
        ("nothing", "Benign"): -0.7,
        ("circumscribed", "vascular", "normal"): -2.2,
        ("fatty",): -1.0,
        (): 0.0,
    }
    for shown, evidence in texts.items():
        for scale in (2, 6):
            for seed in range(12):
                noise = RNG(seed).normal(0, 0.9)
                p = 1 / (1 + np.exp(-1.3 * evidence - noise))
                expected = min(scale, int(np.floor(scale * p)) + 1)
                given = simulated_experts.simulate_reader_score(shown, scale, RNG(seed))
                assert given == expected, (shown, scale, seed)


def test_nothing_in_common_is_an_empty_list() -> None:
    named = simulated_experts._named_concepts
    assert named([]) == [] and named([share(Concept.NIPPLE, 0.64)]) == []
    halves = [share(MASS, 0.25), share(Concept.LYMPH_NODE, 0.25), share(Concept.NIPPLE, 1.0)]
    assert named(halves) == []
    # Whoever overlooks or confuses nothing has nothing to name either.
    for seed in range(20):
        given = simulated_experts.simulate_annotation([], RNG(seed), careful=False)
        assert given["recognisable"] == "nothing"
