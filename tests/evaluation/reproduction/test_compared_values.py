"""Published and computed values, their reasons, and the pages that state them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.reproduction import comparison, exports, material
from evaluation.reproduction.comparison import Comparison, Computed
from evaluation.reproduction.material import Gap, LabelFile, Material
from evaluation.reproduction.published import PublishedValue, published_values
from support.reproduction_parts import (
    FOLDER,
    found_material,
    label_file,
    network_runs,
    rebuilt_study,
)

PIXELS = "Films are decoded and resized"


def test_published_values_of_the_papers() -> None:
    """As printed in HDSR 2021, in the preprint of 2018 and in SPIE 2018."""
    auc, part = "AUC of test patches against the rest", "pAUC of test patches by the DeepMiner 2021"
    coverage = "Coverage of 20 selected units on hold-out"
    spie = "AUC of validation patches, malignant against the rest"
    reading = "HDSR 2021, reading study"
    rows = [
        ("hdsr auc normal", "HDSR 2021", f"{auc}, normal", 0.862, 3, 0.01),
        ("hdsr auc benign", "HDSR 2021", f"{auc}, benign", 0.844, 3, 0.01),
        ("hdsr auc malignant", "HDSR 2021", f"{auc}, malignant", 0.872, 3, 0.01),
        ("hdsr pauc normal", "HDSR 2021", f"{part} formula, normal", 0.142, 3, 0.005),
        ("hdsr pauc benign", "HDSR 2021", f"{part} formula, benign", 0.136, 3, 0.005),
        ("hdsr pauc malignant", "HDSR 2021", f"{part} formula, malignant", 0.146, 3, 0.005),
        ("hdsr coverage normal", "HDSR 2021, section 2.4", f"{coverage}, normal", 0.5927, 4, 0.02),
        ("hdsr coverage benign", "HDSR 2021, section 2.4", f"{coverage}, benign", 0.6977, 4, 0.02),
        (
            *("hdsr coverage malignant", "HDSR 2021, section 2.4"),
            *(f"{coverage}, malignant", 0.7582, 4, 0.02),
        ),
        ("hdsr units", "HDSR 2021, Figure 3", "Labelled units", 46, 0, None),
        (
            *("similarity top unit", "2018 preprint"),
            *("Greedy matching of labels to reports, top unit", 0.627, 3, None),
        ),
        (
            *("similarity top eight", "2018 preprint"),
            *("Greedy matching of labels to reports, top eight", 0.533, 3, None),
        ),
        ("reading cases", reading, "Cases read", 330, 0, None),
        ("reading correct", reading, "Right answers, truth by folder", 182, 0, None),
        ("reading p", reading, "One-sided exact binomial P", 0.0346, 4, None),
        ("spie auc alexnet", "SPIE 2018, Table 1", f"{spie}, alexnet", 0.8632, 4, 0.01),
        ("spie auc vgg16", "SPIE 2018, Table 1", f"{spie}, vgg16", 0.8929, 4, 0.01),
        ("spie auc inception_v3", "SPIE 2018, Table 1", f"{spie}, inception_v3", 0.8805, 4, 0.01),
        ("spie auc resnet152", "SPIE 2018, Table 1", f"{spie}, resnet152", 0.8757, 4, 0.01),
        ("spie units", "SPIE 2018, Figure 4", "Labelled units of four networks", 134, 0, None),
    ]
    values = published_values()
    assert [(v.key, v.source, v.quantity, v.value, v.digits, v.tolerance) for v in values] == rows
    for value in values:
        if value.tolerance is not None:
            assert value.difference.startswith(PIXELS)
        else:
            assert bool(value.difference) == (value.key[:4] in ("hdsr", "simi")), value.key


def published(**changes: Any) -> PublishedValue:
    values = {
        "key": "k",
        "source": "Paper, Table 1",
        "quantity": "Share",
        "value": 0.5,
        "digits": 2,
    }
    return PublishedValue(**values | {"difference": "Other films.", "tolerance": 0.25} | changes)


def test_reasons_of_differences() -> None:
    def reason(value: float | None, remark: str = "", **changes: Any) -> str:
        return Comparison(published(**changes), Computed(value, "run", remark)).reason()

    assert Comparison(published(), None).reason() == (
        "Not computed: the material for it is missing."
    )
    assert reason(None) == "Not estimable."
    assert reason(None, "One patient.") == "Not estimable. One patient."
    assert reason(0.504) == reason(0.496) == ""
    assert reason(0.51) == reason(0.75) == reason(0.25) == "Other films."
    above = "Other films. That explains a difference of up to .250."
    check = " This one is larger: check checkpoint, films and labels."
    assert reason(0.751) == reason(0.249) == above + check
    assert reason(0.751, "A part.") == f"A part. {above}"
    assert reason(0.6, "A part.") == "A part. Other films."
    assert reason(0.9, tolerance=None) == "Other films."
    # .51 - .5 is a little more than .01 as floating-point numbers.
    assert reason(0.51, tolerance=0.01) == "Other films."
    unknown = "Differs without a known reason: check the material."
    assert reason(0.9, tolerance=None, difference="") == unknown


def test_labelled_units_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consensus replaces the raw answers of its network; equal units of networks are two."""
    monkeypatch.setattr(material, "is_substantive", lambda answer: answer["recognisable"] == "yes")
    files = (
        label_file("resnet152", 3, [1, 2, 3, 4], "expert", "raw.json"),
        label_file("resnet152", 3, [1, 2], name="cleaned.json"),
        label_file("vgg16", 2, [1, 5], "expert", "v.json"),
        label_file("vgg16", 2, [5, 6, 7], "other", "w.json"),
        label_file("alexnet", 2, [1]),
    )
    assert [file.is_consensus for file in files] == [False, True, False, False, True]
    assert files[0].named_units() == {1, 2, 3, 4}
    assert comparison._label_counts(files) == {
        "hdsr units": Computed(2, "cleaned.json", "Networks with labels: resnet152."),
        "spie units": Computed(
            5, "v.json, w.json, alexnet.json", "Networks with labels: alexnet, vgg16."
        ),
    }
    assert comparison._label_counts(files[2:]).keys() == {"spie units"}
    mixed = LabelFile(Path("m"), "vgg16", 2, (*files[1].entries, *files[2].entries))
    assert not mixed.is_consensus
    found = Material(films=None, patch_labels=(), checkpoints=(), labels=files, sheets={}, gaps=())
    assert found.labels_of("vgg16", 2) == list(files[2:4])
    assert found.labels_of("vgg16", 3) == []


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of runs, all numbers different."""
    results = [
        SimpleNamespace(
            name=name,
            auc=SimpleNamespace(estimate=0.7 + k / 100),
            partial=SimpleNamespace(deepminer_2021=0.1 + k / 100),
        )
        for k, name in enumerate(("normal", "benign", "malignant"))
    ]
    shares = pd.DataFrame(
        {
            "class": [0, 1, 1, 2],
            "name": ["selected", "chance", "selected", "selected"],
            "estimate": [0.31, 0.99, 0.32, 0.33],
        }
    )
    similarity = [
        SimpleNamespace(
            published=value,
            selection=selection,
            vectors="v.txt",
            result=SimpleNamespace(reason=reason, mean=SimpleNamespace(estimate=estimate)),
        )
        for value, selection, reason, estimate in (
            (0.6, "top unit", None, 0.41),
            (None, "concepts", None, 0.42),
            (0.5, "top eight", "no pair has a score", None),
        )
    ]
    metrics = pd.DataFrame(
        [
            ("patch", "auc", "malignant", 0.81),
            ("image", "auc", "malignant", 0.82),
            ("patch", "pauc", "malignant", 0.83),
            ("patch", "auc", "other", 0.84),
        ],
        columns=["level", "name", "class", "estimate"],
    )

    def load_metrics(con: Any, run: str, split: str) -> pd.DataFrame:
        assert split == "holdout"
        return metrics.assign(estimate=metrics["estimate"] if run == "evaluate-1" else np.nan)

    def class_results(*given: Any) -> list[SimpleNamespace]:
        assert given == (FOLDER, "evaluate-2", "test", "patch")
        return results

    monkeypatch.setattr(comparison.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(comparison.performance, "load_class_results", class_results)
    monkeypatch.setattr(
        comparison.unit_table,
        "load_coverage",
        lambda con, run: shares if (con, run) == (FOLDER, "coverage-2") else None,
    )
    monkeypatch.setattr(
        comparison,
        "measure_report_similarity",
        lambda *given: similarity if given == (FOLDER, "explain-2") else [],
    )
    monkeypatch.setattr(comparison.run_table, "load_metrics", load_metrics)


def test_values_of_the_studies(measured: None) -> None:
    three = rebuilt_study(3, network_runs("vgg16", 1), network_runs("resnet152", 2))
    two = rebuilt_study(
        2, network_runs("alexnet", 1, False), network_runs("vgg16", 3, False), partial=True
    )
    replay = SimpleNamespace(
        n=321,
        truth_rules={
            "folder": SimpleNamespace(correct=180, p_greater=0.04),
            "any": SimpleNamespace(correct=170, p_greater=0.5),
        },
    )
    compared = comparison.compare(found_material((3,)), [three, two], replay)  # type: ignore[arg-type]
    assert [c.published for c in compared] == list(published_values())
    computed = {c.published.key: c.computed for c in compared if c.computed is not None}
    partial = (
        "Windows and labels of patches follow the overlap rule. Computed on a part of the films."
    )
    assert computed == {
        **{
            f"hdsr auc {name}": Computed(0.7 + k / 100, "evaluate-2")
            for k, name in enumerate(("normal", "benign", "malignant"))
        },
        **{
            f"hdsr pauc {name}": Computed(0.1 + k / 100, "evaluate-2")
            for k, name in enumerate(("normal", "benign", "malignant"))
        },
        **{
            f"hdsr coverage {name}": Computed(0.31 + k / 100, "coverage-2")
            for k, name in enumerate(("normal", "benign", "malignant"))
        },
        "similarity top unit": Computed(0.41, "explain-2", "Word vectors: v.txt."),
        "similarity top eight": Computed(
            None, "explain-2", "No pair has a score. Word vectors: v.txt."
        ),
        "spie auc alexnet": Computed(0.81, "evaluate-1", partial),
        "spie auc vgg16": Computed(None, "evaluate-3", partial),
        "reading cases": Computed(321, "reading_replay.md"),
        "reading correct": Computed(180, "reading_replay.md"),
        "reading p": Computed(0.04, "reading_replay.md"),
    }
    assert all(
        c.computed is None for c in comparison.compare(found_material(), [rebuilt_study(3)], None)
    )


def test_another_network_than_the_published_one_is_stated(measured: None) -> None:
    other = rebuilt_study(3, network_runs("vgg16", 2), partial=True)
    values = comparison._hdsr_values(other, "R.")
    remark = "The network is vgg16, not resnet152. R."
    assert {value.remark for key, value in values.items() if key.startswith("hdsr")} == {remark}
    assert values["similarity top unit"].remark == f"Word vectors: v.txt. {remark}"
    alone = comparison._hdsr_values(rebuilt_study(3, network_runs("vgg16", 2, explain=False)), "")
    assert {v.remark for v in alone.values()} == {"The network is vgg16, not resnet152."}
    assert not any(key.startswith("similarity") for key in alone)


def test_files_of_a_comparison(tmp_path: Path) -> None:
    compared = [
        Comparison(published(), Computed(0.6, "run-1")),
        Comparison(published(quantity="Count", digits=0, value=46), None),
        Comparison(published(quantity="P"), Computed(0.504, "=run-2")),
    ]
    table = exports.comparison_table(compared)
    missing = "Not computed: the material for it is missing."
    assert list(table) == ["source", "quantity", "published", "computed", "origin", "reason"]
    assert table.astype(object).where(table.notna(), None).values.tolist() == [
        ["Paper, Table 1", "Share", 0.5, 0.6, "run-1", "Other films."],
        ["Paper, Table 1", "Count", 46, None, "", missing],
        ["Paper, Table 1", "P", 0.5, 0.504, "=run-2", ""],
    ]
    out = tmp_path / "new"
    exports.write_comparison(compared, [Gap("films", "no | truth")], out)
    assert (out / "reproduction.md").read_text().split("\n") == [
        "# Published values and those computed from the material",
        "",
        "| source | quantity | published | computed | reason of a difference |",
        "|---|---|---|---|---|",
        "| Paper, Table 1 | Share | .50 | .60 | Other films. |",
        f"| Paper, Table 1 | Count | 46 | – | {missing} |",
        "| Paper, Table 1 | P | .50 | .50 |  |",
        "",
        "## Missing or unused material",
        "",
        "- films: no | truth",
        "",
    ]
    written = pd.read_csv(out / "reproduction.csv", keep_default_na=False)
    assert written["origin"].tolist() == ["run-1", "", "'=run-2"]
    exports.write_comparison(compared, [], out)
    assert (out / "reproduction.md").read_text().endswith("\nNothing is missing.\n")


def test_files_of_the_replayed_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        SimpleNamespace(
            case=f"{k}|", texts=(f"a{k}", "b"), folder="benign", answer=k % 2 == 0, score=k / 4
        )
        for k in range(5)
    ]
    monkeypatch.setattr(
        exports,
        "read_replay_cases",
        lambda *sheets: cases if sheets == ("c", "r", "k") else None,
    )
    replay = SimpleNamespace(sentences=lambda: ["One.", "Two."], as_dict=lambda: {"p": 0.5, "ä": 1})
    sheets = {"key": "k", "responses": "r", "cases": "c"}
    exports.write_replay(found_material(sheets=sheets), replay, tmp_path / "out")  # type: ignore[arg-type]
    assert (tmp_path / "out" / "reading_replay.md").read_text().split("\n") == [
        "# The published reading study, analysed again",
        "",
        "- One.",
        "- Two.",
        "",
        "## The first 3 cases (the form of HDSR 2021, Table 1)",
        "",
        "| case | texts | truth by folder | answer | network score |",
        "|---|---|---|---|---|",
        "| 0\\| | a0; b | benign | malignant | .000 |",
        "| 1\\| | a1; b | benign | benign | .250 |",
        "| 2\\| | a2; b | benign | malignant | .500 |",
        "",
    ]
    text = (tmp_path / "out" / "reading_replay.json").read_text()
    assert json.loads(text) == {"p": 0.5, "ä": 1} and "ä" in text and "\n " in text


@pytest.mark.parametrize("classes", [3, 2])
def test_figures_and_tables_of_a_study(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    drawn = SimpleNamespace(name="roc", record="r", reason="")
    skipped = SimpleNamespace(name="units", record=None, reason="no labels")
    table = SimpleNamespace(name="cohort", record=None, reason="no patches")
    monkeypatch.setattr(
        exports, "export_figures", lambda *given: asked.append(given) or [drawn, skipped]
    )
    monkeypatch.setattr(exports, "export_tables", lambda *given: asked.append(given) or [table])
    study, out = rebuilt_study(classes, network_runs("vgg16", 1)), Path("out")
    written, gaps = exports.export_study(study, out, ("svg",), nullcontext)
    assert written == [drawn, skipped, table]
    assert gaps == [
        Gap(f"{classes} classes: units", "not drawn: no labels"),
        Gap(f"{classes} classes: cohort", "not drawn: no patches"),
    ]
    if classes == 3:
        figures = ("units", "categories", "explanations", "roc", "coverage")
        tables = ("cohort", "classifiers", "units", "categories", "coverage", "similarity")
    else:
        figures = ("units", "categories", "roc")
        tables = ("cohort", "architectures", "classifiers", "units", "categories", "coverage")
    assert asked == [
        (FOLDER, figures, out, None, ("svg",), f"{classes} classes: figures"),
        (FOLDER, tables, out, f"{classes} classes: tables"),
    ]
    assert exports.export_study(rebuilt_study(classes), out, ("svg",), nullcontext) == ([], [])
