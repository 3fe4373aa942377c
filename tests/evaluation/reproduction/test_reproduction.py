"""The papers reproduced from small folders of the published form."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import evaluation.reproduction
from core import store
from core.errors import UserError
from core.store.reading import protocol_table
from evaluation.reproduction import Comparison, Reproduction, exports, material, reproduce_papers
from evaluation.reproduction.comparison import Computed
from evaluation.reproduction.material import Gap
from evaluation.reproduction.published import published_values
from support.array_patches import no_progress
from support.narrow_networks import narrow_published_networks
from support.paths import REFERENCE
from support.release_tree import LABELLED, film_names, write_release
from support.requirements import needs_publication

pytestmark = pytest.mark.slow

NETWORKS = ("alexnet", "vgg16", "inception_v3", "resnet152")


def reproduce(release: Path, out: Path) -> Reproduction:
    with narrow_published_networks():
        return reproduce_papers(
            release, out, "E1", lambda _: nullcontext(no_progress), formats=("svg",)
        )


def table(out: Path, classes: str, name: str) -> pd.DataFrame:
    return pd.read_csv(out / classes / f"table_{name}.csv")


def values(result: Reproduction) -> dict[str, float | None]:
    return {c.published.key: c.computed.value for c in result.comparisons if c.computed is not None}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def first(release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduction]:
    out = tmp_path_factory.mktemp("out")
    return out, reproduce(release, out)


def test_every_figure_and_table(first: tuple[Path, Reproduction]) -> None:
    out, result = first
    tables = {
        "3class": ("cohort", "classifiers", "units", "categories", "coverage", "similarity"),
        "2class": ("cohort", "architectures", "classifiers", "units", "categories", "coverage"),
    }
    figures = {
        "3class": ("units", "categories", "explanations", "roc", "coverage"),
        "2class": ("units", "categories", "roc"),
    }
    for classes, names in tables.items():
        for name in names:
            assert len(table(out, classes, name)), (classes, name)
    for classes, names in figures.items():
        for name in names:
            assert (out / classes / f"{name}.svg").stat().st_size > 1000
    # Nothing is missing but the sheets of the reading study, and nothing was skipped.
    assert {gap.part.partition(",")[0] for gap in result.gaps} == {"reading study"}
    assert {gap.effect for gap in result.gaps} == {"the published answers are not analysed"}


def test_reading_study_of_the_published_preset(first: tuple[Path, Reproduction]) -> None:
    three = next(study for study in first[1].studies if study.classes == 3)
    with store.read(three.folder) as con:
        [protocol] = protocol_table.list_protocols(con)
    assert protocol.protocol == "DeepMiner 2021" and protocol.state == "checked"
    assert protocol.run == three.networks[-1].explain and protocol.design["depth"] == 20


def test_values_are_those_of_the_tables(first: tuple[Path, Reproduction]) -> None:
    out, result = first
    computed = values(result)
    rows = table(out, "3class", "classifiers").set_index(["Level", "Class"])
    for name in ("normal", "benign", "malignant"):
        row = rows.loc[("patch", name)]
        assert computed[f"hdsr auc {name}"] == pytest.approx(row["AUC"])
        assert computed[f"hdsr pauc {name}"] == pytest.approx(row["DeepMiner 2021 formula"])
    coverage = table(out, "3class", "coverage").set_index("Class")["Selected"]
    assert computed["hdsr coverage benign"] == pytest.approx(coverage["benign"])
    similarity = table(out, "3class", "similarity").set_index(["Words", "Published v1"])["Mean"]
    assert computed["similarity top unit"] == pytest.approx(similarity["top unit", 0.627])
    architectures = table(out, "2class", "architectures")
    assert len(architectures) == len(NETWORKS)
    assert all(f"spie auc {name}" in computed for name in NETWORKS)
    assert computed["hdsr units"] == LABELLED["resnet152", 3] and computed["spie units"] == 134
    written = pd.read_csv(out / "reproduction.csv")
    assert len(written) == len(result.comparisons)
    # Without a value or with another one there is a reason, and never without.
    same = written["computed"].round(4) == written["published"]
    assert (written.loc[~same, "reason"].fillna("") != "").all()


def test_cross_table_over_four_networks(first: tuple[Path, Reproduction]) -> None:
    out, _ = first
    units = pd.read_csv(out / "2class" / "categories.units.csv")
    assert len(units.drop_duplicates(["network", "unit"])) == 134
    # "Calcification and mass" counts in both rows.
    assert len(units) > 134
    counts = pd.read_csv(out / "2class" / "categories.counts.csv").set_index("category")
    assert counts.shape[1] == len(NETWORKS)
    for category, row in counts.iterrows():
        for network, count in row.items():
            chosen = (units["category"] == category) & (units["network"] == network)
            assert count == units.loc[chosen, "unit"].nunique(), (category, network)
    distinct = table(out, "2class", "categories").set_index("Category").loc["Distinct units"]
    assert sorted(int(n) for n in distinct.dropna()) == sorted(
        n for (_, classes), n in LABELLED.items() if classes == 2
    )
    for ending in ("csv", "md", "tex", "xlsx"):
        assert (out / "2class" / f"table_categories.{ending}").stat().st_size > 200


def test_repeated_command_runs_no_step_again(
    release: Path, first: tuple[Path, Reproduction], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = first
    before = sorted(path.name for path in (out / "studies").glob("*/runs/*"))
    # Figures and tables are written anew by design; here only the steps are of interest.
    monkeypatch.setattr(evaluation.reproduction, "export_study", lambda *_: ([], []))
    again = reproduce(release, out)
    assert sorted(path.name for path in (out / "studies").glob("*/runs/*")) == before
    assert again.comparisons == result.comparisons and again.gaps == result.gaps


def test_a_changed_mask_label_and_word_change_their_results(
    release: Path,
    first: tuple[Path, Reproduction],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed, out = tmp_path / "release", tmp_path / "out"
    shutil.copytree(release, changed, ignore=shutil.ignore_patterns("*2class*"))
    name = film_names()["test"][1]
    mask = changed / "data" / "ddsm_masks" / "3class" / f"{name}.png"
    # A benign finding becomes malignant.
    Image.fromarray(np.asarray(Image.open(mask)) * 2).save(mask)
    label_file = changed / "deepminer" / "data" / "cleaned_unit_labels.jbl"
    labels = joblib.load(label_file)
    joblib.dump(labels | {next(iter(labels)): "architectural distortion"}, label_file)
    words_file = changed / "deepminer" / "data" / "ddsm_meta_data.jbl"
    words = joblib.load(words_file)
    words["meta"][f"cancers/{film_names()['test'][0]}.jpg"][0][1] = "LESION_TYPE MASS SHAPE ROUND"
    joblib.dump(words, words_file)
    # Only what is compared is drawn.
    monkeypatch.setitem(exports.FIGURES, 3, ("categories",))
    monkeypatch.setitem(exports.TABLES, 3, ("cohort", "similarity"))
    result = reproduce(changed, out)

    cohorts, masses, figures, similarities = [], [], [], []
    for folder in (first[0], out):
        cohort = table(folder, "3class", "cohort").set_index("Characteristic")["Test"]
        cohorts.append((cohort["Findings malignant"], cohort["Findings benign"]))
        counts = pd.read_csv(folder / "3class" / "categories.counts.csv").set_index("category")
        masses.append(counts.iloc[:, 0].to_dict())
        figures.append((folder / "3class" / "categories.svg").read_text())
        similarities.append(table(folder, "3class", "similarity")["Mean"].fillna(-1).tolist())
    assert cohorts == [("1", "1"), ("2", "0")]
    before, after = masses
    differences = {name: after.get(name, 0) - before.get(name, 0) for name in before | after}
    assert {name: n for name, n in differences.items() if n} == {
        "Calcification": -1,
        "Mass": -1,
        "Distortion": 1,
    }
    assert figures[0] != figures[1] and similarities[0] != similarities[1]
    # Without the material of SPIE 2018 its values are missing, and the missing files are listed.
    assert not (out / "2class").exists()
    assert "checkpoint alexnet, 2 classes" in {gap.part for gap in result.gaps}
    assert "patch labels (ddsm_labels/2class)" in {gap.part for gap in result.gaps}


def test_reason_of_a_difference() -> None:
    value = {value.key: value for value in published_values()}["hdsr auc malignant"]

    def reason(computed: float, remark: str = "") -> str:
        return Comparison(value, Computed(computed, "run", remark)).reason()

    assert reason(0.8723) == ""
    assert reason(0.865).startswith("Films are decoded") and "larger" not in reason(0.865)
    assert "up to .010. This one is larger: check checkpoint" in reason(0.5)
    # A remark on the material explains the rest.
    assert "larger" not in reason(0.5, "Computed on a part of the films.")
    assert (
        "Differs without a known reason"
        in Comparison(replace(value, difference="", tolerance=None), Computed(0.5, "run")).reason()
    )


def test_refused_folders(release: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "out"
    folder.mkdir()

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            reproduce(folder, out)

    refused("none of the published files")
    (folder / "unit_labels.json").write_text('{"unit_0000": "mass"}')
    refused("unit_labels.json.*'unit_0000' is not a unit name")
    (folder / "unit_labels.json").write_text('{"unit_0001": "mass"}')
    [checkpoint] = (release / "training" / "pretrained" / "vgg16_2class").iterdir()
    for name in ("one", "two"):
        (folder / name / "vgg16").mkdir(parents=True)
        (folder / name / "vgg16" / checkpoint.name).symlink_to(checkpoint)
    refused("are both vgg16 with 2 classes")
    with pytest.raises(UserError, match="lies inside"):
        reproduce(folder, folder / "out")
    assert not out.exists()


@needs_publication
def test_published_reading_study_and_labels_alone(tmp_path: Path) -> None:
    result = reproduce(REFERENCE, tmp_path)
    computed = {c.published.key: c for c in result.comparisons if c.computed is not None}
    assert set(computed) == {"hdsr units", "reading cases", "reading correct", "reading p"}
    assert [c.reason() for c in computed.values()] == [""] * 4
    assert any(gap.part == "films (ddsm_raw)" for gap in result.gaps)
    assert "182 of 330 correct" in (tmp_path / "reading_replay.md").read_text()


@pytest.mark.parametrize("overlays", [False, True])
@pytest.mark.parametrize("words", [False, True])
def test_missing_parts_of_the_films_are_listed(
    overlays: bool, words: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptions = SimpleNamespace(
        overlays={"a": "b"} if overlays else {},
        words=SimpleNamespace(findings={"a": []} if words else {}),
    )
    monkeypatch.setattr(material, "read_descriptions", lambda films: descriptions)
    monkeypatch.setattr(material.deepminer_release, "list_tasks", lambda *_, **__: ((), ()))
    gaps: list[Gap] = []
    assert material._patch_label_classes(tmp_path, gaps) == ()
    parts = [gap.part for gap in gaps]
    assert [part.partition(" (")[0] for part in parts] == [
        "masks",
        *([] if overlays or words else ["reports"]),
        "patch labels",
        "patch labels",
    ]
    assert ["3class" in parts[-2], "2class" in parts[-1]] == [True, True]
    (tmp_path / "ddsm_masks").mkdir()
    (tmp_path / "ddsm_masks" / "m.png").touch()
    labels = tmp_path / "ddsm_labels" / "2class"
    labels.mkdir(parents=True)
    for name in material.deepminer_release.SPLIT_OF_LIST:
        (labels / f"{name}.txt").touch()
    gaps.clear()
    assert material._patch_label_classes(tmp_path, gaps) == (2,)
    assert len(gaps) == 1 + (not overlays and not words)
    gaps.clear()
    assert material._patch_label_classes(None, gaps) == () and len(gaps) == 1
