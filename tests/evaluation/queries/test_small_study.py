"""What the queries return about one small study without training, counted by hand."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import settings, store
from core.store import dataset_table, run_table
from evaluation.queries import units
from evaluation.queries.provenance import current_inputs, simulated_parts, stale_exports
from evaluation.queries.study_overview import StepCard, StudyWarning, step_cards, study_warnings
from evaluation.queries.study_status import study_status
from evaluation.queries.unit_summaries import coverage_summary, labelled_coverage_by_class
from support import explained_study, synthetic_study
from support.explained_study import EVALUATE, EXPLAIN
from support.synthetic_study import DISSECT, MADE, PATCHES

TRAIN, COVERAGE = "train-000000000009", "coverage-000000000008"
LATER = datetime(2026, 3, 4, 5, 6)
# Two hold-out mammograms and their two top units for each class.
TOPS = {"ZQXCASE000": ((0, 1), (7, 30), (14, 3)), "ZQXCASE002": ((0, 9), (8, 7), (2, 16))}
COVERED = [
    (2, "selected", 0.81, None, None, 12),
    (2, "interval", 0.81, 0.71, 0.91, 12),
    (2, "split_half", 0.78, 0.68, 0.88, 12),
    (2, "chance", 0.2, None, None, 12),
    (2, "curve_10", 0.9, None, None, 12),
    (2, "curve_2", 0.5, None, None, 12),
    (2, "curve_1", 0.3, None, None, 12),
    (0, "selected", 0.61, None, None, 11),
    (0, "interval", 0.61, 0.51, 0.72, 11),
    (0, "split_half", 0.58, 0.48, 0.69, 11),
    (0, "chance", 0.25, None, None, 11),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = explained_study.create_study(tmp_path_factory.mktemp("queries") / "study")
    current = settings.load_settings(study)
    requested = {
        "patches": current.patches.model_dump(),
        "splits": current.splits.model_dump(),
        "seed": current.study.seed,
        "input_side": 64,
    }
    manifests = {
        PATCHES: {"inputs": "hash", "patches": 4321, "classes": 3},
        TRAIN: {"architecture": "resnet18", "best_epoch": 4},
        EVALUATE: {"classes": 3},
        DISSECT: {"units": 40, "dead_units": [3, 9, 11], "mammograms": ["m"] * 12, "layer": "L"},
        EXPLAIN: {"classes": 3},
    }
    with store.write(study) as con:
        dataset_table.set_meta(con, "data_hash", "hash")
        con.execute(
            "INSERT INTO runs VALUES (?, 'train', ?, ?, '{}', ?, 1.0)",
            [TRAIN, json.dumps({"training": {"epochs": 7}}), json.dumps([PATCHES]), MADE],
        )
        con.execute(
            "INSERT INTO runs VALUES (?, 'coverage', '{}', ?, '{}', ?, 1.0)",
            [COVERAGE, json.dumps([DISSECT]), MADE],
        )
        for run, manifest in manifests.items():
            con.execute("UPDATE runs SET manifest = ? WHERE run = ?", [json.dumps(manifest), run])
        parents = {EVALUATE: [TRAIN, PATCHES], DISSECT: [EVALUATE], EXPLAIN: [DISSECT]}
        for run, names in parents.items():
            con.execute("UPDATE runs SET parents = ? WHERE run = ?", [json.dumps(names), run])
        for run, used in ((PATCHES, requested), (DISSECT, {"dissection": {"top": 2}})):
            con.execute("UPDATE runs SET settings = ? WHERE run = ?", [json.dumps(used), run])
        con.execute("UPDATE units SET dead = unit IN (3, 9, 11), outside = unit / 100")
        for unit, patients in ((1, 3), (5, 7), (30, 2)):
            con.execute(f"UPDATE units SET top_patients = {patients} WHERE unit = {unit}")
        metric = "INSERT INTO metrics VALUES (?, ?, ?, ?, 'auc', ?, 0.6, 0.9, 'm', '', ?, 5, ?)"
        for split, level, name, area, n, patients in (
            ("holdout", "patch", "benign", 0.7, 99, 98),
            ("holdout", "image", "malignant", 0.8, 97, 96),
            ("holdout", "patch", "malignant", 0.75, 1230, 17),
            ("test", "patch", "malignant", 0.65, 95, 94),
            ("test", "patch", "normal", 0.62, 95, 94),
        ):
            con.execute(metric, [EVALUATE, split, level, name, area, n, patients])
        con.execute(
            "UPDATE explanations SET predicted = 1"
            " WHERE mammogram_id IN ('ZQXCASE001', 'ZQXCASE004')"
        )
        columns = ["class", "name", "estimate", "low", "high", "n"]
        covered = pd.DataFrame(COVERED, columns=columns).assign(run=COVERAGE, method="m")
        synthetic_study.insert_rows(con, "coverage", covered)
        rows = [
            {
                "run": DISSECT,
                "mammogram_id": case,
                "class": c,
                "rank": r,
                "unit": unit,
                "influence": 1.0,
            }
            for case, of_class in TOPS.items()
            for c, pair in enumerate(of_class)
            for r, unit in enumerate(pair, start=1)
        ]
        synthetic_study.insert_rows(con, "influences", pd.DataFrame(rows))
        answer = synthetic_study.mass_answer() | {"label": "Own label"}
        synthetic_study.annotate(con, "A1", 7, answer, repeat=True)
        synthetic_study.annotate(con, "A1", 6, answer, practice=True)
        for actor in ("T1", "T2"):
            run_table.append_log(con, actor, "test split opened", EVALUATE)
        con.execute("UPDATE log SET made = ? WHERE who = 'T2'", [LATER])
        con.execute("UPDATE log SET made = ? WHERE who = 'T1'", [MADE])
    rng = np.random.default_rng(7)
    folder = study / "runs" / DISSECT
    (folder / "manifest.json").write_text("{}")
    np.save(folder / "activations.npy", rng.random((320, 40)).astype(np.float16))
    np.save(folder / "patch_ids.npy", rng.permutation(320))
    np.save(folder / "influence.npy", rng.normal(size=(9, 3, 40)))
    return study


@pytest.fixture
def changed(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


def card(kind: str, title: str, headline: str, lines: tuple[str, ...], **more: object) -> StepCard:
    values = {"state": "done", "made": MADE} | more
    return StepCard(kind=kind, title=title, headline=headline, lines=lines, **values)


def test_every_step_of_the_study(study: Path) -> None:
    current = settings.load_settings(study)
    found = step_cards(study)
    overlap = f"{100 * current.patches.min_overlap:g} % rule"
    expected = [
        card("source", "Source", "8 patients", ("16 mammograms", "16 findings")),
        card("patches", "Patches", "4,321 patches", (overlap, f"split seed {current.study.seed}")),
        card("train", "Classifier", "resnet18", ("7 epochs", "best: epoch 5")),
        card("evaluate", "Evaluation", "1,230 patches", ("hold-out", "17 patients")),
        card("dissect", "Units", "40 units", ("20 selected", "3 dead")),
        card("annotate", "Annotation", "8 / 20 units", ("1 expert",), made=found[5].made),
        card("explain", "Explanations", "16 mammograms", ("14 malignant", "hold-out and test")),
        StepCard(
            kind="reading",
            title="Reading",
            state="missing",
            headline="not designed",
            command="deepminer reading create",
        ),
        StepCard(
            kind="report",
            title="Report",
            state="missing",
            headline="no figures yet",
            command="deepminer figures all --out exports",
        ),
    ]
    assert found == expected and found[5].made is not None


def test_steps_out_of_date(changed: Path) -> None:
    def notes() -> dict[str, str]:
        cards = step_cards(changed)
        assert all((c.state == "stale") == bool(c.note) == bool(c.command) for c in cards[:5])
        return {c.kind: c.note for c in cards if c.note}

    with store.write(changed) as con:
        con.execute("UPDATE sources SET skipped = 3")
        con.execute(f"UPDATE runs SET parents = '[\"{PATCHES}\"]' WHERE kind = 'explain'")
    assert step_cards(changed)[0].lines == ("16 mammograms", "3 skipped") and notes() == {}
    with store.write(changed) as con:
        con.execute(
            "INSERT INTO runs SELECT * REPLACE ('train-new' AS run, made + INTERVAL 1 DAY AS made)"
            " FROM runs WHERE kind = 'train'"
        )
    # A newer classifier: what rests on the earlier one is out of date.
    assert notes() == {"evaluate": "train is newer", "dissect": "evaluate is newer"}
    with store.write(changed) as con:
        dataset_table.set_meta(con, "data_hash", "other")
    assert notes() == {
        "patches": "images were added since",
        "train": "patches is newer",
        "evaluate": "train is newer",
        "dissect": "evaluate is newer",
        "explain": "patches is newer",
    }
    with store.write(changed) as con:
        dataset_table.set_meta(con, "data_hash", "hash")
        con.execute(
            "UPDATE runs SET settings = json_merge_patch(settings, '{\"seed\": 99}')"
            " WHERE kind = 'patches'"
        )
    assert notes()["patches"] == "study.toml changed since"
    with store.write(changed) as con:
        con.execute("DELETE FROM runs WHERE kind IN ('train', 'dissect')")
        con.execute(f"UPDATE runs SET parents = '[\"{PATCHES}\"]' WHERE kind = 'evaluate'")
        con.execute("DELETE FROM metrics")
        manifest = {"architecture": "own", "imported": {"file": "net.pth"}}
        con.execute(
            "INSERT INTO runs VALUES ('t', 'train', '{}', '[]', ?, ?, 1.0)",
            [json.dumps(manifest), MADE],
        )
    cards = {c.kind: c for c in step_cards(changed)}
    assert (cards["train"].headline, cards["train"].lines) == ("own", ("imported", "net.pth"))
    missing = StepCard(
        kind="dissect",
        title="Units",
        state="missing",
        headline="no run yet",
        command="deepminer dissect",
    )
    assert cards["dissect"] == missing
    assert cards["annotate"] == StepCard(
        kind="annotate",
        title="Annotation",
        state="missing",
        headline="no units yet",
        command="deepminer dissect",
    )


def test_warnings_about_the_study(study: Path) -> None:
    assert study_warnings(study) == [
        StudyWarning(
            "Single-expert labels: fewer than two experts have finished, so 8 labels of A1 are used"
            " without a confirmation by another expert (provisional).",
            "annotations",
        ),
        # Unit 30 comes from two patients and is not selected; seven patients are few, eight not.
        StudyWarning(
            "The 32 top patches of 2 selected units come from fewer than 8 patients: unit_0002 (3),"
            " unit_0006 (7).",
            "units",
            (("sort", "Fewest patients"),),
        ),
        StudyWarning("The test split was opened 2 times, last 04 Mar 05:06.", "performance"),
    ]


def test_long_lists_are_cut(changed: Path) -> None:
    with store.write(changed) as con:
        con.execute("UPDATE units SET top_patients = 4 WHERE unit < 7")
        con.execute("UPDATE sources SET image_labels = TRUE")
    first, _, few, _ = study_warnings(changed)
    assert few.sentence.endswith("unit_0005 (4), unit_0006 (4) and 1 more.")
    assert few.sentence.startswith("The 32 top patches of 7 selected units")
    assert (first.page, first.query) == ("data", ())
    assert first.sentence == "Labels are image-level; every number that rests on them is weak."


def test_rows_of_units(study: Path) -> None:
    table = units.selected_units(study, DISSECT)
    with store.read(study) as con:
        chosen = con.execute("SELECT class, rank, unit, count FROM selected").fetchall()
        first = con.execute(
            "SELECT unit, label, count(*) FROM top_patches t JOIN patches p USING (patch_id)"
            " WHERE t.run = ? AND rank < 8 GROUP BY ALL",
            [DISSECT],
        ).fetchall()
    counts = {(unit, label): n for unit, label, n in first}
    lists: dict[int, list[tuple[int, int, int]]] = {}
    for code, rank, unit, count in chosen:
        lists.setdefault(unit, []).append((count, code, rank))
    names = ("normal", "benign", "malignant")
    assert list(table.columns) == [
        *("unit", "name", "classes", "rank", "count", "share", "images", "layer", "label"),
        *("state", "simulated", "answers", "top_patients", "outside", *names),
    ]
    expected = sorted(lists, key=lambda unit: (-max(lists[unit])[0], unit))
    assert table["unit"].tolist() == expected and len(expected) == 20
    for row in table.to_dict("records"):
        best = max(lists[row["unit"]])
        ordered = [names[code] for _, code, _ in sorted(lists[row["unit"]], reverse=True)]
        assert row["classes"] == ordered
        assert (row["count"], row["rank"]) == (best[0], best[2])
        assert row["share"] == best[0] / 12 and row["images"] == 12 and row["layer"] == "last"
        assert row["name"] == f"unit_{row['unit'] + 1:04d}"
        named = row["unit"] < 8
        assert (row["label"], row["state"]) == (
            (f"Label {row['unit']}", "provisional") if named else ("", "")
        )
        assert (row["answers"], row["simulated"]) == (int(named), False)
        assert row["top_patients"] == {1: 3, 5: 7}.get(row["unit"], 8)
        assert row["outside"] == pytest.approx(row["unit"] / 100)
        assert [row[n] for n in names] == [counts.get((row["unit"], k), 0) for k in range(3)]
    dead = units.selected_units(study, DISSECT, "dead")
    # They were selected with the counts 18, 17 and 16.
    assert dead["unit"].tolist() == [9, 3, 11]


def test_labels_of_a_named_set(study: Path) -> None:
    own = units.selected_units(study, DISSECT, label_set="A1").set_index("unit")
    assert own.loc[3, "label"] == "Label 3" and own.loc[9, "label"] == ""


def test_one_unit(study: Path) -> None:
    details = units.unit_details(study, DISSECT, 7)
    assert (details["top_patients"], details["dead"], details["layer"]) == (8, False, "last")
    assert [(s["class"], s["rank"], s["count"]) for s in details["selected"]] == [
        (0, 7, 13),
        (1, 0, 20),
    ]
    assert len(details["top"]) == 64 and set(details["top"]["unit"]) == {7}
    assert details["top"]["rank"].tolist() == list(range(64))
    assert len(details["answers"]) == 2 and details["concepts"] == []
    assert len(units.unit_details(study, DISSECT, 6)["answers"]) == 1


def test_patches_for_comparison(study: Path) -> None:
    folder = study / "runs" / DISSECT
    values = np.load(folder / "activations.npy")[:, 5].astype(np.float32)
    ids = np.load(folder / "patch_ids.npy")
    order = np.argsort(-values, kind="stable")
    drawn = np.sort(np.random.default_rng([1, 5]).choice(320, 32, replace=False))
    for kind, ranks in (("middle", np.arange(144, 176)), ("random", drawn)):
        table = units.comparison_patches(study, DISSECT, 5, kind).sort_values("rank")
        assert table["rank"].tolist() == ranks.tolist()
        assert table["patch_id"].tolist() == ids[order[ranks]].tolist()
        assert table["activation"].tolist() == values[order[ranks]].tolist()
        assert set(table["unit"]) == {5}
    few = units.comparison_patches(study, DISSECT, 5, "middle", 7)
    assert sorted(few["rank"]) == list(range(157, 163))
    for kind in ("middle", "random"):
        assert len(units.comparison_patches(study, DISSECT, 5, kind, 1000)) == 320


def test_activations_and_influences_by_class(study: Path) -> None:
    folder = study / "runs" / DISSECT
    values, ids = np.load(folder / "activations.npy")[:, 4], np.load(folder / "patch_ids.npy")
    with store.read(study) as con:
        labels = dict(con.execute("SELECT patch_id, label FROM patches").fetchall())
    found = units.activations_by_class(study, DISSECT, 4)
    for code, name in enumerate(("normal", "benign", "malignant")):
        assert found[name].tolist() == [v for v, i in zip(values, ids) if labels[i] == code]
    influence = np.load(folder / "influence.npy")
    quartiles = units.influence_quartiles(study, DISSECT, 6)
    for code, name in enumerate(("normal", "benign", "malignant")):
        expected = np.quantile(influence[:, code, 6], [0.25, 0.5, 0.75])
        assert quartiles[name] == pytest.approx(tuple(expected))


def test_coverage_by_class(study: Path) -> None:
    malignant, normal = coverage_summary(study, DISSECT)
    assert malignant.pop("curve").tolist() == [0.3, 0.5, 0.9] and not len(normal.pop("curve"))
    # Explained test mammograms: 14 to 19, 0 and 1 are selected for malignant.
    with store.read(study) as con:
        slots = con.execute(
            "SELECT unit FROM influences WHERE run = ? AND class = 2 AND rank <= 2", [EXPLAIN]
        ).fetchall()
    held_out = np.mean([unit in {14, 15, 16, 17, 18, 19, 0, 1} for (unit,) in slots])
    # Selected units with a label: 0 and 1 for malignant, of the slots 14, 3, 2 and 16 none; for
    # normal 0 to 7, of the slots 0, 1, 0 and 9 three.
    assert malignant == {
        "class": 2,
        "name": "malignant",
        "selected": 0.81,
        "low": 0.71,
        "high": 0.91,
        "split_half": 0.78,
        "half_low": 0.68,
        "half_high": 0.88,
        "labelled": 0.0,
        "chance": 0.2,
        "held_out": pytest.approx(held_out),
        "held_out_images": 16,
        "images": 12,
    }
    assert (normal["class"], normal["name"], normal["labelled"]) == (0, "normal", 3 / 4)
    assert (normal["held_out"], normal["held_out_images"], normal["images"]) == (None, 0, 11)
    # For benign 7 to 14: of the slots 7, 30, 8 and 7 only unit 7 has a label.
    assert labelled_coverage_by_class(study, DISSECT) == {
        0: (3 / 4, 8, 20),
        1: (2 / 4, 8, 20),
        2: (0.0, 8, 20),
    }


def test_status_of_the_study(study: Path) -> None:
    status = study_status(study)
    with store.read(study) as con:
        labels = Counter(label for (label,) in con.execute("SELECT label FROM patches").fetchall())
    areas = {"normal": 0.62, "benign": None, "malignant": 0.65}
    assert status["patches"] == {"normal": labels[0], "benign": labels[1], "malignant": labels[2]}
    assert (status["patients"], status["mammograms"], status["findings"]) == (8, 16, 16)
    runs = {row["id"]: row for row in status["runs"]}
    assert set(runs) == {PATCHES, TRAIN, EVALUATE, DISSECT, COVERAGE, EXPLAIN}
    for run, row in runs.items():
        assert row["kind"] == run.split("-")[0]
        assert (row["architecture"], row["auc"]) == ("resnet18", areas)
    assert status["coverage"] == {"normal": 0.61, "benign": None, "malignant": 0.81}
    assert status["annotations"] == {"units_selected": 20, "units_annotated": 8, "experts": 1}
    assert {k: v for k, v in status["labels"].items() if v} == {"provisional": 8}
    assert status["sufficiency"] is None and status["reading"] is None


def test_versions_of_inputs(changed: Path) -> None:
    names = ["data", "patches", "train", "concepts", "labels", "annotations", "picks", "protocol"]
    before = current_inputs(changed, [*names, "screenshot"])
    assert (before["data"], before["patches"], before["train"]) == ("hash", PATCHES, TRAIN)
    assert (before["concepts"], before["protocol"], before["screenshot"]) == ("", "", "")
    assert len({before[name] for name in ("labels", "annotations", "picks")}) == 3
    assert {len(before[name]) for name in ("labels", "annotations", "picks")} == {64}
    with pytest.raises(ValueError, match="'other' is not an input of an export"):
        current_inputs(changed, ["other"])
    assert simulated_parts(changed, ["labels", "annotations", "protocol"]) == "images"
    with store.write(changed) as con:
        answer = synthetic_study.mass_answer()
        synthetic_study.annotate(con, "S1", 30, answer, simulated=True)
    after = current_inputs(changed, names)
    assert after["annotations"] != before["annotations"] and after["labels"] == before["labels"]
    assert after["picks"] == before["picks"]
    assert simulated_parts(changed, ["labels"]) == "images"
    assert simulated_parts(changed, ["annotations", "labels"]) == "images, annotations"
    assert simulated_parts(changed, ["labels"], "S1") == "images, unit labels"
    assert simulated_parts(changed, ["data"], "S1") == "images"
    with store.write(changed) as con:
        con.execute("UPDATE sources SET simulated = FALSE")
    assert simulated_parts(changed, ["annotations"]) == "annotations"
    assert simulated_parts(changed, ["evaluate"]) == ""
    folder = changed / "my exports"
    assert stale_exports(changed, folder) == []
    folder.mkdir()
    record = {"name": "units", "kind": "table", "inputs": before}
    record["command"] = "deepminer tables units --study STUDY --out DIR"
    (folder / "units.provenance.json").write_text(json.dumps(record))
    current = record | {"name": "x", "inputs": after}
    (folder / "x.provenance.json").write_text(json.dumps(current))
    (stale,) = stale_exports(changed, folder)
    assert (stale.name, stale.kind, stale.changed) == ("units", "table", ("annotations",))
    assert stale.command == (f"deepminer tables units --study {changed} --out '{folder}'")
