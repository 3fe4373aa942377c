"""The papers reproduced from small folders of the published form."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.errors import UserError
from evaluation.reproduction import Reproduction, reproduce_papers
from support.array_patches import no_progress
from support.paths import REFERENCE
from support.published_networks import cheap_initial_weights
from support.release_tree import film_names, write_release
from support.requirements import needs_publication

TABLES = {
    "3class": ("cohort", "classifiers", "units", "categories", "coverage", "similarity"),
    "2class": ("cohort", "architectures", "classifiers", "units", "categories", "coverage"),
}
FIGURES = {
    "3class": ("units", "categories", "explanations", "roc", "coverage"),
    "2class": ("units", "categories", "roc"),
}


def reproduce(release: Path, out: Path) -> Reproduction:
    with cheap_initial_weights():  # every step loads weights into a new module
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
    for classes in TABLES:
        for name in TABLES[classes]:
            assert len(table(out, classes, name)), (classes, name)
        for name in FIGURES[classes]:
            assert (out / classes / f"{name}.svg").stat().st_size > 1000
    skipped = [gap for gap in result.gaps if gap.effect.startswith("not drawn")]
    assert skipped == []
    assert not [gap for gap in result.gaps if "its values are not computed:" in gap.effect]


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
    assert computed["hdsr units"] == 128
    written = pd.read_csv(out / "reproduction.csv")
    assert len(written) == len(result.comparisons)
    # Without a value or with another one there is a reason, and never without.
    same = written["computed"].round(4) == written["published"]
    assert (written.loc[~same, "reason"].fillna("") != "").all()
    assert "shufflenet_v2_x0_5, not resnet152" in (out / "reproduction.md").read_text()


def test_repeated_command_runs_no_step_again(
    release: Path, first: tuple[Path, Reproduction]
) -> None:
    out, result = first
    before = sorted(path.name for path in (out / "studies").glob("*/runs/*"))
    again = reproduce(release, out)
    assert sorted(path.name for path in (out / "studies").glob("*/runs/*")) == before
    assert again.comparisons == result.comparisons and again.gaps == result.gaps


def test_a_changed_mask_and_label_change_their_tables(
    release: Path, first: tuple[Path, Reproduction], tmp_path: Path
) -> None:
    changed = tmp_path / "release"
    shutil.copytree(release, changed, ignore=shutil.ignore_patterns("2class"))
    name = film_names()["test"][1]
    mask = changed / "ddsm_masks" / "3class" / f"{name}.png"
    # A benign finding becomes malignant.
    Image.fromarray(np.asarray(Image.open(mask)) * 2).save(mask)
    [label_file] = changed.rglob("*_cleaned.json")
    labels = json.loads(label_file.read_text())
    label_file.write_text(json.dumps(labels | {"unit_0005": "vascular calcifications"}))
    result = reproduce(changed, tmp_path / "out")
    tables = [
        {name: table(out, "3class", name) for name in ("cohort", "categories")}
        for out in (first[0], tmp_path / "out")
    ]
    findings = [t["cohort"].set_index("Characteristic")["Test"].to_dict() for t in tables]
    assert [f["Findings malignant"] for f in findings] == ["1", "2"]
    assert [f["Findings benign"] for f in findings] == ["1", "0"]
    masses = [t["categories"].set_index("Category").iloc[:, 0] for t in tables]
    assert masses[0]["Distinct units"] == masses[1]["Distinct units"]
    assert [m.get("Calcification", 0) for m in masses] == [0, 1]
    # Without the material of SPIE 2018 its values are missing, and the missing files are listed.
    assert not (tmp_path / "out" / "2class").exists()
    assert "checkpoint alexnet, 2 classes" in {gap.part for gap in result.gaps}
    assert "patch labels (ddsm_labels/2class)" in {gap.part for gap in result.gaps}


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
    [checkpoint] = (release / "checkpoints" / "2class").iterdir()
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / checkpoint.name).symlink_to(checkpoint)
    refused("are both shufflenet_v2_x0_5 with 2 classes")
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
