"""Synthetic patients with findings, BI-RADS words, reports and concept masks: the source `phantom`.

Drawing belongs in the modules of this package, storage in `core.pipeline.ingest`. A seed gives the
same study on every machine. A finding has an appearance of its own pathology, except for the share
`swap`, which has one of the other pathology. Age and the feature `risk` are weakly associated with
malignancy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.sources.conventions import parse_lesion_type
from core.sources.phantom.anatomy import sample_breast_parameters
from core.sources.phantom.findings import APPEARANCES
from core.sources.phantom.rendering import Lesion, RenderedView, render_view
from core.sources.records import Finding, Mammogram, Patient, Problem

SIMULATED = True
TRUTH_BASIS = "synthetic"
_PATIENT_KINDS = ("normal", "benign", "malignant")


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """Settings of a phantom study.

    width: of the mammograms, pixels. aspect: height over width. sides: breasts per patient, with
    two views each. swap: share of findings with an appearance of the other pathology. contrast:
    factor on every finding. mimics: mean number of harmless specks per view (and a third as many
    shadows). normal, malignant: shares of patients. marker: share of malignant findings with a ring
    on the skin beside them; of the others a tenth of this share has one.
    """

    width: int = 256
    aspect: float = 1.6
    sides: int = 1
    swap: float = 0.12
    contrast: float = 1.0
    mimics: float = 3.0
    normal: float = 0.25
    malignant: float = 0.40
    marker: float = 0.0


@dataclass(frozen=True)
class PhantomTask:
    """One patient to draw."""

    patient: str
    seed: int
    index: int
    settings: PhantomSettings


def list_tasks(
    path: Path | None = None,
    patients: int = 200,
    seed: int = 1,
    skip_bad: bool = False,
    **settings: float,
) -> tuple[list[PhantomTask], list[Problem]]:
    """Return one task per patient, and no problems.

    settings: fields of `PhantomSettings`, such as width. skip_bad: accepted for the common
    interface and without effect. UserError for a path and for invalid values.
    """
    if path is not None:
        raise UserError(
            f"The phantom source draws its own mammograms and takes no path: leave out {path}."
        )
    phantom_settings = PhantomSettings(**settings)  # type: ignore[arg-type]
    if patients < 1 or phantom_settings.width < 64 or phantom_settings.sides not in (1, 2):
        given = f"{patients}, {phantom_settings.width} and {phantom_settings.sides}"
        raise UserError(
            "A phantom study needs at least 1 patient, 64 px width and 1 or 2 sides; given were"
            f" {given}: correct them."
        )
    normal, malignant = phantom_settings.normal, phantom_settings.malignant
    if min(normal, malignant) < 0 or normal + malignant > 1:
        raise UserError(
            f"The phantom's shares of normal ({normal}) and malignant ({malignant}) patients exceed"
            " 1 together."
        )
    if not 0 <= phantom_settings.marker <= 1:
        raise UserError(
            f"The phantom's share of marked findings is {phantom_settings.marker}; give a number"
            " between 0 and 1."
        )
    ids = (f"S_{index + 1:04d}_1" for index in range(patients))
    return [PhantomTask(name, seed, k, phantom_settings) for k, name in enumerate(ids)], []


def task_files(task: PhantomTask) -> list[Path]:
    """Return no file: a phantom is determined by its seed."""
    return []


def read_patient(task: PhantomTask) -> Patient:
    """Draw one patient; about .06 s per view at a width of 256 pixels."""
    # Seeded by patient: neither the number of patients nor the worker affects a phantom.
    settings, rng = task.settings, np.random.default_rng([task.seed, task.index])
    shape = (round(settings.width * settings.aspect), settings.width)
    shares = [settings.normal, 1 - settings.normal - settings.malignant, settings.malignant]
    kind = int(rng.choice(3, p=shares))
    age = int(np.clip(rng.normal((53, 53, 59)[kind], 11), 35, 88))
    # Density falls with age, as in screening populations.
    density = int(np.clip(round(rng.normal(2.35 - 0.025 * (age - 55), 0.8)), 1, 4))
    breast = sample_breast_parameters(rng, density)
    # Once per patient, because CC and MLO show the same findings.
    lesions = _draw_lesions(rng, kind, settings, breast.depth)
    sides = [str(side) for side in rng.permutation(["LEFT", "RIGHT"])][: settings.sides]
    mammograms = []
    for s, side in enumerate(sides):
        view_lesions = lesions if s == 0 else []
        for v, view in enumerate(("CC", "MLO")):
            rendered = render_view(
                [task.seed, task.index, s, v],
                f"{side}_{view}",
                breast,
                view_lesions,
                shape,
                settings.contrast,
                settings.mimics,
            )
            mammograms.append(_mammogram(task, side, view, rendered, view_lesions))
    risk = float(round(rng.normal(0.45 * (kind == 2), 1), 3))
    swapped = any(
        lesion.appearance.malignant != (lesion.pathology == "MALIGNANT") for lesion in lesions
    )
    # The text is the key by which the split is stratified: a change of it changes the split.
    stratum = _PATIENT_KINDS[kind]
    stratum += ", with a finding that looks like the other pathology" if swapped else ""
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        age=age,
        density=breast.density,
        features={"risk": risk},
        stratum=stratum,
    )


def _mammogram(
    task: PhantomTask, side: str, view: str, rendered: RenderedView, lesions: list[Lesion]
) -> Mammogram:
    """Return the mammogram record of a view."""
    findings = []
    for number, (lesion, outline) in enumerate(zip(lesions, rendered.outlines), start=1):
        lesion_type, descriptors = parse_lesion_type(lesion.description)
        report = (
            f"{lesion.description} ASSESSMENT {lesion.assessment} SUBTLETY {lesion.subtlety}"
            f" PATHOLOGY {lesion.pathology}"
        )
        findings.append(
            Finding(
                number=number,
                pathology=lesion.pathology,
                lesion_type=lesion_type,
                descriptors=descriptors,
                assessment=lesion.assessment,
                subtlety=lesion.subtlety,
                outline=(outline,),
                report=report,
            )
        )
    return Mammogram(
        id=f"{task.patient}.{side}_{view}",
        laterality=side,
        view=view,
        pixels=rendered.pixels,
        maximum=255,
        findings=tuple(findings),
        scanner="phantom",
        file_hash=hashlib.sha256(rendered.pixels.tobytes()).hexdigest(),
        source_file=f"phantom, seed {task.seed}",
        concepts=rendered.concepts,
    )


def _draw_lesions(
    rng: np.random.Generator, kind: int, settings: PhantomSettings, depth: float
) -> list[Lesion]:
    """Return one to three findings of the patient's kind.

    A malignant patient also has a benign finding with probability .25.
    """
    number = int(rng.choice([1, 2, 3], p=[0.68, 0.26, 0.06]))
    lesions = [_draw_lesion(rng, kind == 2, settings, depth) for _ in range(number if kind else 0)]
    if kind == 2 and rng.uniform() < 0.25:
        lesions.append(_draw_lesion(rng, False, settings, depth))
    return lesions


def _draw_lesion(
    rng: np.random.Generator, malignant: bool, settings: PhantomSettings, depth: float
) -> Lesion:
    """Return a finding whose appearance is of the other pathology with probability `swap`."""
    # Appearances of the other pathology bound the accuracy that a classifier can reach.
    swapped = bool(rng.uniform() < settings.swap)
    choices = [kind for kind in APPEARANCES if kind.malignant == (malignant != swapped)]
    weights = np.array([kind.weight for kind in choices])
    appearance = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
    subtlety = int(rng.choice([1, 2, 3, 4, 5], p=[0.08, 0.18, 0.30, 0.26, 0.18]))
    harmless = not malignant and not appearance.malignant and rng.uniform() < 0.25
    if harmless:
        pathology, assessment = "BENIGN_WITHOUT_CALLBACK", 2
    else:
        pathology = "MALIGNANT" if malignant else "BENIGN"
        assessment = int(rng.choice([0, 4, 4, 5] if appearance.malignant else [0, 2, 3, 3, 4]))
    description = str(rng.choice(appearance.descriptions))
    radius = float(rng.uniform(*appearance.radius))
    distance = depth * float(rng.uniform(0.2, 0.85))
    seed = int(rng.integers(2**31))
    # A stream of its own: the patient is the same with and without markers.
    share = settings.marker * (1.0 if malignant else 0.1)
    return Lesion(
        appearance=appearance,
        pathology=pathology,
        description=description,
        assessment=assessment,
        subtlety=subtlety,
        radius=radius,
        depth=distance,
        seed=seed,
        marked=bool(np.random.default_rng([seed, 3]).uniform() < share),
    )
