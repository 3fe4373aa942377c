from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import phantom
from core.sources.conventions import parse_lesion_type
from core.sources.phantom import rendering
from core.sources.phantom.concepts import CONCEPT_DESCRIPTIONS, FINDING_CONCEPTS, Concept
from core.sources.phantom.findings import APPEARANCES, draw_finding
from core.sources.phantom.shapes import rasterize_curves
from core.sources.records import PATHOLOGIES, Patient


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    tasks, problems = phantom.list_tasks(patients=20, width=128, seed=2)
    assert problems == []
    return [phantom.read_patient(task) for task in tasks]


def test_two_complete_views_per_patient(patients: list[Patient]) -> None:
    assert phantom.SIMULATED
    assert [p.id for p in patients[:2]] == ["S_0001_1", "S_0002_1"] and len(
        {m.id for p in patients for m in p.mammograms}
    ) == 40
    for patient in patients:
        cc, mlo = patient.mammograms
        assert (
            (cc.view, mlo.view) == ("CC", "MLO")
            and cc.laterality == mlo.laterality
            and cc.id == f"{patient.id}.{cc.laterality}_CC"
        )
        assert (
            cc.pixels.shape == (205, 128)
            and cc.pixels.dtype == np.uint8
            and cc.concepts.dtype == np.uint32
            and cc.maximum == 255
        )
        assert (
            patient.age
            and 35 <= patient.age <= 88
            and patient.density in (1, 2, 3, 4)
            and isinstance(patient.features["risk"], float)
        )
        assert len(cc.file_hash) == 64 and cc.file_hash != mlo.file_hash
        for mammogram in patient.mammograms:
            assert (
                mammogram.concepts & int(Concept.VIEW_LABEL)
            ).any() and mammogram.pixels.max() > 150


def test_findings_have_descriptors_outlines_and_reports(patients: list[Patient]) -> None:
    findings = [(m, f) for p in patients for m in p.mammograms for f in m.findings]
    assert len(findings) > 20
    seen = 0
    for mammogram, finding in findings:
        assert (
            finding.pathology in PATHOLOGIES
            and finding.lesion_type in ("MASS", "CALCIFICATION")
            and finding.descriptors
        )
        assert f"PATHOLOGY {finding.pathology}" in finding.report and finding.report.startswith(
            f"LESION_TYPE {finding.lesion_type}"
        )
        mask = fill_polygons(finding.outline, mammogram.pixels.shape)
        bits = int(np.bitwise_or.reduce(mammogram.concepts[mask])) & int(sum(FINDING_CONCEPTS))
        assert bits, "an outline covers its concept"
        seen |= bits
        inside, around = mammogram.pixels[mask].mean(), mammogram.pixels.mean()
        assert inside > around, "a finding lies in tissue"
    assert seen.bit_count() >= 8


def draw_some(monkeypatch: pytest.MonkeyPatch, is_drawn: Callable[..., bool]) -> None:
    """Leave the views empty for which `is_drawn(name, lesions)` does not hold."""
    render = phantom.render_view

    def render_some(seed, name, breast, lesions, shape, *more):
        if is_drawn(name, lesions):
            return render(seed, name, breast, lesions, shape, *more)
        outlines = tuple(np.zeros((3, 2)) for _ in lesions)
        return rendering.RenderedView(np.zeros(shape, np.uint8), np.zeros(shape, int), outlines)

    monkeypatch.setattr(phantom, "render_view", render_some)


def test_class_and_stratum_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_some(monkeypatch, lambda name, lesions: False)
    tasks, _ = phantom.list_tasks(patients=120, width=64, seed=9)
    kinds, swapped, abnormal = Counter(), 0, 0
    for task in tasks:
        patient = phantom.read_patient(task)
        pathologies = {f.pathology for f in patient.mammograms[0].findings}
        kind = "malignant" if "MALIGNANT" in pathologies else "benign" if pathologies else "normal"
        assert patient.stratum and patient.stratum.startswith(kind)
        kinds[kind] += 1
        swapped += "looks like" in patient.stratum
        abnormal += bool(pathologies)
    assert abs(kinds["normal"] - 30) < 15 and abs(kinds["malignant"] - 48) < 16
    assert 0.07 < swapped / abnormal < 0.28


def test_seed_determines_study(patients: list[Patient]) -> None:
    (again, *_), _ = phantom.list_tasks(patients=5, width=128, seed=2)
    other = phantom.list_tasks(patients=1, width=128, seed=3)[0][0]
    assert (
        phantom.read_patient(again).mammograms[0].pixels == patients[0].mammograms[0].pixels
    ).all()
    assert (
        phantom.read_patient(other).mammograms[0].pixels != patients[0].mammograms[0].pixels
    ).any()


def test_width_keeps_anatomy(patients: list[Patient]) -> None:
    wide = (
        phantom.read_patient(phantom.list_tasks(patients=1, width=256, seed=2)[0][0])
        .mammograms[0]
        .pixels[::2, ::2]
    )
    rows = min(len(wide), len(patients[0].mammograms[0].pixels))
    assert (
        np.corrcoef(wide[:rows].ravel(), patients[0].mammograms[0].pixels[:rows].ravel())[0, 1]
        > 0.95
    )


def test_wide_mammograms_keep_anatomy() -> None:
    """Anatomy of wide mammograms is drawn at half their size."""
    task = phantom.list_tasks(patients=1, width=516, seed=2)[0][0]
    small = phantom.list_tasks(patients=1, width=258, seed=2)[0][0]
    wide, narrow = (phantom.read_patient(t).mammograms[1] for t in (task, small))
    assert wide.pixels.shape == wide.concepts.shape == (826, 516)
    rows = narrow.pixels.shape[0]
    halved = wide.pixels[: 2 * rows].reshape(rows, 2, 258, 2).mean((1, 3))
    assert np.corrcoef(halved.ravel(), narrow.pixels.ravel())[0, 1] > 0.98
    both = (wide.concepts[::2, ::2][:rows] & Concept.PECTORAL_MUSCLE) > 0
    muscle = (narrow.concepts & Concept.PECTORAL_MUSCLE) > 0
    assert (both & muscle).sum() > 0.9 * (both | muscle).sum() > 0


def test_skin_markers_lie_beside_malignant_findings() -> None:
    def patients(share: float) -> list[Patient]:
        tasks, _ = phantom.list_tasks(patients=14, width=64, seed=5, marker=share)
        return [phantom.read_patient(task) for task in tasks]

    marked = 0
    for plain, other in zip(patients(0.0), patients(1.0), strict=True):
        for a, b in zip(plain.mammograms, other.mammograms, strict=True):
            ring = (b.concepts & Concept.SKIN_MARKER) > 0
            assert not (a.concepts & Concept.SKIN_MARKER).any()
            assert (a.pixels == b.pixels)[~ring].mean() > 0.99, "the rest is the same mammogram"
            malignant = any(f.pathology == "MALIGNANT" for f in b.findings)
            assert ring.any() >= malignant
            marked += ring.any()
            if malignant:
                assert b.pixels[ring].mean() > a.pixels[ring].mean() + 10
    assert 4 <= marked < 24


def test_without_swap_appearance_matches_pathology(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_benign_cc(name: str, lesions: list) -> bool:
        return name.endswith("CC") and any(lesion.pathology != "MALIGNANT" for lesion in lesions)

    draw_some(monkeypatch, is_benign_cc)
    tasks, _ = phantom.list_tasks(patients=25, width=64, seed=4, swap=0.0)
    benign = sum(int(appearance.concept) for appearance in APPEARANCES if not appearance.malignant)
    for task in tasks:
        patient = phantom.read_patient(task)
        assert "looks like" not in (patient.stratum or "")
        bits = int(np.bitwise_or.reduce(patient.mammograms[0].concepts, axis=None)) & int(
            sum(FINDING_CONCEPTS)
        )
        if patient.stratum == "benign":
            assert bits and not bits & ~benign


def test_two_sides() -> None:
    patient = phantom.read_patient(phantom.list_tasks(patients=1, width=64, seed=1, sides=2)[0][0])
    assert {(m.laterality, m.view) for m in patient.mammograms} == {
        (s, v) for s in ("LEFT", "RIGHT") for v in ("CC", "MLO")
    }


def test_concept_descriptions() -> None:
    assert set(CONCEPT_DESCRIPTIONS) == set(Concept) and len(
        {description.label for description in CONCEPT_DESCRIPTIONS.values()}
    ) == len(Concept)
    for appearance in APPEARANCES:
        assert CONCEPT_DESCRIPTIONS[appearance.concept].association == (
            "suspicious" if appearance.malignant else "benign"
        )
        for line in appearance.descriptions:
            kind, descriptors = parse_lesion_type(line)
            assert kind in ("MASS", "CALCIFICATION") and "other" not in descriptors


def test_invalid_input(tmp_path: object) -> None:
    for invalid in (
        {"patients": 0},
        {"width": 8},
        {"sides": 3},
        {"normal": 0.8, "malignant": 0.4},
        {"marker": 1.5},
    ):
        with pytest.raises(UserError):
            phantom.list_tasks(**invalid)
    with pytest.raises(UserError, match="takes no path"):
        phantom.list_tasks(tmp_path)


@pytest.mark.parametrize("appearance", APPEARANCES, ids=lambda a: str(a.concept.name).lower())
def test_a_finding_is_bright_within_its_outline_and_fades_outside(appearance) -> None:
    n, reach = 121, 3.0
    v, u = np.meshgrid(*[np.linspace(-reach, reach, n)] * 2, indexing="ij")
    for seed in range(3):
        exposure, outline = draw_finding(np.random.default_rng(seed), appearance, u, v, 0.4)
        assert exposure.shape == (n, n) and np.isfinite(exposure).all()
        inside = fill_polygons([(outline + reach) * (n - 1) / (2 * reach)], (n, n))
        assert exposure[inside].mean() > 0.02 > 5 * abs(exposure[np.hypot(u, v) > 2.7]).mean()
        assert exposure[inside].mean() > 4 * abs(exposure[~inside]).mean()
        # A lucent halo is the only darker part.
        assert exposure.min() > -0.25


def test_rays_of_a_spiculated_mass_are_bright_beyond_its_core() -> None:
    n = 121
    v, u = np.meshgrid(*[np.linspace(-2, 2, n)] * 2, indexing="ij")
    distance = np.hypot(u, v)
    ring = (distance > 0.9) & (distance < 1.3)
    for appearance in APPEARANCES:
        if appearance.concept in (Concept.SPICULATED_MASS, Concept.ARCHITECTURAL_DISTORTION):
            exposure, _ = draw_finding(np.random.default_rng(1), appearance, u, v, 0.0)
            assert exposure[ring].max() > 0.2 and exposure[ring].min() >= 0


def test_lines_lie_where_they_are_drawn() -> None:
    """The centre of mass of a straight line that fades equally at both ends is its middle."""
    start, end = np.array([0.21, 0.33]), np.array([0.73, 0.57])
    curve = start + np.linspace(0, 1, 1000)[:, None] * (end - start)
    canvas = rasterize_curves(curve[None], np.array([0.5]), 1.0, 0.004, (120, 160))
    y, x = np.mgrid[:120, :160]
    centre = [(canvas * axis).sum() / canvas.sum() for axis in (x, y)]
    assert centre == pytest.approx((start + end) / 2 * 160, abs=0.1)
    # The peak of the profile lies on the line, of half a pixel or more in width.
    middle = canvas[round(centre[1]), round(centre[0])]
    assert middle == pytest.approx(0.5, rel=0.25)
    assert canvas[:40].sum() == pytest.approx(0, abs=1e-6) and canvas.min() >= 0


def test_mimics_lie_between_the_chest_wall_and_the_nipple(monkeypatch: pytest.MonkeyPatch) -> None:
    centres: list[tuple[float, float]] = []

    def record(b, at, radius):
        centres.append(at)
        return np.s_[:2, :2], *np.meshgrid([0.0, 1.0], [0.0, 1.0])

    monkeypatch.setattr(rendering, "_window", record)
    monkeypatch.setattr(rendering, "calcification_specks", lambda *_, **__: np.ones((2, 2)))
    monkeypatch.setattr(rendering, "mass_shape", lambda *_: (np.zeros((2, 2)), None))
    exposure = np.zeros((60, 40))
    breast = SimpleNamespace(nipple=(0.5, 0.9), thickness=np.ones((60, 40)))
    rendering._add_mimics(np.random.default_rng(1), breast, exposure, 90.0)  # type: ignore[arg-type]
    x, y = np.array(centres).T
    assert len(centres) > 80 and 0.02 <= x.min() < 0.05 and 0.45 < x.max() <= 0.5
    assert 0.05 <= y.min() < 0.1 and 1.4 < y.max() <= 1.45
    # Three in four are specks; the shadows have no weight here.
    assert exposure[0, 0] == len(centres) - -(-len(centres) // 4)


def test_specks_of_mimics_have_one_size_on_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their half-size is .003 of the width, their peaks .2 to .6, and one in five is hollow."""
    radii: list[float] = []
    specks: list[tuple] = []
    shadows: list[tuple] = []

    def window(b, at, radius):
        radii.append(radius)
        return np.s_[:2, :2], *np.meshgrid([0.0, 1.0], [0.0, 1.0])

    def speck(u, v, at, size, peak, *, rim):
        specks.append((size, peak, rim, at.tolist()))
        return np.zeros((2, 2))

    def shadow(rng, u, v, *shape):
        shadows.append(shape)
        return np.ones((2, 2)), None

    monkeypatch.setattr(rendering, "_window", window)
    monkeypatch.setattr(rendering, "calcification_specks", speck)
    monkeypatch.setattr(rendering, "mass_shape", shadow)
    exposure = np.zeros((60, 40))
    breast = SimpleNamespace(nipple=(0.5, 0.9), thickness=np.full((60, 40), 0.5))
    rendering._add_mimics(np.random.default_rng(1), breast, exposure, 90.0)  # type: ignore[arg-type]
    size, peak, rim, at = zip(*specks)
    assert np.array(size) * radii == pytest.approx(np.full(len(radii), 0.003))
    assert 0.02 <= min(radii) < 0.025 and 0.055 < max(radii) <= 0.06
    assert 0.2 <= min(peak) < 0.25 and 0.55 < max(peak) <= 0.6
    assert 0.1 < np.mean(rim) < 0.3 and set(map(str, at)) == {"[[0.0, 0.0]]"}
    assert {shape[:3] for shape in shadows} == {(0.9, 0.12, 1.2)}
    ovals = [shape[3] for shape in shadows]
    assert 0.5 <= min(ovals) < 0.55 and 0.95 < max(ovals) <= 1
    # Every fourth is a shadow of .12 at a thickness of a half.
    assert exposure[1, 1] == pytest.approx(-(-len(radii) // 4) * 0.06)


@pytest.mark.parametrize(
    ("at", "rows", "columns"),
    [
        # 2.2 radii of .05 are 5.5 of 50 columns; the square has 11 and 3 more.
        ((0.5, 1.0), (44, 58), (19, 33)),
        ((0.01, 0.02), (0, 14), (0, 14)),
        # At least three rows and columns remain.
        ((1.2, 2.5), (97, 100), (47, 50)),
    ],
)
def test_windows_about_a_point(at: tuple, rows: tuple, columns: tuple) -> None:
    y, x = np.mgrid[:100, :50] / 50
    box, u, v = rendering._window(SimpleNamespace(x=x, y=y), at, 0.05)  # type: ignore[arg-type]
    assert np.array_equal(x[box], x[slice(*rows), slice(*columns)])
    assert np.array_equal(y[box], y[slice(*rows), slice(*columns)])
    assert u == pytest.approx((x[box] - at[0]) / 0.05)
    assert v == pytest.approx((y[box] - at[1]) / 0.05)


def test_names_of_stored_concepts() -> None:
    """Stored masks hold these bits, and forms these terms of the lexicon."""
    assert [concept.value for concept in Concept] == [2**k for k in range(18)]
    rows = {
        concept.name: (text.category, text.descriptors, text.association)
        for concept, text in CONCEPT_DESCRIPTIONS.items()
    }
    calcification, other, mass = "calcification", "other", "mass"
    benign, suspicious, marker = "benign", "suspicious", (("structure", "marker or artefact"),)
    expected = {
        "CIRCUMSCRIBED_MASS": (mass, (("margin", "circumscribed"), ("shape", "oval")), benign),
        "LOBULAR_MASS": (mass, (("margin", "obscured"), ("shape", "oval")), benign),
        "LYMPH_NODE": (other, (("structure", "lymph node"),), benign),
        "VASCULAR_CALCIFICATION": (calcification, (("type", "vascular"),), benign),
        "COARSE_CALCIFICATION": (calcification, (("type", "coarse (popcorn)"),), benign),
        "ROUND_CALCIFICATION": (
            *(calcification, (("type", "round"), ("distribution", "regional"))),
            benign,
        ),
        "SPICULATED_MASS": (mass, (("margin", "spiculated"), ("shape", "irregular")), suspicious),
        "PLEOMORPHIC_CLUSTER": (
            *(calcification, (("type", "fine pleomorphic"), ("distribution", "grouped"))),
            suspicious,
        ),
        "FINE_LINEAR_CLUSTER": (
            *(calcification, (("type", "fine linear or branching"), ("distribution", "linear"))),
            suspicious,
        ),
        "ARCHITECTURAL_DISTORTION": ("distortion", (), suspicious),
        "PECTORAL_MUSCLE": (other, (("structure", "pectoral muscle"),), benign),
        "NIPPLE": (other, (("structure", "nipple"),), benign),
        "SKIN_LINE": (other, (("structure", "edge or fold"),), benign),
        "DENSE_TISSUE": ("composition", (("density", "heterogeneously dense"),), benign),
        "FATTY_TISSUE": ("composition", (("density", "almost entirely fatty"),), benign),
        "VESSEL": (other, (("structure", "uncalcified vessel"),), benign),
        "VIEW_LABEL": (other, marker, benign),
        "SKIN_MARKER": (other, marker, benign),
    }
    assert rows == expected and [c.name for c in FINDING_CONCEPTS] == list(expected)[:10]
