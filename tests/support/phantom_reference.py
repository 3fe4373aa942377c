"""Reference of the phantom: a seed gives the same study on every machine and in every release.

The stored numbers were written by this module for the phantom whose images the documentation
and the demonstration show. They are no truth about breasts: they show a change of the drawing.
Write them again (`PYTHONPATH=.:tests python -m support.phantom_reference`) only for a phantom that
is meant to be another one, and say so in the change log.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.sources import phantom
from core.sources.phantom import anatomy, rendering
from core.sources.phantom.concepts import Concept
from core.sources.phantom.findings import APPEARANCES, draw_finding

FILE = Path(__file__).parents[1] / "data" / "phantom_reference.json"


def fingerprint(array: np.ndarray) -> list[float]:
    """Return sums of an array, plain, of magnitudes, and weighted by two waves over its positions.

    The second one is the scale of differences that rounding may cause.
    """
    flat = np.asarray(array, float).ravel()
    place = np.arange(flat.size)
    waves = (np.ones(flat.size), None, np.cos(0.37 * place), np.sin(0.011 * place))
    return [float(np.abs(flat).sum() if w is None else flat @ w) for w in waves]


def describe() -> dict[str, Any]:
    """Return the fingerprints of findings, anatomy, views and whole patients."""
    return {
        "findings": _findings(),
        "anatomy": {name: _anatomy(*name.split("_")) for name in ("1_CC", "3_MLO", "4_CC")},
        "views": [_view("LEFT_MLO", (150, 96)), _view("RIGHT_CC", (200, 512))],
        "patients": _patients(),
        "drawn": [_drawn(seed=5), _drawn(seed=6, sides=2, swap=0.3, marker=0.4, malignant=0.5)],
    }


def _findings() -> dict[str, Any]:
    v, u = np.meshgrid(*[np.linspace(-2.2, 2.2, 61)] * 2, indexing="ij")
    found = {}
    for appearance in APPEARANCES:
        for seed in range(2):
            rng = np.random.default_rng(seed)
            exposure, outline = draw_finding(rng, appearance, u, v, 0.4)
            name = f"{str(appearance.concept.name).lower()} {seed}"
            found[name] = [fingerprint(exposure), fingerprint(outline)]
    return found


def _anatomy(density: str, view: str) -> dict[str, Any]:
    mlo = view == "MLO"
    rng = np.random.default_rng(int(density))
    body = anatomy.sample_breast_parameters(rng, int(density))
    breast = anatomy.make_breast(rng, body, mlo, (102, 64))
    gland, net = anatomy.parenchyma(rng, breast, body, mlo)
    fibres, vessels = anatomy.linear_structures(rng, breast)
    muscle = anatomy.pectoral_exposure(rng, breast, gland)
    exposure = rendering._exposure(rng, breast, body, gland, net, fibres, vessels)
    grey = rendering._develop(rng, exposure, breast.thickness, body)
    arrays = {
        "distance": breast.distance,
        "thickness": breast.thickness,
        "pectoral": breast.pectoral,
        "gland": gland,
        "net": net,
        "fibres": fibres,
        "vessels": vessels,
        "muscle": muscle,
        "exposure": exposure,
        "grey": grey,
    }
    return {
        "body": [float(value) for value in vars(body).values()],
        "nipple": [float(value) for value in breast.nipple],
        **{name: fingerprint(array) for name, array in arrays.items()},
    }


def _view(name: str, shape: tuple[int, int]) -> dict[str, Any]:
    body = anatomy.sample_breast_parameters(np.random.default_rng(9), 2)
    lesions = [
        rendering.Lesion(
            appearance=appearance,
            pathology="BENIGN",
            description="",
            assessment=3,
            subtlety=1 + number % 5,
            radius=0.05,
            depth=0.3,
            seed=number,
            marked=number % 4 == 0,
        )
        for number, appearance in enumerate(APPEARANCES)
    ]
    view = rendering.render_view([3, 1], name, body, lesions, shape, 1.2, 6.0)
    return {
        "pixels": fingerprint(view.pixels),
        "concepts": _concept_counts(view.concepts),
        "outlines": [fingerprint(outline) for outline in view.outlines],
    }


def _concept_counts(concepts: np.ndarray) -> list[int]:
    return [int(((concepts & int(concept)) > 0).sum()) for concept in Concept]


def _patients() -> list[dict[str, Any]]:
    options = {"width": 64, "sides": 2, "swap": 0.4, "marker": 0.8, "mimics": 2.0}
    tasks, _ = phantom.list_tasks(patients=6, seed=11, **options)
    rows = []
    for patient in map(phantom.read_patient, tasks):
        rows.append(
            {
                "id": patient.id,
                "age": patient.age,
                "density": patient.density,
                "features": patient.features,
                "stratum": patient.stratum,
                "mammograms": [
                    {
                        "id": m.id,
                        "side": [m.laterality, m.view, m.scanner, m.source_file],
                        "pixels": fingerprint(m.pixels),
                        "concepts": _concept_counts(m.concepts),  # type: ignore[arg-type]
                        "findings": [
                            [
                                *(f.number, f.pathology, f.lesion_type, f.descriptors),
                                *(f.assessment, f.subtlety, f.report),
                                fingerprint(f.outline[0]),
                            ]
                            for f in m.findings
                        ],
                    }
                    for m in patient.mammograms
                ],
            }
        )
    return rows


def _drawn(**options: float) -> dict[str, Any]:
    """Return sums over what is drawn at random for 300 patients whose images are not rendered."""
    lesions: list[rendering.Lesion] = []

    def render_nothing(_seed: object, _name: str, _body: object, own: list, *_: object) -> Any:
        lesions.extend(own)
        blank = np.zeros((2, 2), np.uint8)
        return rendering.RenderedView(blank, blank, tuple(np.zeros((3, 2)) for _ in own))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "render_view", render_nothing)
        tasks, _ = phantom.list_tasks(patients=300, **options)
        patients = [phantom.read_patient(task) for task in tasks]
    names = [str(lesion.appearance.concept.name) for lesion in lesions]
    return {
        "ages": fingerprint(np.array([patient.age for patient in patients])),
        "densities": fingerprint(np.array([patient.density for patient in patients])),
        "risks": fingerprint(np.array([patient.features["risk"] for patient in patients])),
        "strata": dict(sorted(Counter(str(patient.stratum) for patient in patients).items())),
        "sides": dict(sorted(Counter(m.id[9:] for p in patients for m in p.mammograms).items())),
        "appearances": dict(sorted(Counter(names).items())),
        "pathologies": dict(sorted(Counter(lesion.pathology for lesion in lesions).items())),
        "descriptions": dict(sorted(Counter(lesion.description for lesion in lesions).items())),
        **{
            name: fingerprint(np.array([getattr(lesion, name) for lesion in lesions]))
            for name in ("assessment", "subtlety", "radius", "depth", "seed", "marked")
        },
    }


def _rounded(value: Any) -> Any:
    """Return a nested value with numbers of seven digits, which keeps the file small."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


if __name__ == "__main__":
    FILE.write_text(json.dumps(_rounded(describe())) + "\n")
