"""Simulated reader studies: type I error, coverage and power of what the product prints.

`python -m benchmarks.reader_studies [--studies N]` writes READER_STUDIES.md beside this file. The
seed of a setting depends on the setting only, so the same number of studies gives the same table.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.clustered import clustered_proportion
from evaluation.mrmc import obuchowski_rockette
from evaluation.power import AnswerCorrelations, ComparisonVariances, StudyPower, study_power
from evaluation.reading_study.design import Design, design_preset
from evaluation.reading_study.primary import primary_analysis
from evaluation.reading_study.primary.auc_endpoint import estimate_auc

FILE = Path(__file__).with_name("READER_STUDIES.md")
# Shares of the variance of a rating, as in the studies of Roe and Metz: case, case by reader, case
# by arm, rest.
CASE_SHARES = (0.5, 0.2, 0.2, 0.1)
INTERACTION_SD = 0.1
LEVEL = 0.95


@dataclass(frozen=True)
class Ratings:
    """Simulated ratings [arm, reader, image] with truth and patient of each image."""

    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray


def correlated_noise(
    rng: np.random.Generator, shape: tuple[int, ...], patients: int, images: int, icc: float
) -> np.ndarray:
    """Return standard normal values [*shape, patients * images] with a patient correlation."""
    shared = np.repeat(rng.normal(size=(*shape, patients)), images, axis=-1)
    own = rng.normal(size=(*shape, patients * images))
    return np.sqrt(icc) * shared + np.sqrt(1 - icc) * own


def simulate_ratings(
    rng: np.random.Generator,
    *,
    patients: int,
    images: int,
    readers: int,
    distances: tuple[float, ...],
    icc: float,
    reader_sd: float,
) -> Ratings:
    """Simulate one study after Roe and Metz; half of the patients are positive.

    distances: mean distance of the classes in each arm, in standard deviations of a rating.
    """
    truth = np.repeat(np.arange(patients) < patients // 2, images)
    arms = len(distances)
    shapes = ((1, 1), (1, readers), (arms, 1), (arms, readers))
    noise = sum(
        np.sqrt(share) * correlated_noise(rng, shape, patients, images, icc)
        for share, shape in zip(CASE_SHARES, shapes, strict=True)
    )
    reader = reader_sd * rng.normal(size=(1, readers, 1))
    interaction = INTERACTION_SD * rng.normal(size=(arms, readers, 1)) if readers > 1 else 0.0
    shift = np.array(distances)[:, None, None] + reader + interaction
    return Ratings(np.asarray(noise + shift * truth), truth, np.repeat(np.arange(patients), images))


def distance_of(auc: float, reader_sd: float) -> float:
    """Return the mean distance of the classes that gives a mean AUC over readers."""
    spread = np.sqrt(2 + reader_sd**2 + INTERACTION_SD**2)
    return float(stats.norm.ppf(auc) * spread)


def comparison_rejects(rng: np.random.Generator, patients: int, images: int, readers: int) -> bool:
    """Return whether two arms of equal mean AUC (.75) are found to differ."""
    reader_sd = 0.15 if readers > 1 else 0.0
    distance = distance_of(0.75, reader_sd)
    study = simulate_ratings(
        rng,
        patients=patients,
        images=images,
        readers=readers,
        distances=(distance, distance),
        icc=0.5,
        reader_sd=reader_sd,
    )
    result = obuchowski_rockette(
        study.scores,
        study.truth,
        "rrrc" if readers > 1 else "frrc",
        "delong",
        cluster=study.patients,
    )
    return result.p_value is not None and result.p_value < 1 - LEVEL


def mean_is_covered(
    rng: np.random.Generator, patients: int, images: int, readers: int, auc: float
) -> bool | None:
    """Return whether the interval of a mean AUC holds the true value; None without an interval."""
    study = simulate_ratings(
        rng,
        patients=patients,
        images=images,
        readers=readers,
        distances=(distance_of(auc, 0.3),),
        icc=0.3,
        reader_sd=0.3,
    )
    result = obuchowski_rockette(
        study.scores, study.truth, covariance="delong", cluster=study.patients
    )
    mean = result.modality_means[0]
    if mean.low is None or mean.high is None:
        return None
    return bool(mean.low <= auc <= mean.high)


def proportion_rejects(rng: np.random.Generator, plan: StudyPower) -> bool:
    """Return whether simulated answers are found to be right more often than by chance.

    An answer is a copy of the image's value with some probability, and an image's value one of the
    patient's, which gives the planned correlations exactly.
    """
    same_image = plan.correlations.same_image if plan.readers > 1 else 1.0
    shape = (plan.patients, plan.images_per_patient, plan.readers)
    values = rng.random((plan.patients, 1, 1)) < plan.expected
    copied = rng.random(shape[:2]) < np.sqrt(plan.correlations.same_patient / same_image)
    images = np.where(copied[:, :, None], values, rng.random((*shape[:2], 1)) < plan.expected)
    copied = rng.random(shape) < np.sqrt(same_image)
    answers = np.where(copied, images, rng.random(shape) < plan.expected)
    cluster = np.repeat(np.arange(plan.patients), shape[1] * shape[2])
    p = clustered_proportion(answers.ravel(), cluster).p_greater
    return p is not None and p < plan.alpha


def auc_rejects(rng: np.random.Generator, plan: StudyPower, categories: int) -> bool:
    """Return whether the AUC of simulated ratings, in categories, is found to exceed .5."""
    same_image = plan.correlations.same_image if plan.readers > 1 else 1.0
    by_patient = plan.correlations.same_patient if plan.images_per_patient > 1 else 0.0
    shape = (plan.patients, plan.images_per_patient, plan.readers)
    noise = (
        np.sqrt(by_patient) * rng.normal(size=(shape[0], 1, 1))
        + np.sqrt(same_image - by_patient) * rng.normal(size=(*shape[:2], 1))
        + np.sqrt(1 - same_image) * rng.normal(size=shape)
    )
    truth = np.arange(plan.patients) < plan.patients // 2
    distance = np.sqrt(2) * stats.norm.ppf(plan.expected)
    rating = (noise + distance * truth[:, None, None]).ravel()
    # Equally frequent categories.
    edges = np.quantile(rating, np.arange(1, categories) / categories)
    repeats = shape[1] * shape[2]
    p = estimate_auc(
        np.repeat(truth, repeats),
        np.searchsorted(edges, rating),
        np.repeat(np.arange(plan.patients), repeats),
        1 - 2 * plan.alpha,
    ).p_one_sided
    return p is not None and p < plan.alpha


def looks_reject(rng: np.random.Generator, design: Design, patients: int) -> bool:
    """Return whether a look at answers without information is significant.

    One reader rates two images of each patient in random order; ratings of one patient correlate
    by .3. Half of the patients are positive.
    """
    truth = np.repeat(np.arange(patients) % 2 == 0, 2)
    rating = stats.norm.cdf(correlated_noise(rng, (), patients, 2, 0.3))
    answers = np.ceil(rating * design.scale).astype(int)
    joined = pd.DataFrame(
        {
            "code": "R1",
            "case_number": np.arange(2 * patients),
            "arm": design.arms[0],
            "repeat": False,
            "patient_id": np.repeat(np.arange(patients), 2),
            "truth": np.where(truth, "malignant", "benign"),
            "malignant": truth,
            "answer": answers,
            "called_malignant": answers >= design.threshold,
            "correct": truth == (answers >= design.threshold),
        }
    )
    key = joined[["case_number", "arm", "patient_id", "truth"]]
    order = rng.permutation(2 * patients)
    for number in range(1, design.looks + 1):
        read = joined.iloc[order[: round(2 * patients * number / design.looks)]]
        if primary_analysis(read, key, design, look_number=number).significant:
            return True
    return False


def share(
    simulate: Callable[[np.random.Generator], bool | None], studies: int, name: str
) -> tuple[float, int]:
    """Return the share of simulated studies with the outcome, and the number without one."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    outcomes = [simulate(rng) for _ in range(studies)]
    known = [outcome for outcome in outcomes if outcome is not None]
    return float(np.mean(known)), len(outcomes) - len(known)


def type_one_rows(studies: int) -> Iterator[str]:
    """Yield the table of type I errors."""
    yield "| Readers | Patients | Images a patient | Type I error at .05 |"
    yield "|---:|---:|---:|---:|"
    for readers in (1, 3):
        for images in (1, 2, 4):
            simulate = partial(comparison_rejects, patients=40, images=images, readers=readers)
            error, _ = share(simulate, studies, f"type I {readers} {images}")
            yield f"| {readers} | 40 | {images} | {error:.3f} |"


def look_rows(studies: int) -> Iterator[str]:
    """Yield the table of type I errors over all looks."""
    yield "| Endpoint | Patients | Looks | Spending | Type I error at .05 |"
    yield "|---|---:|---:|---|---:|"
    for primary in ("gee", "auc"):
        for patients, looks, spending in (
            (40, 2, "obrien_fleming"),
            (100, 2, "obrien_fleming"),
            (100, 3, "obrien_fleming"),
            (100, 3, "pocock"),
        ):
            design = design_preset(
                "Recommended",
                arms=("explanation",),
                primary=primary,
                readers=1,
                looks=looks,
                spending=spending,
            )
            simulate = partial(looks_reject, design=design, patients=patients)
            error, _ = share(simulate, studies, f"looks {primary} {patients} {looks} {spending}")
            yield f"| {primary} | {patients} | {looks} | {spending} | {error:.3f} |"


def coverage_rows(studies: int) -> Iterator[str]:
    """Yield the table of the coverage of mean AUCs."""
    yield "| Readers | Patients | Images a patient | True AUC | Coverage | Without interval |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for readers in (3, 6, 12):
        for patients in (20, 40, 100):
            for images in (1, 3):
                for auc in (0.7, 0.9, 0.96):
                    simulate = partial(
                        mean_is_covered, patients=patients, images=images, readers=readers, auc=auc
                    )
                    name = f"mean {readers} {patients} {images} {auc}"
                    covered, none = share(simulate, studies, name)
                    yield (
                        f"| {readers} | {patients} | {images} | {auc:.2f} | {covered:.3f} |"
                        f" {none / studies:.3f} |"
                    )


def planned_studies() -> Iterator[tuple[StudyPower, int]]:
    """Yield plans against chance with the number of categories of the ratings."""
    correlations = AnswerCorrelations(0.3, 0.2)
    for patients, readers, images, expected in (
        (185, 1, 2, 0.55),
        (60, 3, 1, 0.6),
        (40, 3, 2, 0.6),
        (100, 1, 1, 0.62),
    ):
        plan = StudyPower(
            endpoint="proportion",
            expected=expected,
            patients=patients,
            readers=readers,
            images_per_patient=images,
            correlations=correlations,
        )
        yield plan, 2
    for patients, readers, images, expected in (
        (164, 1, 1, 0.6),
        (60, 3, 1, 0.62),
        (40, 3, 2, 0.62),
        (60, 2, 3, 0.58),
    ):
        plan = StudyPower(
            expected=expected,
            patients=patients,
            readers=readers,
            images_per_patient=images,
            correlations=correlations,
        )
        yield plan, 6


def power_rows(studies: int) -> Iterator[str]:
    """Yield the table of planned and simulated power."""
    yield (
        "| Endpoint | Expected | Readers | Patients | Images a patient | Planned | Simulated |"
        " Difference |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for plan, categories in planned_studies():
        simulate: Callable[[np.random.Generator], bool]
        if plan.endpoint == "proportion":
            simulate = partial(proportion_rejects, plan=plan)
        else:
            simulate = partial(auc_rejects, plan=plan, categories=categories)
        yield _power_row(plan, share(simulate, studies, f"power {plan}")[0])
    for readers, patients, distance in ((5, 100, 0.25), (8, 60, 0.3), (4, 200, 0.2)):
        plan, simulated = comparison_power(readers, patients, distance, studies)
        yield _power_row(plan, simulated)


def comparison_power(
    readers: int, patients: int, gain: float, studies: int
) -> tuple[StudyPower, float]:
    """Return the plan for a difference of arms, and its simulated power.

    The components of the plan are means over half of the studies, the power is that of the rest.
    """
    rng = np.random.default_rng(zlib.crc32(f"difference {readers} {patients}".encode()))
    distance = distance_of(0.75, 0.15)
    results = [
        obuchowski_rockette(study.scores, study.truth, covariance="delong")
        for study in (
            simulate_ratings(
                rng,
                patients=patients,
                images=1,
                readers=readers,
                distances=(distance + gain, distance),
                icc=0.0,
                reader_sd=0.15,
            )
            for _ in range(2 * studies)
        )
    ]
    pilots, tested = results[:studies], results[studies:]
    error, cov1, cov2, cov3, interaction, difference = (
        float(np.mean([getattr(result, name) for result in pilots]))
        for name in ("var_error", "cov1", "cov2", "cov3", "var_modality_reader", "difference")
    )
    variances = ComparisonVariances(
        variance=error,
        patients=patients,
        r1=cov1 / error,
        r2=cov2 / error,
        r3=cov3 / error,
        reader_by_arm=max(interaction, 0.0),
    )
    plan = StudyPower(
        endpoint="auc_difference",
        expected=difference,
        readers=readers,
        patients=patients,
        side="two-sided",
        variances=variances,
    )
    power = np.mean([result.p_value is not None and result.p_value < 0.05 for result in tested])
    return replace(plan), float(power)


def _power_row(plan: StudyPower, simulated: float) -> str:
    planned = study_power(plan).power or 0.0
    return (
        f"| {plan.endpoint} | {plan.expected:.3f} | {plan.readers} | {plan.patients} |"
        f" {plan.images_per_patient} | {planned:.3f} | {simulated:.3f} |"
        f" {planned - simulated:+.3f} |"
    )


def write_table(studies: int) -> None:
    """Simulate every setting and write the page."""
    error = 2 * np.sqrt(0.05 * 0.95 / studies)
    lines = [
        "# Simulated reader studies",
        "",
        (
            f"Written by `python -m benchmarks.reader_studies --studies {studies}`:"
            f" {studies:,} simulated studies a row. Twice the Monte Carlo error of a share of .05"
            f" or .95 is {error:.3f}, and of a power of .5 it is {1 / np.sqrt(studies):.3f}."
        ),
        "",
        "## Type I error of the difference of two arms",
        "",
        (
            "Obuchowski-Rockette with patients as clusters; intraclass correlation .5, mean AUC"
            " .75; random readers, or one fixed reader."
        ),
        "",
        *type_one_rows(studies),
        "",
        "## Type I error over interim looks",
        "",
        (
            "The primary analysis at each planned look, by the product's own levels; a study counts"
            " if any look is significant. One reader, two images a patient whose ratings correlate"
            " by .3, one-sided .05."
        ),
        "",
        *look_rows(studies),
        "",
        "## Coverage of the 95 % interval of a mean AUC",
        "",
        "Random readers and cases, patients as clusters, intraclass correlation .3.",
        "",
        *coverage_rows(studies),
        "",
        "## Planned and simulated power",
        "",
        (
            "One-sided level .05 against chance, two-sided .05 for a difference of arms. Answers of"
            " two readers to one image correlate by .3, to two images of a patient by .2. Ratings"
            " have six categories."
        ),
        "",
        *power_rows(studies),
        "",
    ]
    FILE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2_000)
    write_table(parser.parse_args().studies)
