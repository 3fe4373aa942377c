"""Synthetic patients: two views each, with findings, BI-RADS words, reports and a concept mask per
pixel. A seed gives the same study everywhere.

The rule behind the pathology: a finding looks like its own pathology, except for the share `swap`,
which looks like the other one; age and the feature `risk` are weakly tied to malignancy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.sources.birads import read_lesion_words
from core.sources.phantom.anatomy import make_body
from core.sources.phantom.findings import LOOKS
from core.sources.phantom.rendering import Lesion, View, render
from core.sources.phantom.shapes import Rng
from core.sources.records import Finding, Mammogram, Patient, Problem

simulated = True
KINDS = ("normal", "benign", "malignant")


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """What changes a study. width: of the films, px; aspect: height over width; sides: breasts with
    films per patient, two views each; swap: share of findings with the other pathology's look;
    contrast: factor on every finding; mimics: harmless specks per view (and a third as many
    shadows); normal, malignant: shares of patients.
    """

    width: int = 256
    aspect: float = 1.6
    sides: int = 1
    swap: float = 0.12
    contrast: float = 1.0
    mimics: float = 3.0
    normal: float = 0.25
    malignant: float = 0.40


@dataclass(frozen=True)
class PhantomTask:
    """One patient to be drawn."""

    patient: str
    seed: int
    index: int
    settings: PhantomSettings


def tasks(
    path: Path | None = None,
    patients: int = 200,
    seed: int = 1,
    skip_bad: bool = False,
    **settings: float,
) -> tuple[list[PhantomTask], list[Problem]]:
    """A task per patient; settings: fields of PhantomSettings, such as width; skip_bad changes
    nothing, a phantom has no bad patients. UserError for a path or for values that make no study.
    """
    if path is not None:
        raise UserError(
            f"The phantom source draws its own films and takes no path: leave out {path}."
        )
    chosen = PhantomSettings(**settings)  # type: ignore[arg-type]
    if patients < 1 or chosen.width < 64 or chosen.sides not in (1, 2):
        given = f"{patients}, {chosen.width} and {chosen.sides}"
        raise UserError(
            "A phantom study needs at least 1 patient, 64 px width and 1 or 2 sides; given were"
            f" {given}: correct them."
        )
    if min(chosen.normal, chosen.malignant) < 0 or chosen.normal + chosen.malignant > 1:
        raise UserError(
            f"The phantom's shares of normal ({chosen.normal}) and malignant ({chosen.malignant})"
            " patients exceed 1 together."
        )
    return [
        PhantomTask(f"S_{index + 1:04d}_1", seed, index, chosen) for index in range(patients)
    ], []


def files(task: PhantomTask) -> list[Path]:
    """None: a phantom comes from its seed."""
    return []


def read(task: PhantomTask) -> Patient:
    """Draw one patient. About .06 s a view at 256 px."""
    settings, rng = task.settings, np.random.default_rng([task.seed, task.index])
    shape = (round(settings.width * settings.aspect), settings.width)
    kind = int(
        rng.choice(
            3, p=[settings.normal, 1 - settings.normal - settings.malignant, settings.malignant]
        )
    )
    age = int(np.clip(rng.normal((53, 53, 59)[kind], 11), 35, 88))
    body = make_body(rng, int(np.clip(round(rng.normal(2.35 - 0.025 * (age - 55), 0.8)), 1, 4)))
    lesions = _lesions(rng, kind, settings, body.depth)
    sides = [str(side) for side in rng.permutation(["LEFT", "RIGHT"])][: settings.sides]
    mammograms = []
    for s, side in enumerate(sides):
        for v, view in enumerate(("CC", "MLO")):
            shown = lesions if s == 0 else []
            drawn = render(
                [task.seed, task.index, s, v],
                f"{side}_{view}",
                body,
                shown,
                shape,
                settings.contrast,
                settings.mimics,
            )
            mammograms.append(_mammogram(task, side, view, drawn, shown))
    features: dict[str, float | str] = {"risk": float(round(rng.normal(0.45 * (kind == 2), 1), 3))}
    odd = any(lesion.look.malignant != (lesion.pathology == "MALIGNANT") for lesion in lesions)
    stratum = KINDS[kind] + (", with a finding that looks like the other pathology" if odd else "")
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        age=age,
        density=body.density,
        features=features,
        stratum=stratum,
    )


def _mammogram(
    task: PhantomTask, side: str, view: str, drawn: View, lesions: list[Lesion]
) -> Mammogram:
    """A view as ingestion wants it."""
    findings = []
    for number, (lesion, outline) in enumerate(zip(lesions, drawn.outlines), start=1):
        kind, descriptors = read_lesion_words(lesion.words)
        report = (
            f"{lesion.words} ASSESSMENT {lesion.assessment} SUBTLETY {lesion.subtlety} PATHOLOGY"
            f" {lesion.pathology}"
        )
        findings.append(
            Finding(
                number=number,
                pathology=lesion.pathology,
                lesion_type=kind,
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
        pixels=drawn.pixels,
        maximum=255,
        findings=tuple(findings),
        scanner="phantom",
        file_hash=hashlib.sha256(drawn.pixels.tobytes()).hexdigest(),
        source_file=f"phantom, seed {task.seed}",
        concepts=drawn.concepts,
    )


def _lesions(rng: Rng, kind: int, settings: PhantomSettings, depth: float) -> list[Lesion]:
    """One to three findings of the patient's kind; a malignant patient has a benign one besides in
    a quarter of cases.
    """
    number = int(rng.choice([1, 2, 3], p=[0.68, 0.26, 0.06]))
    lesions = [_lesion(rng, kind == 2, settings, depth) for _ in range(number if kind else 0)]
    if kind == 2 and rng.uniform() < 0.25:
        lesions.append(_lesion(rng, False, settings, depth))
    return lesions


def _lesion(rng: Rng, malignant: bool, settings: PhantomSettings, depth: float) -> Lesion:
    """A finding with a look of its own pathology or, with probability `swap`, of the other one."""
    swapped = bool(rng.uniform() < settings.swap)
    choice = [look for look in LOOKS if look.malignant == (malignant != swapped)]
    weights = np.array([look.weight for look in choice])
    look = choice[int(rng.choice(len(choice), p=weights / weights.sum()))]
    subtlety = int(rng.choice([1, 2, 3, 4, 5], p=[0.08, 0.18, 0.30, 0.26, 0.18]))
    harmless = not malignant and not look.malignant and rng.uniform() < 0.25
    pathology = "MALIGNANT" if malignant else "BENIGN_WITHOUT_CALLBACK" if harmless else "BENIGN"
    assessment = (
        2 if harmless else int(rng.choice([0, 4, 4, 5] if look.malignant else [0, 2, 3, 3, 4]))
    )
    return Lesion(
        look=look, pathology=pathology, words=str(rng.choice(look.words)), assessment=assessment, subtlety=subtlety,
        radius=float(rng.uniform(*look.radius)), depth=depth * float(rng.uniform(0.2, 0.85)), seed=int(rng.integers(2**31)),
    )  # fmt: skip
