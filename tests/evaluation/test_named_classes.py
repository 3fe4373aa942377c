"""A study with four classes and colour photographs, from the images to a scored reading study.

Its settings are those of the documentation, `docs/guides/other_images.md`.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import lineage, store
from core.class_labels import ClassDefinition, ImageDomain
from core.errors import UserError
from core.images import blinded_rendering
from core.interpretation import inference
from core.lexicon.annotation_answers import create_answer, lexicon_data
from core.pipeline.dissect import run_dissection
from core.pipeline.explain import run_explanation
from core.pipeline.ingest import ingest
from core.pipeline.patches import run_patch_extraction
from core.pipeline.train import run_training
from core.sessions.reading_instructions import reading_instructions
from core.settings import Settings, load_settings
from core.sources import manifest
from core.store import (
    annotation_table,
    dataset_table,
    participant_table,
    run_table,
    unit_table,
)
from core.store.reading import reading_table
from evaluation.pipeline.coverage import run_coverage
from evaluation.pipeline.evaluate import run_evaluation
from evaluation.queries import performance, unit_summaries
from evaluation.queries.explanations import load_explanation
from evaluation.queries.study_overview import step_cards
from evaluation.reading_study import design_preset, workflow
from evaluation.reading_study.case_selection import reader_order
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.export import build_table
from support.array_patches import no_progress
from support.paths import ROOT

PHENOMENA = (
    {"category": "edge", "terms": {"direction": "horizontal"}, "association": None},
    {"category": "area", "terms": {"colour": "green"}, "association": "points to a plant"},
    {"category": "object", "terms": {"kind": "window"}, "association": "points to a building"},
)
NAMES = ("background", "foliage", "petal", "building")


def documented_files() -> list[str]:
    """Return the settings and the lexicon of the documentation."""
    text = (ROOT / "docs" / "guides" / "other_images.md").read_text(encoding="utf-8")
    return re.findall(r"```toml\n(.*?)```", text, re.DOTALL)


def write_table(folder: Path) -> Path:
    sys.path.insert(0, str(ROOT / "docs" / "scripts"))
    try:
        from make_photograph_table import write_photograph_table
    finally:
        sys.path.pop(0)
    return write_photograph_table(folder)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of the documentation after `explain`, with every selected unit named."""
    folder = tmp_path_factory.mktemp("photographs")
    study = folder / "study"
    (study / "images").mkdir(parents=True)
    for name, text in zip(("study.toml", "lexicon.toml"), documented_files(), strict=True):
        (study / name).write_text(text, encoding="utf-8")
    store.create(study)
    settings = load_settings(study)
    ingest(study, settings, "manifest", write_table(folder / "tiles"), no_progress)
    run_patch_extraction(study, settings, no_progress)
    run_training(study, settings, no_progress)
    run_evaluation(study, no_progress)
    dissect = run_dissection(study, settings, no_progress).run
    run_coverage(study, no_progress, dissect)
    name_units(study, dissect)
    run_explanation(study, settings, no_progress)
    return study


def name_units(study: Path, dissect: str) -> None:
    """Name every selected unit, as an annotator would."""
    with store.write(study) as con:
        lexicon = dataset_table.load_lexicon(con)
        participant_table.add_participant(con, "A1", "annotator")
        for unit in sorted(unit_table.selected_unit_ids(con, dissect)):
            answer = create_answer([PHENOMENA[unit % 3]], 2, lexicon)
            annotation_table.append_annotation(
                con,
                run=dissect,
                unit=unit,
                code="A1",
                # As an annotator who edits the printed label.
                answer=answer | {"label": f"{answer['label']}; number {unit}"},
                seconds=1.0,
                annotation_id=f"A1-{unit}",
                repeat=False,
                practice=False,
            )


def latest(study: Path, kind: str) -> str:
    with store.read(study) as con:
        return str(run_table.latest_run(con, kind))


def test_colours_reach_the_network(photographs: Path) -> None:
    network = inference.load_network(photographs, latest(photographs, "train"))
    assert (network.channels, network.classes) == (3, 4)
    with store.read(photographs) as con:
        mammograms = dataset_table.load_mammograms(con)
    pixels = np.load(photographs / "images" / f"{mammograms['file'].iloc[0]}.npy")
    assert pixels.shape[2] == 3 and pixels.std(axis=2).max() > 0
    assert not mammograms["inverted"].any() and set(mammograms["laterality"]) == {"UNKNOWN"}
    assert (mammograms["tissue"] == 1).all()


def test_readers_see_the_whole_image_in_colour(photographs: Path) -> None:
    with store.read(photographs) as con:
        file = dataset_table.load_mammograms(con)["file"].iloc[0]
    source = blinded_rendering.mammogram_source(file, whole=True)
    data = blinded_rendering.render_jpeg(photographs, blinded_rendering.MAMMOGRAM, source)
    with Image.open(io.BytesIO(data)) as picture:
        displayed = np.asarray(picture).astype(int)
    stored = np.load(photographs / "images" / f"{file}.npy").astype(int)
    assert displayed.shape == stored.shape and np.abs(displayed - stored).mean() < 5


def test_every_class_is_measured(photographs: Path) -> None:
    run = latest(photographs, "evaluate")
    classes = lineage.run_classes(photographs, run)
    assert classes == ClassDefinition(NAMES, "building", "foliage")
    results = performance.load_class_results(photographs, run, "test", "patch")
    assert [result.name for result in results] == list(NAMES)
    # The objects differ in colour: a network that saw none of it would be at .5.
    assert min(result.auc.estimate or 0 for result in results) > 0.8
    matrix = performance.confusion_matrix(
        performance.load_observations(photographs, run, "test", "image"), "image", 0.5
    )
    assert list(matrix.columns) == list(NAMES)
    with store.read(photographs) as con:
        truth = dataset_table.load_image_truth(con).set_index("mammogram_id")["truth"]
        findings = dataset_table.load_findings(con)
    # Of several objects in a tile the later class decides.
    worst = findings.groupby("mammogram_id")["pathology"].agg(
        lambda names: max(NAMES.index(name.lower()) for name in names)
    )
    assert truth[worst.index].tolist() == worst.tolist() and (truth.drop(worst.index) == 0).all()


def test_explanations_have_every_class(photographs: Path) -> None:
    run = latest(photographs, "explain")
    with store.read(photographs) as con:
        table = unit_table.load_explanations(con, run)
    case = load_explanation(photographs, run, table["mammogram_id"].iloc[0])
    assert tuple(case.scores) == NAMES and case.predicted in NAMES and case.truth in NAMES
    assert 1 - case.scores["background"] >= max(case.scores[name] for name in NAMES[1:]) - 1e-6


def test_labels_have_the_words_of_the_study(photographs: Path) -> None:
    dissect = latest(photographs, "dissect")
    units = unit_summaries.labelled_units_by_category(photographs, dissect)
    assert list(dict.fromkeys(units["category"])) == ["Edge", "Area", "Object"]
    assert set(units["state"]) == {"answered"}
    caption = build_table(photographs, TABLES["categories"]).note
    assert caption.startswith("Labelled units by Photographs category.")
    figure, _ = render_figure(photographs, FIGURES["coverage"], 85)
    assert "hold-out images" in figure.caption and "mammogram" not in figure.caption
    assert {card.kind: card.lines for card in step_cards(photographs)}["source"][0] == "120 images"
    with store.read(photographs) as con:
        lexicon = dataset_table.load_lexicon(con)
    assert [one["key"] for one in lexicon_data(lexicon)["categories"]] == list("EATO")


def test_reading_study_compares_the_named_classes(photographs: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(photographs, study)
    design = design_preset(
        "Recommended", arms=("explanation",), scale=2, readers=1, repeats=0, split="holdout"
    )
    designed = workflow.create_protocol(study, "photographs", design, "team")
    assert set(designed.cases["truth"]) == set(designed.cases["predicted"]) | {
        "building",
        "foliage",
    }
    _, issues = workflow.check_protocol(study, "photographs", "team")
    # The annotators' verdicts are left out.
    texts = " ".join(text for texts in designed.cases["texts"] for text in texts)
    assert "window" in texts.lower() and "points to" not in texts
    reasons = {issue.field: "example" for issue in issues if issue.severity != "note"}
    frozen = workflow.freeze_protocol(study, "photographs", "team", reasons)
    assert frozen.design["practice"][0] == ["Horizontal edges", "Blue area", "Window"]
    stated = reading_instructions(frozen.design, has_images=False)
    assert stated.answers == ("Foliage", "Building")
    assert stated.question == "Do these texts indicate foliage or building?"
    right = answer_correctly(study, frozen, workflow.protocol_design(frozen))
    workflow.close_protocol(study, "photographs", "team", confirm="photographs")
    _, score = workflow.score_protocol(study)
    assert score.table.tp + score.table.tn == right == score.primary.given


def answer_correctly(study: Path, frozen, design) -> int:
    """Store the right answer to every case of a frozen study; return their number."""
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version)
        order = reader_order(cases, design, "R1")
        items = [reading_table.ReadingItem(number, repeat=repeat) for number, repeat in order]
        reading_table.assign_reading_order(con, frozen.protocol, frozen.version, "R1", items)
        truth = dict(zip(cases["case_number"], cases["truth"]))
        for position, (number, _) in enumerate(order, start=1):
            reading_table.append_reading_answer(
                con,
                protocol=frozen,
                code="R1",
                position=position,
                revision=1,
                answer=2 if truth[number] == "building" else 1,
                seconds=3.0,
                simulated=True,
            )
    return len(order)


def test_other_class_names_than_those_of_the_study(photographs: Path) -> None:
    settings = load_settings(photographs)
    renamed = settings.with_changes(
        "classes", lesions=["leaf", "petal", "building"], comparison="leaf"
    )
    message = "names the classes background, leaf, petal, building, but"
    with pytest.raises(UserError, match=message + " .* made with background, foliage"):
        run_training(photographs, renamed, no_progress)
    with pytest.raises(UserError, match=message + " the images were ingested with"):
        run_patch_extraction(photographs, renamed, no_progress)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lesions": ["cat", "Cat"], "positive": "cat"}, "'Cat' occurs twice"),
        ({"lesions": ["", "cat"], "positive": "cat"}, "a class name is empty"),
        ({"lesions": [], "positive": "cat"}, "there are 1 classes, but 2 to 20"),
        ({"lesions": [f"c{k}" for k in range(20)], "positive": "c1"}, "there are 21 classes"),
        ({"lesions": ["cat", "other"], "positive": "cat"}, "'other' has another meaning"),
        ({"lesions": ["cat", "dog"], "positive": "bird"}, "classes.positive is 'bird'"),
        ({"lesions": ["cat", "dog"], "positive": "cat"}, "classes.comparison is 'benign'"),
    ],
)
def test_class_names_that_cannot_be(tmp_path: Path, values: dict, sentence: str) -> None:
    lines = [f"{key} = {value!r}" for key, value in values.items()]
    (tmp_path / "study.toml").write_text("\n".join(["[classes]", *lines]), encoding="utf-8")
    with pytest.raises(UserError, match="study.toml") as error:
        load_settings(tmp_path)
    assert sentence in str(error.value)


def test_number_of_outputs_follows_the_names() -> None:
    four = Settings().with_changes("study", name="x")
    assert four.class_definition.outputs == {0: "normal", 1: "benign", 2: "malignant"}
    two = four.with_changes("patches", classes=2)
    assert two.class_definition.outputs == {0: "other", 2: "malignant"}
    with pytest.raises(UserError, match="patches.classes is 5, but"):
        four.with_changes("patches", classes=5)


def negative_image(folder: Path) -> Path:
    """Write a grey image that appears negative, and its table; return the table."""
    y, x = np.mgrid[:64, :48]
    texture = 120 + 40 * np.sin(x / 2) * np.cos(y / 2)
    positive = np.where((x / 30) ** 2 + ((y - 32) / 25) ** 2 < 1, texture, 3).astype(np.uint8)
    Image.fromarray(255 - positive).save(folder / "a.png")
    row = "a.png,P1,NORMAL,LEFT,CC"
    table = folder / "table.csv"
    table.write_text(f"image,patient,pathology,laterality,view\n{row}\n", encoding="utf-8")
    return table


@pytest.mark.parametrize(
    ("domain", "inverted"),
    [
        (ImageDomain(), True),
        (ImageDomain(inversion="never"), False),
        (ImageDomain(subject="any"), False),
        (ImageDomain(colour=True), False),
    ],
)
def test_only_grey_films_are_inverted(tmp_path: Path, domain: ImageDomain, inverted: bool) -> None:
    tasks, _ = manifest.list_tasks(negative_image(tmp_path), domain=domain)
    (mammogram,) = manifest.read_patient(tasks[0]).mammograms
    assert mammogram.inverted is inverted
    assert mammogram.pixels.shape == ((64, 48, 3) if domain.colour else (64, 48))


def test_laterality_is_needed_for_mammograms_only(tmp_path: Path) -> None:
    table = negative_image(tmp_path)
    table.write_text("image,patient,pathology\na.png,P1,NORMAL\n", encoding="utf-8")
    with pytest.raises(UserError, match="laterality"):
        manifest.list_tasks(table)
    tasks, _ = manifest.list_tasks(table, domain=ImageDomain(subject="any"))
    (mammogram,) = manifest.read_patient(tasks[0]).mammograms
    assert (mammogram.laterality, mammogram.view) == ("UNKNOWN", "UNKNOWN")


def test_sources_of_mammograms_refuse_other_classes(tmp_path: Path) -> None:
    settings = Settings().with_changes(
        "classes", lesions=["cat", "dog"], positive="dog", comparison="cat"
    )
    with pytest.raises(UserError, match="use `deepminer ingest manifest`"):
        ingest(tmp_path, settings, "phantom", None, no_progress)


def test_a_row_of_another_class_is_refused(tmp_path: Path) -> None:
    table = negative_image(tmp_path)
    domain = ImageDomain(names=("empty", "cat", "full moon"))
    assert domain.pathologies == ("FULL_MOON", "CAT", "UNPROVEN", "EMPTY")
    with pytest.raises(UserError, match="row 2: unknown pathology 'NORMAL'; use one of FULL_MOON"):
        manifest.list_tasks(table, domain=domain)
