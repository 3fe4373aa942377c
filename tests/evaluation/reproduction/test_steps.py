"""Steps of a reproduction: their order, their arguments, and what is not done twice."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import evaluation.reproduction as package
from core.errors import UserError
from evaluation.reading_study import design_preset
from evaluation.reproduction import studies
from evaluation.reproduction.material import CheckpointFile, Gap, LabelFile, Material
from evaluation.reproduction.studies import NetworkRuns, RebuiltStudy
from support.reproduction_parts import (
    FOLDER,
    found_material,
    label_file,
    network_runs,
)


def test_parts_of_a_reproduction_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gaps of material, studies and exports are listed once each."""
    calls: list[Any] = []
    release, out = tmp_path / "release", tmp_path / "out"
    found = found_material(gaps=(Gap("a", "1"),))
    three = RebuiltStudy(Path("three"), 3, (), (Gap("b", "2"), Gap("a", "1")), False)
    progress: Any = nullcontext
    built = {3: three, 2: None}

    def export_study(study: RebuiltStudy, *given: Any) -> tuple[list[str], list[Gap]]:
        calls.append((study, *given))
        return ["x", "y"], [Gap("c", "3"), Gap("b", "2")]

    def build_study(given: Material, classes: int, *others: Any) -> RebuiltStudy | None:
        calls.append((given, classes, *others))
        return built[classes]

    monkeypatch.setattr(package, "find_material", lambda folder: found)
    monkeypatch.setattr(package, "build_study", build_study)
    monkeypatch.setattr(package, "export_study", export_study)
    monkeypatch.setattr(package, "compare", lambda *given: calls.append(given) or ["v"])
    monkeypatch.setattr(package, "write_comparison", lambda *given: calls.append(given))
    monkeypatch.setattr(package, "write_replay", lambda *given: calls.append(given))
    monkeypatch.setattr(package, "replay_study", lambda *given: ("replay", *given))
    result = package.reproduce_papers(release, out, "E1", progress, formats=("svg",))
    gaps = [Gap("a", "1"), Gap("b", "2"), Gap("c", "3")]
    assert calls == [
        (found, 2, out / "studies", "E1", progress, 1),
        (found, 3, out / "studies", "E1", progress, 1),
        (three, out / "3class", ("svg",), progress),
        (found, [three], None),
        (["v"], gaps, out),
    ]
    assert (result.comparisons, result.gaps, result.studies) == (("v",), tuple(gaps), (three,))
    assert result.exports == ((Path("three"), "x"), (Path("three"), "y"))
    # With the sheets, the consensus of the network of HDSR in the first file that is no CSV.
    found = found_material(
        sheets={"responses": "r", "key": "k", "cases": "c"},
        labels=(
            label_file("resnet152", 3, [1], "expert", "raw.json"),
            label_file("resnet152", 3, [1], name="a.CSV"),
            label_file("resnet152", 3, [1], name="b.jbl"),
            label_file("resnet152", 3, [1], name="c.json"),
        ),
    )
    calls.clear()
    package.reproduce_papers(release, out, "E1", progress, formats=("svg",), workers=4)
    assert calls[0] == (found, 2, out / "studies", "E1", progress, 4)
    replay = ("replay", "c", "r", "k", Path("b.jbl"))
    assert calls[3:5] == [(found, [three], replay), (found, replay, out)]
    found = found_material(sheets={"responses": "r", "key": "k", "cases": "c"})
    assert package._replay(found) == ("replay", "c", "r", "k", None)
    with pytest.raises(UserError, match="choose from"):
        package.reproduce_papers(release, out, "E1", progress, formats=("jpeg",))
    with pytest.raises(UserError, match="lies inside"):
        package.reproduce_papers(release, release, "E1", progress)


def test_settings_of_the_papers() -> None:
    for classes, rule in ((3, "influence"), (2, "spie")):
        chosen = studies.reproduction_settings(classes, 448)
        assert chosen.study.name == f"Published material, {classes} classes"
        assert chosen.images.input_side == 448 and chosen.patches.classes == classes
        assert chosen.splits.published is True
        assert (list(chosen.dissection.splits), chosen.dissection.rule) == (["holdout"], rule)


@contextmanager
def shown(title: str) -> Any:
    yield title


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace every step of a network by one that keeps its arguments."""
    made = SimpleNamespace(calls=[], problems=[], failing="", imported=False)

    def record(owner: Any, name: str, result: Any) -> None:
        def step(*given: Any, **named: Any) -> Any:
            made.calls.append((name, *given, *([named] if named else [])))
            return result

        monkeypatch.setattr(owner, name, step)

    for owner, name in (
        (studies.patches, "run_patch_extraction"),
        (studies.evaluate, "run_evaluation"),
        (studies.dissect, "run_dissection"),
        (studies.coverage, "run_coverage"),
        (studies.explain, "run_explanation"),
    ):
        record(owner, name, SimpleNamespace(run=f"{name.partition('_')[2]}-1"))

    def run_import(*given: Any, **named: Any) -> Any:
        made.calls.append(("run_import", *given, named))
        if given[3] == made.failing:
            raise UserError("damaged")
        return SimpleNamespace(run=f"train-{given[3]}")

    monkeypatch.setattr(studies.import_checkpoint, "run_import", run_import)
    record(studies.ingest, "ingest", SimpleNamespace(problems=made.problems))
    record(studies, "import_labels", None)
    record(studies.study_folder, "create_study", None)
    record(studies.study_folder, "require_study", None)
    record(studies, "_check_no_other_network", None)
    record(studies, "_design_reading_study", [Gap("reading", "none")])
    monkeypatch.setattr(studies, "_is_imported", lambda *given: made.imported)
    monkeypatch.setattr(studies, "_material_hash", lambda found: "abc")
    return made


def test_steps_of_a_study(steps: SimpleNamespace, tmp_path: Path) -> None:
    """Two networks of three classes, of which the first fails; labels of the second."""
    own = label_file("resnet152", 3, [1])
    checkpoints = tuple(
        CheckpointFile(Path(f"{name}.pt"), name, classes)
        for name, classes in (("inception_v3", 3), ("vgg16", 2), ("resnet152", 3))
    )
    found = found_material((3,), films=Path("films"), checkpoints=checkpoints, labels=(own,))
    steps.problems += [
        {"item": "p1", "cause": "unreadable", "skipped": True},
        {"item": "p2", "cause": "odd", "skipped": False},
    ]
    steps.failing = "inception_v3"
    study = studies.build_study(found, 3, tmp_path, "E1", shown, 2)
    sides = [studies._input_side(name) for name in ("inception_v3", "resnet152")]
    assert sides[0] != sides[1]
    assert studies._input_side("resnet18") == studies.ImageSettings().input_side
    folder = tmp_path / f"3class-{max(sides)}px-abc"
    current = studies.reproduction_settings(3, max(sides))
    [first, second] = [
        (
            "run_patch_extraction",
            folder,
            current,
            f"3 classes: patches of {side} px",
            Path("films"),
            side,
        )
        for side in sides
    ]
    options = {"classes": 3, "patches": "patch_extraction-1"}
    assert steps.calls[:8] == [
        ("create_study", folder, current),
        ("require_study", folder),
        (
            *("ingest", folder, current, "release", Path("films"), "3 classes: films"),
            {"workers": 2, "skip_bad": True},
        ),
        first,
        (
            *("run_import", folder, current, Path("inception_v3.pt"), "inception_v3"),
            "inception_v3, 3 classes: checkpoint",
            options,
        ),
        second,
        (
            *("run_import", folder, current, Path("resnet152.pt"), "resnet152"),
            "resnet152, 3 classes: checkpoint",
            options,
        ),
        ("run_evaluation", folder, "resnet152, 3 classes: evaluate", "train-resnet152"),
    ]
    title = "resnet152, 3 classes: dissect"
    runs = NetworkRuns(
        checkpoint=checkpoints[2],
        train="train-resnet152",
        evaluate="evaluation-1",
        dissect="dissection-1",
        coverage="coverage-1",
        explain="explanation-1",
    )
    assert steps.calls[8:] == [
        ("run_dissection", folder, current, title, "train-resnet152"),
        ("run_coverage", folder, title, "dissection-1"),
        ("import_labels", folder, own.file, "E1", "dissection-1"),
        ("run_explanation", folder, current, "resnet152, 3 classes: explain", "dissection-1"),
        ("_check_no_other_network", folder, [runs]),
        ("_design_reading_study", folder, "E1", runs),
    ]
    assert study == RebuiltStudy(
        folder,
        3,
        (runs,),
        (
            Gap("p1", "unreadable"),
            Gap("inception_v3, 3 classes", "its values are not computed: damaged"),
            Gap("reading", "none"),
        ),
        True,
    )


def test_study_of_two_classes_is_continued(steps: SimpleNamespace, tmp_path: Path) -> None:
    """Without published windows, explanations and a reading study; nothing is imported twice."""
    checkpoint = CheckpointFile(Path("vgg16.pt"), "vgg16", 2)
    own = label_file("vgg16", 2, [1])
    found = found_material((3,), films=Path("films"), checkpoints=(checkpoint,), labels=(own,))
    steps.imported, steps.failing = True, "resnet152"
    side = studies._input_side("vgg16")
    folder = tmp_path / f"2class-{side}px-abc"
    folder.mkdir()
    (folder / studies.settings.SETTINGS_NAME).touch()
    study = studies.build_study(found, 2, tmp_path, "E1", shown, 1)
    names = [call[0] for call in steps.calls]
    assert names == [
        *("require_study", "ingest", "run_patch_extraction", "run_import", "run_evaluation"),
        *("run_dissection", "run_coverage", "_check_no_other_network"),
    ]
    assert steps.calls[2][4:] == (None, side)
    assert study is not None and study.networks[0].explain is None
    assert (study.gaps, study.is_partial) == ((), False)
    # A study in which no network could be used has no reading study either.
    steps.failing = "vgg16"
    failed = studies.build_study(found, 2, tmp_path, "E1", shown, 1)
    assert failed is not None and failed.networks == () and len(failed.gaps) == 1
    assert studies.build_study(found, 3, tmp_path, "E1", shown, 1) is None
    without = found_material((3,), films=None, checkpoints=(checkpoint,))
    assert studies.build_study(without, 2, tmp_path, "E1", shown, 1) is None


def test_no_reading_study_without_a_network(steps: SimpleNamespace, tmp_path: Path) -> None:
    checkpoint = CheckpointFile(Path("vgg16.pt"), "vgg16", 3)
    steps.failing = "vgg16"
    found = found_material((3,), films=Path("films"), checkpoints=(checkpoint,))
    study = studies.build_study(found, 3, tmp_path, "E1", shown, 1)
    assert study is not None and [gap.part for gap in study.gaps] == ["vgg16, 3 classes"]


def test_hash_of_the_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, more = tmp_path / "films", tmp_path / "more"
    for folder in (films / "raw", more):
        folder.mkdir(parents=True)
    for name in ("raw/a", "raw/b", "net.pt"):
        (films / name).write_text(name)
    (more / "words.jbl").write_text("w")
    label_file = more / "labels.json"
    label_file.write_text("{}")
    own = LabelFile(label_file, "vgg16", 2, ())
    meta: list[Path | None] = [more / "words.jbl"]
    monkeypatch.setattr(studies, "find_meta_data", lambda root: meta[0])
    weights = CheckpointFile(films / "net.pt", "vgg16", 2)

    def digest() -> str:
        return studies._material_hash(
            found_material(films=films, checkpoints=(weights,), labels=(own,))
        )

    first = digest()
    assert len(first) == 12 and digest() == first
    (films / "net.pt").write_text("other weights")
    assert digest() == first
    seen = {first}
    for change in (
        lambda: (films / "raw/a").write_text("longer"),
        lambda: (films / "raw/b").rename(films / "raw/c"),
        lambda: (more / "words.jbl").write_text("other"),
        lambda: label_file.write_text("[]"),
        lambda: meta.__setitem__(0, None),
    ):
        change()
        seen.add(digest())
    assert len(seen) == 6


def test_imported_labels_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = pd.DataFrame({"code": ["E1", "E2"], "unit": [1, 2]})
    decisions = pd.DataFrame({"unit": [1, 2, 99]})
    monkeypatch.setattr(studies.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(studies.annotation_table, "load_annotations", lambda con, run: annotations)
    monkeypatch.setattr(
        studies.decision_table,
        "load_decisions",
        lambda con, run, imported: decisions if imported else decisions.iloc[:0],
    )

    def known(file: LabelFile) -> bool:
        return studies._is_imported(FOLDER, "dissect-1", file)

    assert known(label_file("vgg16", 2, [1, 2])) and not known(label_file("vgg16", 2, [1, 3]))
    entries = (SimpleNamespace(set="E1", unit=1), SimpleNamespace(set="E2", unit=2))
    assert known(LabelFile(Path("f"), "vgg16", 2, entries))  # type: ignore[arg-type]
    exchanged = (SimpleNamespace(set="E1", unit=2), SimpleNamespace(set="E2", unit=2))
    assert not known(LabelFile(Path("f"), "vgg16", 2, exchanged))  # type: ignore[arg-type]


def test_a_network_that_the_release_lost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = pd.DataFrame({"run": ["train-1", "train-2"]})
    monkeypatch.setattr(studies.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(
        studies.run_table, "load_runs", lambda con, kind: trained if kind == "train" else None
    )
    studies._check_no_other_network(
        FOLDER, [network_runs("a", 1), network_runs("b", 2), network_runs("c", 3)]
    )
    studies._check_no_other_network(FOLDER, [])
    with pytest.raises(UserError, match="a checkpoint that the release no longer has"):
        studies._check_no_other_network(FOLDER, [network_runs("a", 1)])


@pytest.mark.parametrize(("sizes", "limits"), [([330], 1), ([331, 330], 2), ([400, 400], 2)])
def test_design_of_the_published_reading_study(
    sizes: list[int], limits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most twice 165 cases, else one more version with as many of each class."""
    calls: list[Any] = []
    listed = [SimpleNamespace(run="explain-9")]
    counts = iter(sizes)

    def create(*given: Any, **named: Any) -> SimpleNamespace:
        calls.append(("create", *given, named))
        return SimpleNamespace(cases=[0] * next(counts))

    monkeypatch.setattr(studies.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(studies.protocol_table, "list_protocols", lambda con: listed)
    monkeypatch.setattr(studies.workflow, "create_protocol", create)
    monkeypatch.setattr(
        studies.workflow, "check_protocol", lambda *given: calls.append(("check", *given))
    )
    assert studies._design_reading_study(FOLDER, "E1", network_runs("resnet152", 2)) == []
    preset = "DeepMiner 2021"
    published_cases = design_preset(preset, depth=20).cases_per_class
    assert published_cases == 165
    designs = [
        design_preset(preset, depth=20, cases_per_class=limit) for limit in (None, published_cases)
    ][:limits]
    assert calls == [
        *(("create", FOLDER, preset, d, "E1", {"explain": "explain-2"}) for d in designs),
        ("check", FOLDER, preset, "E1"),
    ]
    # One that exists for this run is kept.
    calls.clear()
    assert studies._design_reading_study(FOLDER, "E1", network_runs("resnet152", 9)) == []
    assert calls == []

    def refuse(*given: Any) -> None:
        raise UserError("no case")

    monkeypatch.setattr(studies.workflow, "check_protocol", refuse)
    counts = iter([1])
    assert studies._design_reading_study(FOLDER, "E1", network_runs("resnet152", 2)) == [
        Gap("reading study, preset DeepMiner 2021", "not designed: no case")
    ]
