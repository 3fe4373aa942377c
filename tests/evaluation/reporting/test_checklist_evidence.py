"""Evidence for the items of the checklists: every fact, with and without a record of it."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from evaluation.reporting.tables import checklist_evidence as evidence
from evaluation.reporting.tables import checklists
from evaluation.reporting.tables.guidelines import ADVICE_GUIDELINE, GUIDELINES, listed_guidelines
from support.score_parts import bounds

STUDY = Path("study")
RECORDED = {
    *("hypothesis", "eligibility", "network", "reference", "threshold", "blinding", "statistics"),
    *("unproven", "excluded", "subgroups", "sample", "flow", "baseline", "severity", "crosstab"),
    *("accuracy", "limits", "protocol", "sources", "preprocessing", "patches", "scanner"),
    *("annotators", "agreement", "split", "software", "training", "selection", "ensemble"),
    *("explanation", "external", "failures", "imbalance"),
}
OF_ADVICE = {
    f"advice_{fact}"
    for fact in (
        *("cases", "practice", "outputs", "workflow", "outcomes", "errors_planned", "questions"),
        *("unchanged", "readers", "exposure", "result", "agreement", "errors", "answers", "trend"),
    )
}


def test_parts_of_every_item() -> None:
    """A number, a text, and a fact of the record or nothing; some facts are asked twice."""
    asked = set()
    for name, entries in listed_guidelines(with_advice=True).items():
        for number, text, fact in entries:
            assert re.fullmatch(r"\d{1,2}[a-g]?|[IVX]+", number), number
            assert len(text) > 6 and text[0].isupper() and not text.endswith(".")
            assert fact in RECORDED | OF_ADVICE | {""}, fact
            assert name == ADVICE_GUIDELINE or not fact.startswith("advice")
            asked.add(fact)
    assert asked == RECORDED | OF_ADVICE | {""}
    assert list(GUIDELINES) == ["STARD 2015", "CLAIM 2024", "TRIPOD+AI", ADVICE_GUIDELINE]
    assert [len(GUIDELINES[name]) for name in GUIDELINES] == [34, 44, 52, 38]
    without = GUIDELINES.keys() - {ADVICE_GUIDELINE}
    assert listed_guidelines(with_advice=False).keys() == without


def test_items_and_their_states(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {fact: (fact < "p", f"evidence of {fact}") for fact in RECORDED}
    of_advice: list[dict[str, Any]] = [{}]
    monkeypatch.setattr(checklists, "recorded_evidence", lambda study: record)
    monkeypatch.setattr(checklists, "advice_evidence", lambda study: of_advice[-1])
    table = checklists.build_checklist_table(STUDY)
    assert {row[0] for row in table.rows} == set(GUIDELINES) - {ADVICE_GUIDELINE}
    of_advice.append(dict.fromkeys(OF_ADVICE, (True, "a")) | {"network": (False, "no")})
    table = checklists.build_checklist_table(STUDY)
    expected = []
    for name, entries in GUIDELINES.items():
        for number, text, fact in entries:
            present, words = (record | of_advice[-1]).get(fact, (None, ""))
            state = {True: "evidence found", False: "missing", None: "please write"}[present]
            words = words or "not in the record; only the authors can answer"
            expected.append((name, number, text, state, words))
    assert table.rows == expected
    assert [(c.heading, c.wrap) for c in table.columns] == [
        ("Guideline", False),
        ("Item", False),
        ("Text (paraphrased)", True),
        ("State", False),
        ("Evidence", True),
    ]
    assert table.note.startswith("Evidence found means only that the record contains something to")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


def test_source(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = pd.DataFrame({"skipped": [1, 2], "kind": ["ddsm", "folder"]})
    mammograms = pd.DataFrame({"scanner": ["b", "", "a", "b"], "width": [1024, 640, 1024, 640]})
    counts = [4]
    replace(
        monkeypatch,
        evidence.dataset_table,
        dataset_counts=lambda con: {"mammograms": counts[-1], "patients": 9},
        load_sources=lambda con: sources,
        load_mammograms=lambda con: mammograms,
        load_problems=lambda con: pd.DataFrame({"item": [1]}),
    )
    excluded = "3 patients excluded because a file could not be read"
    assert evidence._source_evidence(None) == {
        "sources": (True, "source: ddsm, folder"),
        "eligibility": (True, f"every readable patient of the source; {excluded}"),
        "preprocessing": (
            True,
            "mammograms resized to a width of 640, 1,024 pixels; 1 problem listed (Data page,"
            " Problems)",
        ),
        "excluded": (True, f"{excluded} (Data page, Problems)"),
        "scanner": (True, "scanner: a, b"),
    }
    mammograms["scanner"] = ""
    assert evidence._source_evidence(None)["scanner"] == (False, "scanner: ")
    counts.append(0)
    none = dict.fromkeys(
        ("sources", "eligibility", "preprocessing", "excluded", "scanner"),
        (False, "deepminer ingest"),
    )
    assert evidence._source_evidence(None) == none


def test_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [pd.DataFrame({"pathology": ["UNPROVEN", "BENIGN", "UNPROVEN"]})]
    patients = [pd.DataFrame({"age": [None, 50.0], "density": [None, None]})]
    counts = [3]
    replace(
        monkeypatch,
        evidence.dataset_table,
        dataset_counts=lambda con: {"mammograms": counts[-1]},
        load_findings=lambda con: findings[-1],
        load_patients=lambda con: patients[-1],
    )
    described = "table cohort: age and density by split"
    found = {
        "baseline": (True, described),
        "severity": (
            True,
            "table cohort: findings by pathology; lesion type, assessment and subtlety in the"
            " store",
        ),
        "reference": (
            True,
            "pathology of each finding as given by the source; the truth of an image is its worst"
            " finding",
        ),
        "unproven": (True, "2 findings UNPROVEN: excluded from truth and counted"),
    }
    assert evidence._truth_evidence(None, "patches-1") == found
    assert evidence._truth_evidence(None, None)["baseline"] == (False, described)
    patients.append(pd.DataFrame({"age": [None], "density": [3]}))
    assert evidence._truth_evidence(None, "p")["baseline"] == (True, described)
    patients.append(pd.DataFrame({"age": [None], "density": [None]}))
    findings.append(findings[0].iloc[:0])
    counts.append(0)
    missing = (False, "deepminer ingest")
    assert evidence._truth_evidence(None, "p") == {
        "baseline": (False, "the source gives neither age nor density"),
        "severity": missing,
        "reference": missing,
        "unproven": missing,
    }


def test_partition_and_training(monkeypatch: pytest.MonkeyPatch) -> None:
    module = evidence
    run = {
        "settings": {"training": {"weights": "/folder/net.pt", "pool": "max"}},
        "manifest": {
            "architecture": "vgg16",
            "software": {"python": "3", "numpy": "2", "torch": "1", "deepminer": "4"},
        },
    }
    replace(
        monkeypatch,
        module,
        patch_sentences=lambda given, weak: f"Patches {given} {weak}.",
        split_sentence=lambda given: f"Split {given}.",
        training_sentences=lambda given: "Training.",
        sampling_sentence=lambda training: f"Sampling {training['pool']}.",
        kept_epoch_sentence=lambda training, manifest: f"Kept {manifest['architecture']}.",
    )
    monkeypatch.setattr(module.run_table, "load_run", lambda con, name: f"run {name}")
    monkeypatch.setattr(module.dataset_table, "any_image_level_source", lambda con: "weak")
    assert module._partition_evidence(None, "p1") == {
        "patches": (True, "Patches run p1 weak. Run p1"),
        "split": (True, "Split run p1. Run p1"),
        "flow": (True, "figure flow, table cohort"),
    }
    none = (False, "deepminer patches")
    assert module._partition_evidence(None, None) == dict.fromkeys(
        ("patches", "split", "flow"), none
    )
    monkeypatch.setattr(module.run_table, "load_run", lambda con, name: run)
    found = {
        "network": (True, "architecture vgg16, weights net.pt, pooling max; run t1"),
        "training": (True, "Training. Run t1"),
        "software": (True, "python 3, torch 1, deepminer 4"),
        "ensemble": (True, "none: one network, one checkpoint (run t1)"),
        "imbalance": (True, "Sampling max."),
        "selection": (True, "Kept vgg16."),
    }
    assert module._training_evidence(None, "t1") == found
    run["manifest"]["imported"] = {"file": "a"}
    not_trained = (False, "the network was imported and not trained in this study")
    changed = dict.fromkeys(("imbalance", "selection"), not_trained)
    assert module._training_evidence(None, "t1") == found | changed
    none = dict.fromkeys(found, (False, "deepminer train"))
    assert module._training_evidence(None, None) == none


def test_performance(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [SimpleNamespace(variable=name) for name in ("view", "view", "density")]
    points: list[Any] = [SimpleNamespace(threshold=0.12346)]
    printed = [groups]
    where = (STUDY, "e1", "test")
    numbers = {"patch": 11, "image": 12, "case": 13}
    replace(
        monkeypatch,
        evidence.performance,
        load_operating_point=lambda *given: points[-1] if given == (*where, "image") else "?",
        load_subgroups=lambda *given: given,
        printed_subgroups=lambda given, n: printed[-1] if (given, n) == (where, 5) else "?",
        load_class_results=lambda *given: [
            SimpleNamespace(name=name, auc=bounds(numbers[given[3]] + shift))
            for name, shift in (("benign", 50), ("malignant", 0))
        ],
    )
    replace(
        monkeypatch,
        evidence,
        load_observations=lambda *given: SimpleNamespace(
            truth=range(5) if given == (*where, "image") else ()
        ),
    )
    monkeypatch.setattr(
        evidence.lineage, "run_classes", lambda study, run: SimpleNamespace(positive="malignant")
    )
    found = evidence._performance_evidence(STUDY, "e1", True)
    areas = "; ".join(f"{level} AUC .{k}5 (95 % CI .{k}1 to .{k}9)" for level, k in numbers.items())
    assert found == {
        "threshold": (
            True,
            "mammograms: .1235, fixed on hold-out for a sensitivity of .8 and applied to the test"
            " split",
        ),
        "statistics": (
            True,
            "AUC with intervals clustered by patient, partial AUC, calibration; the provenance"
            " record of each export names its method",
        ),
        "accuracy": (True, f"{areas}; tables classifiers and operating_points, figure roc"),
        "crosstab": (True, "Performance page, Confusion; for readers: table reading"),
        "subgroups": (True, "figure subgroups: view, density; exploratory"),
        "failures": (True, "Performance page, Failures; figure explanations"),
    }
    points.append(None)
    printed.append([])
    changed = evidence._performance_evidence(STUDY, "e1", False)
    assert changed == found | {
        "threshold": (False, "hold-out has one class: no threshold can be fixed on it"),
        "crosstab": (True, "Performance page, Confusion"),
        "subgroups": (False, "no subgroup is large enough"),
    }
    none = dict.fromkeys(found, (False, "deepminer evaluate"))
    assert evidence._performance_evidence(STUDY, None, True) == none


def test_explanations_and_annotators(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "influence of units and their labels; figures units, coverage, explanations"
    assert evidence._explanation_evidence("e") == {"explanation": (True, text)}
    assert evidence._explanation_evidence(None) == {"explanation": (False, "deepminer explain")}
    progress = [pd.DataFrame({"code": ["A1", "A2", "A3"]})]
    finished = [(True, True, False)]
    people = pd.DataFrame({"code": ["A1", "A2", "A3", "R1"], "experience": ["5", "", "9", "7"]})
    monkeypatch.setattr(
        evidence.annotation_table, "annotation_progress_by_expert", lambda con, run: progress[-1]
    )
    monkeypatch.setattr(
        evidence.unit_table,
        "load_selected_units",
        lambda con, run: pd.DataFrame({"unit": [4, 4, 5]}),
    )
    monkeypatch.setattr(evidence.participant_table, "load_participants", lambda con: people)
    monkeypatch.setattr(
        evidence,
        "annotator_states",
        lambda con, run: {k: SimpleNamespace(finished=v) for k, v in enumerate(finished[-1])},
    )
    invite = "deepminer invite annotator"
    needed = f"two annotators who have finished are needed: {invite}"
    annotators = "3 annotators of 2 selected units; 2 stated their experience (Participants page)"
    assert evidence._annotation_evidence(None, "d1") == {
        "annotators": (True, annotators),
        "agreement": (True, "table and figure agreement"),
    }
    finished.append((True, False))
    assert evidence._annotation_evidence(None, "d1")["agreement"] == (False, needed)
    progress.append(progress[0].iloc[:0])
    nobody = {"annotators": (False, invite), "agreement": (False, needed)}
    assert evidence._annotation_evidence(None, "d1") == nobody
    assert evidence._annotation_evidence(None, None) == nobody


def frozen(state: str, number: int) -> SimpleNamespace:
    severities = ("warning", "note", "warning")
    return SimpleNamespace(
        protocol=f"P{number}",
        version=number,
        state=state,
        hash="0123456789abcdef",
        run="explain-1",
        lint=[{"severity": severity} for severity in severities],
        design={"flow": [["a", 4, 3], ["b", 2, 1]], "practice": [["x"]]},
    )


def test_reading_study(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [frozen("closed", 1), frozen("reading", 2), frozen("designed", 3)]
    design = SimpleNamespace(arms=("image", "shuffled"), hypothesis="Better.")
    monkeypatch.setattr(evidence.protocol_table, "list_protocols", lambda con: listed)
    monkeypatch.setattr(evidence.workflow, "protocol_design", lambda protocol: design)
    monkeypatch.setattr(
        evidence.reading_table, "load_reading_cases", lambda con, *given: f"cases {given}"
    )
    monkeypatch.setattr(evidence, "_sample_evidence", lambda *given: given)
    found = evidence._reading_evidence(None)
    shown = (
        "a case showed neither truth nor the network's score, only the content of its arm (image:"
        " the mammogram; shuffled explanation: the labels of another case); 3 findings of the"
        " leakage checks before freezing"
    )
    assert found == {
        "hypothesis": (True, "frozen before reading: Better."),
        "sample": (design, "cases ('P2', 2)"),
        "blinding": (True, shown),
        "protocol": (True, "P2, version 2, hash 0123456789ab; table protocol"),
        "limits": (True, "2 warnings of the leakage checks; see Limitations"),
    }
    listed[1].lint = []
    assert evidence._reading_evidence(None)["blinding"] == (False, "deepminer reading lint")
    del listed[:2]
    none = dict.fromkeys(found, (False, "deepminer reading freeze"))
    assert evidence._reading_evidence(None) == none


def test_sample_size(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = pd.DataFrame({"arm": ["image"] * 4 + ["x"] * 2, "patient_id": list("aabcde")})
    plan = SimpleNamespace(
        power=0.81,
        endpoint="proportion",
        expected=0.62,
        readers=1,
        images_per_patient=2,
        alpha=0.05,
    )
    design = SimpleNamespace(arms=("image", "x"), primary="gee")
    asked: list[Any] = []
    monkeypatch.setattr(evidence, "design_power", lambda *given: asked.append(given) or plan)
    monkeypatch.setattr(evidence, "power_assumption", lambda given: "assumed")
    endpoint = evidence.ENDPOINTS["proportion"]
    assert evidence._sample_evidence(design, cases) == (  # type: ignore[arg-type]
        True,
        "power .810 of the proportion correct, GEE clustered by patient for an expected"
        f" {endpoint} of .620 (assumed), with 3 patients, 1 reader, 2 images a patient, alpha .050",
    )
    assert asked == [(design, 3, 4)]
    plan.power = None
    assert evidence._sample_evidence(design, cases) == (False, "deepminer reading plan")  # type: ignore[arg-type]

    def refuse(*_: Any) -> None:
        raise ValueError("one case")

    monkeypatch.setattr(evidence, "design_power", refuse)
    assert evidence._sample_evidence(design, cases) == (  # type: ignore[arg-type]
        False,
        "no power could be computed: one case",
    )


def test_all_facts_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = ["protocol"]
    replace(
        monkeypatch,
        evidence,
        _source_evidence=lambda con: {"a": con},
        _truth_evidence=lambda con, run: {"b": run},
        _partition_evidence=lambda con, run: {"c": run},
        _training_evidence=lambda con, run: {"d": run},
        _explanation_evidence=lambda run: {"e": run},
        _annotation_evidence=lambda con, run: {"f": run},
        _reading_evidence=lambda con: {"g": con},
        _performance_evidence=lambda *given: {"h": given},
        closed_protocol=lambda con: closed[-1],
    )
    monkeypatch.setattr(evidence.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(evidence.run_table, "latest_run", lambda con, kind: f"{kind}-1")
    facts = {
        "a": STUDY,
        "b": "patches-1",
        "c": "patches-1",
        "d": "train-1",
        "e": "explain-1",
        "f": "dissect-1",
        "g": STUDY,
        "external": (False, "one data set only: no test on data from another source"),
        "h": (STUDY, "evaluate-1", True),
    }
    assert evidence.recorded_evidence(STUDY) == facts
    closed.append(None)
    assert evidence.recorded_evidence(STUDY) == facts | {"h": (STUDY, "evaluate-1", False)}
