"""The reading study's stages on a study folder: design, lint, freeze, close, score.

The rules are `evaluation.reading_study`'s; here is only what touches the store. Stages cannot be skipped,
and nothing about results leaves `score` before the protocol is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.class_labels import CLASSES
from core.errors import UserError
from core.images import blinded_rendering
from core.pipeline.inputs import latest
from core.sessions.reading_session import PICTURES, PRACTICE
from core.store import (
    annotation_table,
    bundle_table,
    dataset_table,
    participant_table,
    reading_table,
    run_table,
    unit_table,
)
from core.store.dataset_table import Connection
from core.store.reading_table import Case, Picture, Protocol
from evaluation.intervals import counted
from evaluation.permutation import PatientPermutations
from evaluation.queries.explanations import dissect_of
from evaluation.reading_study import (
    Design,
    Flow,
    ReadingScore,
    check_frozen,
    choose_cases,
    design_from,
    lint_table,
    order_of,
    protocol_hash,
    score,
    shown_texts,
)
from evaluation.reading_study.design import TEXT_ARMS, WORDLESS_ARMS
from evaluation.reading_study.leakage_checks import (
    ERROR,
    WARNING,
    Finding,
    lint,
    order_findings,
    picture_findings,
    reason_for,
    stops,
)
from evaluation.roc.diagnostic import fixed_threshold

BENIGN_WORDS = ("BENIGN", "BENIGN_WITHOUT_CALLBACK")


@dataclass(frozen=True)
class Designed:
    """A version that has been designed. flow: how the cases were chosen; cases: with everything
    readers must not see.
    """

    protocol: str
    version: int
    cases: pd.DataFrame
    flow: Flow


def synthetic(study: Path, explain: str) -> bool:
    """Whether what a study on this explain run shows is not of real patients and experts: synthetic
    films, or labels of simulated experts.
    """
    dissect = dissect_of(study, explain)
    with store.read(study) as con:
        sources = dataset_table.sources(con)
        return bool(len(sources) and sources["simulated"].any()) or any(
            label.simulated for label in annotation_table.labels(con, dissect).values()
        )


def candidates(study: Path, explain: str, design: Design) -> pd.DataFrame:
    """Every explained mammogram as a possible case: ids, split, truth by each known rule, network
    score, predicted lesion class, texts of the explanation and of randomly drawn annotated units.
    """
    dissect = dissect_of(study, explain)
    with store.read(study) as con:
        frame = unit_table.explanations(con, explain)
        frame = frame[frame["predicted"] >= 0]  # a film without tissue has no decision and no score
        influences = unit_table.top_influences(con, explain, 64)
        labels = {unit: label.text for unit, label in annotation_table.labels(con, dissect).items()}
        truth = truth_rules(con)
    if design.truth_rule == "folder" and truth["folder"].isna().all():
        raise UserError(
            "The truth rule folder needs patients whom the source files under a diagnosis, and this"
            " study's are not; choose the rule any malignant or first abnormality."
        )
    if not labels and set(design.arms) & set(TEXT_ARMS):
        raise UserError(
            "No unit carries a label yet, so no explanation has words; let an expert annotate first"
            " (People page, then Annotate)."
        )
    order = {
        key: rows["unit"].tolist() for key, rows in influences.groupby(["mammogram_id", "class"])
    }
    rng = np.random.default_rng([design.seed, 11])
    named = sorted(labels)
    shown, random = [], []
    for row in frame.itertuples():
        code = int(row.lesion_class) if design.influence_class == "predicted" else 2
        shown.append(shown_texts(order.get((row.mammogram_id, code), []), labels, design))
        random.append(
            shown_texts(list(rng.permutation(named)), labels, replace(design, depth=None))
        )
    return pd.DataFrame(
        {
            "mammogram_id": frame["mammogram_id"],
            "patient_id": frame["patient_id"],
            "split": frame["split"],
            "network_score": frame["p_malignant"],
            "predicted": [CLASSES[int(c)] for c in frame["lesion_class"]],
            "texts": shown,
            "random_texts": random,
        }
    ).merge(truth, on="mammogram_id", how="left")


def truth_rules(con: Connection) -> pd.DataFrame:
    """mammogram_id and its truth ("malignant", "benign", "unproven", None for a normal film) by
    any_malignant, by first_abnormality, and by the folder under which the source files the patient
    (None where it does not file).
    """
    findings = dataset_table.findings(con)
    filed = {
        p: s if isinstance(s, str) else None
        for p, s in dataset_table.patients(con)[["patient_id", "filed_as"]].itertuples(index=False)
    }
    rows = []
    for film in dataset_table.image_truth(con).to_dict("records"):
        mine = findings[findings["mammogram_id"] == film["mammogram_id"]].sort_values("number")
        code = film["truth"]
        worst = "unproven" if pd.isna(code) else (None, "benign", "malignant")[int(code)]
        rows.append(
            {
                "mammogram_id": film["mammogram_id"],
                "any_malignant": worst,
                "first_abnormality": _word(mine["pathology"].iloc[0]) if len(mine) else worst,
                "folder": _word(filed.get(film["patient_id"])),
            }
        )
    return pd.DataFrame(rows)


def _word(pathology: str | None) -> str | None:
    if pathology == "MALIGNANT":
        return "malignant"
    return (
        "benign" if pathology in BENIGN_WORDS else "unproven" if pathology == "UNPROVEN" else None
    )


def create(
    study: Path,
    protocol: str,
    design: Design,
    who: str,
    *,
    explain: str | None = None,
    simulated: bool = False,
) -> Designed:
    """Design a new version of a protocol: choose its cases with their texts.

    Versions count from 1; a frozen one is never touched.
    """
    with store.read(study) as con:
        _at_home(con)
    run = latest(study, "explain", given=explain)
    cases, flow = choose_cases(candidates(study, run, design), design)
    with store.write(study) as con:
        versions = [p for p in reading_table.protocols(con) if p.protocol == protocol]
        open_version = next((p.version for p in versions if p.state in ("design", "lint")), None)
        version = open_version or max((p.version for p in versions), default=0) + 1
        plain = (
            design.as_dict() | {"flow": [list(step) for step in flow.steps]} | _told(cases, design)
        )
        reading_table.append_state(
            con,
            protocol=protocol,
            version=version,
            state="design",
            design=plain,
            run=run,
            simulated=simulated,
            who=who,
        )
        reading_table.add_cases(
            con, protocol, version, [_case(row) for row in cases.to_dict("records")]
        )
    return Designed(protocol, version, cases, flow)


def _told(cases: pd.DataFrame, design: Design) -> dict[str, str]:
    """What readers are told about prevalence, where the design says so: the words of their
    instructions.
    """
    if not design.prevalence_told:
        return {}
    return {
        "told": (
            f"Of every 100 cases, about {100 * float((cases['truth'] == 'malignant').mean()):.0f}"
            " come from a breast with a malignant finding."
        )
    }


def _case(row: Mapping[str, Any]) -> Case:
    return Case(
        number=int(row["case_number"]),
        mammogram_id=row["mammogram_id"],
        patient_id=row["patient_id"],
        arm=row["arm"],
        texts=tuple(row["texts"]),
        truth=row["truth"],
        network_score=float(row["network_score"]),
        predicted=row["predicted"],
    )


def find(con: Connection, protocol: str | None = None) -> Protocol:
    """The named protocol's newest version, or the newest of all. UserError where there is none."""
    found = [p for p in reading_table.protocols(con) if protocol in (None, p.protocol)]
    if not found:
        raise UserError(
            f"There is no reading study{f' called {protocol!r}' if protocol else ''} yet; run"
            " `deepminer reading create` or use the Reading study page."
        )
    return found[-1]


def _at_home(con: Connection) -> None:
    """UserError in a bundle, which is only read: design, truth and score are where it was made."""
    if bundle_table.own(con) is not None:
        raise UserError(
            "This study is a bundle: the truth is not here, so it is designed, closed and scored at"
            " home. Write its answers with `deepminer reading export-answers FILE`."
        )


def design_of(protocol: Protocol) -> Design:
    """The design without what the store adds to it."""
    return design_from(
        {
            k: v
            for k, v in protocol.design.items()
            if k not in ("flow", "reasons", "told", "practice")
        }
    )


def _annotators(con: Connection, dissect: str) -> list[str]:
    frame = annotation_table.progress(con, dissect)
    return list(frame["code"])


def run_lint(
    study: Path, protocol: str | None, who: str, reviewed: str = ""
) -> tuple[Protocol, tuple[Finding, ...]]:
    """Lint the designed cases and record the findings; errors stop the study there. reviewed: what
    a person says who looked at the cases whose truth rules differ; the conflict is then a warning,
    which needs its reason when the study is frozen.
    """
    with store.read(study) as con:
        _at_home(con)
        found = find(con, protocol)
        cases = reading_table.cases(con, found.protocol, found.version)
        truth = truth_rules(con)
    dissect = dissect_of(study, found.run)
    with store.read(study) as con:
        labels = {
            str(unit): label.text for unit, label in annotation_table.labels(con, dissect).items()
        }
        annotators = _annotators(con, dissect)
    shown = truth[truth["mammogram_id"].isin(cases["mammogram_id"])]
    rules = shown[["any_malignant", "first_abnormality", "folder"]].dropna(axis=1, how="all")
    conflicts = int(
        ((rules.nunique(axis=1, dropna=False) > 1) | (rules == "unproven").any(axis=1)).sum()
    )
    design = design_of(found)
    findings = lint(
        lint_table(cases),
        labels=labels,
        conflicts=conflicts,
        annotators=annotators,
        seed=design.seed,
    )
    findings = (*findings, *order_lint(cases, design, planned_readers(study, design)))
    findings = (*findings, *_picture_lint(study, cases, design))
    if reviewed.strip():
        findings = tuple(
            (
                Finding(
                    f.field,
                    WARNING,
                    f"{f.finding.replace(' that nobody reviewed', '')}; reviewed by {who}:"
                    f" {reviewed.strip()}",
                )
                if _unreviewed(f)
                else f
            )
            for f in findings
        )
    findings = tuple(sorted(findings, key=lambda finding: finding.severity != ERROR))
    with store.write(study) as con:
        reading_table.append_state(
            con,
            protocol=found.protocol,
            version=found.version,
            state="lint",
            design=found.design,
            lint=[f.as_dict() for f in findings],
            run=found.run,
            simulated=found.simulated,
            who=who,
        )
        return find(con, found.protocol), findings


def _picture_lint(study: Path, cases: pd.DataFrame, design: Design) -> list[Finding]:
    """Whether the films of the arms that show films differ by truth in what is no finding: shape,
    grey, scanner.
    """
    shown = cases[cases["arm"].isin(("image", "image_explanation"))].drop_duplicates("mammogram_id")
    if not len(shown):
        return []
    with store.read(study) as con:
        films = dataset_table.mammograms(con).set_index("mammogram_id").loc[shown["mammogram_id"]]
    grey = []
    for file in films["file"]:
        pixels = np.load(study / "images" / f"{file}.npy")[::4, ::4]
        inside = blinded_rendering.breast(np.ascontiguousarray(pixels))
        grey.append(float(pixels[inside].mean()) if inside.any() else 0.0)
    table = pd.DataFrame(
        {
            "truth": (shown["truth"] == "malignant").to_numpy(),
            "patient": shown["patient_id"].to_numpy(),
            "grey": grey,
            "height": (films["height"] / films["width"]).to_numpy(),
            "scanner": films["scanner"].to_numpy(),
        }
    )
    return picture_findings(table, design.seed)


def _unreviewed(finding: Finding) -> bool:
    """Whether a finding is the conflict of truth rules that a person may review."""
    return finding.field == "truth" and finding.finding.endswith("nobody reviewed")


def planned_readers(study: Path, design: Design) -> list[str]:
    """Codes of the readers invited so far; the codes an invitation gives by itself (R1, R2, ...)
    for those still missing of the planned number.
    """
    with store.read(study) as con:
        table = participant_table.people(con)
    codes = (
        [str(code) for code in table[(table["role"] == "reader") & ~table["simulated"]]["code"]]
        if len(table)
        else []
    )
    free = (f"R{number}" for number in range(1, 10_000))
    while len(codes) < design.readers:
        code = next(free)
        if code not in codes:
            codes.append(code)
    return codes


def order_lint(cases: pd.DataFrame, design: Design, codes: list[str]) -> list[Finding]:
    """Whether any planned reader's own order tells truth or network score: one note for all orders
    that do not, an error for each that does.
    """
    told: list[Finding] = []
    for code in codes:
        table = lint_table(cases, order_of(cases, design, code)).sort_values("order", kind="stable")
        tests = PatientPermutations(table["patient"].to_numpy(), design.seed)
        told += [
            replace(f, field=f"order of {code}")
            for f in order_findings(table, tests)
            if f.severity == ERROR
        ]
    if told:
        return told
    return [
        Finding(
            "order",
            "note",
            f"the orders of {counted(len(codes), 'planned reader')} ({', '.join(codes)}) predict"
            " neither truth nor the network's score",
        )
    ]


def holdout_threshold(study: Path, explain: str) -> float | None:
    """The network's threshold for malignant against benign films, fixed on the hold-out films of
    the evaluation that an explain run rests on (largest Youden index); None where hold-out lacks a
    class. Normal films are no cases of a reading study, so they do not count here.
    """
    with store.read(study) as con:
        run = next(p for p in run_table.get(con, explain)["parents"] if p.startswith("evaluate-"))
        films = unit_table.image_scores(con, run, "holdout")
    films = films[films["truth"].isin([1, 2])]
    malignant = (films["truth"] == 2).to_numpy(bool)
    if malignant.all() or not malignant.any():
        return None
    return fixed_threshold(malignant, films["s_malignant"].to_numpy(float), "youden")


def freeze(
    study: Path, protocol: str | None, who: str, reasons: Mapping[str, str] | None = None
) -> Protocol:
    """Freeze a linted version: its hash covers design and sealed key. reasons: why warnings are
    accepted, by "field: finding" for one warning or by field for all warnings of that field; every
    warning needs one, and a reason for what was not found is a UserError.
    """
    with store.read(study) as con:
        found = find(con, protocol)
        cases = reading_table.cases(con, found.protocol, found.version)
    findings = [Finding(**f) for f in found.lint]
    if found.state != "lint":
        raise UserError(
            f"Version {found.version} of {found.protocol} is {found.state}; run `deepminer reading"
            " lint` on a new design before freezing."
        )
    if stops(findings):
        first = next(f for f in findings if f.severity == ERROR)
        raise UserError(
            f"{found.protocol} cannot be frozen: {first.field}: {first.finding}. Change the design"
            " and lint again."
        )
    _check_reasons(found.protocol, [f for f in findings if f.severity == WARNING], reasons or {})
    digest = protocol_hash(design_of(found), cases)
    practice, pictures = shown_pictures(study, found, cases)
    with store.write(study) as con:
        reading_table.append_state(
            con,
            protocol=found.protocol,
            version=found.version,
            state="frozen",
            design=found.design
            | {"reasons": dict(reasons or {})}
            | ({"practice": practice} if pictures else {}),
            lint=found.lint,
            hash=digest,
            run=found.run,
            simulated=found.simulated,
            who=who,
        )
        reading_table.add_pictures(con, found.protocol, found.version, pictures)
        run_table.log(
            con, who, "reading study frozen", f"{found.protocol} version {found.version} {digest}"
        )
        return find(con, found.protocol)


def _check_reasons(protocol: str, warnings: list[Finding], reasons: Mapping[str, str]) -> None:
    """UserError unless every warning has a reason and every reason its warning."""
    unknown = (
        set(reasons) - {f.field for f in warnings} - {f"{f.field}: {f.finding}" for f in warnings}
    )
    if unknown:
        raise UserError(
            f"The linter has no warning about {sorted(unknown)[0]!r}; its warnings are about"
            f" {', '.join(dict.fromkeys(f.field for f in warnings)) or 'nothing'}."
        )
    missing = [f for f in warnings if not reason_for(reasons, f.field, f.finding)]
    if missing:
        raise UserError(
            f"{protocol} has {counted(len(missing), 'warning')} without a reason (first:"
            f" {missing[0].field}: {missing[0].finding}); give one for each, such as --reason"
            f" '{missing[0].field}=accepted because ...'."
        )


def shown_pictures(
    study: Path, protocol: Protocol, cases: pd.DataFrame
) -> tuple[list[list[str]], list[Picture]]:
    """What the cases of the image arms show, and the practice cases that go with them: texts as
    always (where an arm shows texts), then two films of patients outside the study for each image
    arm. Practice case i has the number -i.
    """
    arms = [arm for arm in protocol.design["arms"] if arm in PICTURES]
    if not arms:
        return [], []
    with store.read(study) as con:
        films = unit_table.explanations(con, protocol.run).set_index("mammogram_id")
    shown = [
        _picture(row["case_number"], row["arm"], films.loc[row["mammogram_id"]], protocol.run)
        for row in cases.to_dict("records")
        if row["arm"] in arms
    ]
    practice = (
        [list(texts) for texts in PRACTICE]
        if set(protocol.design["arms"]) - set(WORDLESS_ARMS)
        else []
    )
    others = films[~films["patient_id"].isin(cases["patient_id"])]
    luck = np.random.default_rng([int(protocol.design["seed"]), 17]).permutation(len(others))
    for place, (index, arm) in enumerate(zip(luck, [arm for arm in arms for _ in range(2)])):
        practice.append([] if arm in WORDLESS_ARMS else list(PRACTICE[place % len(PRACTICE)]))
        shown.append(_picture(-len(practice), arm, others.iloc[index], protocol.run))
    return practice or [list(PRACTICE[0])], shown


def _picture(number: int, arm: str, film: Any, run: str) -> Picture:
    """What one case of an image arm shows."""
    if arm == "class_map":
        return Picture(
            int(number),
            blinded_rendering.CLASS_MAP,
            blinded_rendering.source_of_map(run, film["file"], film["film"]),
        )
    return Picture(
        int(number), blinded_rendering.FILM, blinded_rendering.source_of_film(film["film"])
    )


def close(study: Path, protocol: str | None, who: str) -> Protocol:
    """Close and unblind: no further answers, results may be seen from now on.

    Logged; checks that design and key are what was frozen.
    """
    with store.read(study) as con:
        _at_home(con)
        found = find(con, protocol)
        cases = reading_table.cases(con, found.protocol, found.version)
    if found.state != "frozen":
        raise UserError(
            f"Version {found.version} of {found.protocol} is {found.state}; only a frozen study can"
            " be closed."
        )
    check_frozen(design_of(found), cases, found.hash)
    with store.write(study) as con:
        for state in ("closed", "unblinded"):
            reading_table.append_state(
                con,
                protocol=found.protocol,
                version=found.version,
                state=state,
                design=found.design,
                lint=found.lint,
                hash=found.hash,
                run=found.run,
                simulated=found.simulated,
                who=who,
            )
        run_table.log(
            con,
            who,
            "reading study closed and unblinded",
            f"{found.protocol} version {found.version} {found.hash}",
        )
        return find(con, found.protocol)


def scored(study: Path, protocol: str | None = None) -> tuple[Protocol, ReadingScore]:
    """The score of a closed version; UserError before that: nobody sees results of an open study."""
    with store.read(study) as con:
        _at_home(con)
        found = find(con, protocol)
        if found.state not in ("closed", "unblinded"):
            raise UserError(
                f"{found.protocol}, version {found.version}, is {found.state}: results are hidden"
                " until it is closed (`deepminer reading close`)."
            )
        cases = reading_table.cases(con, found.protocol, found.version)
        answers, first = (
            reading_table.answers(con, found.protocol, found.version, first=f)
            for f in (False, True)
        )
        items = reading_table.items(con, found.protocol, found.version)
        truth = truth_rules(con)
    design = design_of(found)
    check_frozen(design, cases, found.hash)
    if not len(answers):
        raise UserError(
            f"{found.protocol}, version {found.version}, was closed without a single answer; there"
            " is nothing to score."
        )
    key = cases.merge(truth, on="mammogram_id", how="left")
    assigned = int((~items["practice"]).sum()) if len(items) else None
    threshold = holdout_threshold(study, found.run)
    return found, score(
        answers,
        key,
        design,
        first_answers=first,
        threshold=threshold,
        assigned=assigned,
        simulated=found.simulated or None,
        synthetic=synthetic(study, found.run),
    )
