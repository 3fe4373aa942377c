"""Leakage checks of a designed protocol in a study folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, store
from core.images import blinded_rendering
from core.sessions.arms import IMAGE_ARMS, MAMMOGRAM_ARMS
from core.settings import load_order_of_experts
from core.store import annotation_table, dataset_table, participant_table, run_table
from core.store.labels import label_sets
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import CHECKED, check_transition
from core.store.reading.protocol_table import Protocol
from evaluation.reading_study.advice.advice_checks import advice_issues
from evaluation.reading_study.case_selection import reader_order
from evaluation.reading_study.case_texts import label_texts
from evaluation.reading_study.design import NO_ADVICE, TRUTH_RULES, UNPROVEN, Design
from evaluation.reading_study.leakage_checks import (
    check_leakage,
    image_issues,
    leakage_table,
)
from evaluation.reading_study.leakage_issues import (
    ERROR,
    IssueCode,
    LeakageIssue,
    truth_conflict_issue,
)
from evaluation.reading_study.order_checks import reader_order_issues
from evaluation.reading_study.text_leakage import study_verdicts
from evaluation.reading_study.workflow.candidates import holdout_threshold, load_truth_by_rule
from evaluation.reading_study.workflow.content import checked_content, draft_content
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    protocol_design,
    require_original_study,
)

# Mean brightness hardly changes on every fourth pixel, and the check stays fast.
_PIXEL_STEP = 4


def check_protocol(
    study: Path,
    protocol: str | None,
    user: str,
    reviewed: str = "",
    *,
    version: int | None = None,
) -> tuple[Protocol, tuple[LeakageIssue, ...]]:
    """Run the leakage checks on a designed protocol; store the issues and what was checked.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str or None
        Name of the reading study; None for the one that changed last.
    user : str
        Code of the acting person.
    reviewed : str
        Result of a review of the cases with conflicting truth rules. With it the conflict is a
        warning, which needs a reason at freezing; without it an error.
    version : int, optional
        May be left out where the study has one version.

    Returns
    -------
    Protocol
        The protocol in the state checked.
    tuple of LeakageIssue
        Errors first.

    Raises
    ------
    UserError
        If the study is a site bundle, or the protocol is frozen already.
    """
    with store.read(study) as con:
        require_original_study(con)
        current = protocol_table.find_protocol(con, protocol, version)
        check_transition(current.protocol, current.version, current.state, CHECKED)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
        truth = load_truth_by_rule(con, protocol_design(current))
    # Before the checks: what changes while they run is not taken for checked.
    draft = draft_content(study, current, cases)
    dissect = lineage.ancestor_run(study, current.run, "dissect")
    design = protocol_design(current)
    with store.read(study) as con:
        order = load_order_of_experts(study)
        unit_labels = label_sets.load_label_set(con, dissect, design.label_set, order)
        annotators = annotation_table.annotation_progress_by_expert(con, dissect)["code"].tolist()
        verdicts = study_verdicts(
            run_table.run_classes(con, current.run),
            dataset_table.load_lexicon(con).association_names,
        )
    codes = planned_reader_codes(study, design)
    has_advice = design.advice != NO_ADVICE
    orders = {
        code: [number for number, _ in reader_order(cases, design, code, rotation)]
        for rotation, code in enumerate(codes)
        if has_advice
    }
    threshold = holdout_threshold(study, current.run, design) if has_advice else None
    conflicts = _count_conflicts(truth[truth["mammogram_id"].isin(cases["mammogram_id"])])
    issues = [
        *check_leakage(
            leakage_table(cases.assign(texts=label_texts(cases, design)), positive=design.positive),
            labels={str(unit): label.text for unit, label in unit_labels.items()},
            conflicts=conflicts,
            annotators=annotators,
            seed=design.seed,
            verdicts=verdicts,
        ),
        *reader_order_issues(cases, design, codes),
        *image_arm_issues(study, cases, design),
        *advice_issues(cases, design, orders, threshold),
    ]
    note = reviewed.strip()
    if note:
        issues = [
            truth_conflict_issue(conflicts, user, note)
            if issue.code is IssueCode.TRUTH_CONFLICT
            else issue
            for issue in issues
        ]
    # Stable: within errors and within the rest the order of the checks remains.
    issues.sort(key=lambda issue: issue.severity != ERROR)
    rows = [issue.as_dict() for issue in issues]
    with store.write(study) as con:
        append_next_state(
            con, current, CHECKED, user, lint=rows, content=checked_content(draft, rows)
        )
        checked = protocol_table.find_protocol(con, current.protocol, current.version)
    return checked, tuple(issues)


def _count_conflicts(truth: pd.DataFrame) -> int:
    """Count mammograms whose truth rules differ or are unproven."""
    rules = truth[list(TRUTH_RULES)].dropna(axis=1, how="all")
    # A rule without a value for any case was dropped above and cannot conflict.
    differs = rules.nunique(axis=1, dropna=False) > 1
    return int((differs | (rules == UNPROVEN).any(axis=1)).sum())


def image_arm_issues(study: Path, cases: pd.DataFrame, design: Design) -> list[LeakageIssue]:
    """Check the pictures of the image arms for differences in shape, brightness and scanner."""
    displayed = cases[cases["arm"].isin(IMAGE_ARMS)]
    if displayed.empty:
        return []
    if design.case_unit == "exam":
        displayed = _displayed_films(study, displayed)
    table = _picture_properties(study, displayed.drop_duplicates("mammogram_id"), design)
    mammograms = displayed[displayed["arm"].isin(MAMMOGRAM_ARMS)]["mammogram_id"]
    maps = displayed[~displayed["arm"].isin(MAMMOGRAM_ARMS)]["mammogram_id"]
    issues = []
    if len(mammograms):
        issues += image_issues(table[table["mammogram"].isin(mammograms)], design.seed)
    if len(maps):
        # A class map has the outline of its mammogram. Its brightness is the classifier's
        # probability, which is what the arm is meant to show.
        shown = table[table["mammogram"].isin(maps)].drop(columns="grey")
        issues += image_issues(shown, design.seed, "class maps", "the class maps'")
    return issues


def _displayed_films(study: Path, exams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per film of the exams, with films, the number of films of its exam."""
    with store.read(study) as con:
        films = dataset_table.load_mammograms(con)[["mammogram_id", "patient_id"]]
    films = films.assign(films=films.groupby("patient_id")["mammogram_id"].transform("size"))
    return exams.drop(columns="mammogram_id").merge(films, on="patient_id")


def _picture_properties(study: Path, displayed: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the properties that `image_issues` checks, one row a displayed mammogram."""
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con).set_index("mammogram_id")
    # In the order of `displayed`: the table below joins both by position.
    mammograms = mammograms.loc[displayed["mammogram_id"]]
    brightness, outline = [], []
    for file in mammograms["file"]:
        pixels = np.load(study / "images" / f"{file}.npy")[::_PIXEL_STEP, ::_PIXEL_STEP]
        breast = (
            blinded_rendering.breast_mask(np.ascontiguousarray(pixels))
            if pixels.ndim == 2
            else np.ones(pixels.shape[:2], bool)
        )
        brightness.append(float(pixels[breast].mean()) if breast.any() else 0.0)
        outline.append(float(breast.mean()))
    return pd.DataFrame(
        {
            "mammogram": displayed["mammogram_id"].to_numpy(),
            "truth": (displayed["truth"] == design.positive).to_numpy(),
            "patient": displayed["patient_id"].to_numpy(),
            "height": (mammograms["height"] / mammograms["width"]).to_numpy(),
            "outline": outline,
            "grey": brightness,
            "scanner": mammograms["scanner"].to_numpy(),
        }
        | ({"films": displayed["films"].to_numpy()} if "films" in displayed.columns else {})
    )


def planned_reader_codes(study: Path, design: Design) -> list[str]:
    """Return the codes of the planned readers.

    Invited readers come first. Missing ones receive the codes R1, R2, ... that the next invitations
    will assign, so that their orders can be checked in advance.
    """
    with store.read(study) as con:
        table = participant_table.load_participants(con)
    codes = (
        [str(code) for code in table[(table["role"] == "reader") & ~table["simulated"]]["code"]]
        if len(table)
        else []
    )
    next_codes = (f"R{number}" for number in itertools.count(1))
    while len(codes) < design.readers:
        code = next(next_codes)
        if code not in codes:
            codes.append(code)
    return codes
