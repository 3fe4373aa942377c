"""What the commands of the pipeline's steps print, and what they pass on."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.settings import Settings
from support.command_stub import STUDY, Commands

STEP = SimpleNamespace(run="step-1", created=True)
REUSED = SimpleNamespace(run="step-1", created=False)
NAMES = {0: "normal", 1: "benign", 2: "malignant"}


@pytest.fixture
def step_commands(commands: Commands) -> Commands:
    commands.replace(
        core__settings__load_settings=Settings(),
        core__settings__load_image_noun="mammogram",
        core__lineage__run_classes=MAMMOGRAPHY,
        core__lineage__run_class_names=NAMES,
        core__lineage__ancestor_run="dissect-7",
    )
    return commands


def history(holdout: bool) -> pd.DataFrame:
    """Three epochs; the accuracy is best in the second, the AUC is printed of the last."""
    rows = [("train", epoch, 0.5, None) for epoch in range(3)]
    if holdout:
        rows += [("holdout", 0, 0.61, 0.7), ("holdout", 1, 0.83, 0.9), ("holdout", 2, 0.72, 0.8125)]
    return pd.DataFrame(rows, columns=["part", "epoch", "accuracy", "auc_malignant"])


def replace_training(commands: Commands, table: pd.DataFrame, manifest: dict[str, Any]) -> None:
    commands.replace(
        core__pipeline__train__run_training=STEP,
        core__store__run_table__load_training_history=table,
        core__store__run_table__load_run={"manifest": manifest},
    )


def test_train(step_commands: Commands) -> None:
    commands = step_commands
    replace_training(commands, history(True), {"left_out": ["fc.weight", "fc.bias"]})
    options = ("--arch", "vgg16", "--epochs", "7", "--weights", "none")
    assert commands.text("train", *options) == (
        "step-1: 3 epochs, hold-out accuracy .830, malignant AUC .812 after the last. Left out of"
        " the weights file: fc.weight, fc.bias. Next: deepminer evaluate"
    )
    assert commands.distributed
    names = [name for name, *_ in commands.calls]
    assert names.index("run_training") < names.index("exit_worker_ranks")
    [((study, chosen, report), _)] = commands.called("run_training")
    assert (study, report) == (STUDY, "report of train")
    training = chosen.training
    assert (training.architecture, training.epochs, training.weights) == ("vgg16", 7, "none")
    result = commands.result("train", *options)
    origins = result.pop("settings_from")
    assert result.pop("history")[4]["accuracy"] == 0.83
    assert result == {"run": "step-1", "fresh": True, "left_out": ["fc.weight", "fc.bias"]}
    assert (origins["architecture"], origins["epochs"]) == ("command", "command")
    replace_training(commands, history(False), {})
    assert commands.text("train") == "step-1: 3 epochs. Next: deepminer evaluate"
    assert commands.result("train")["left_out"] == []


def test_import_checkpoint(step_commands: Commands) -> None:
    commands = step_commands
    imported = {
        "file": "w.pt",
        "pool": "global",
        "input_side": 227,
        "mean": [0.485, 0.456],
        "deviation": [0.25, 0.225],
    }
    row = {"manifest": {"imported": imported}, "parents": ["patches-3", "other-4"]}
    commands.replace(
        core__pipeline__import_checkpoint__run_import=REUSED, core__store__run_table__load_run=row
    )
    command = ("import-checkpoint", "w.pt", "--arch", "vgg16")
    options = ("--classes", "3", "--patches", "patches-3", "--pool", "global")
    assert commands.text(*command, *options) == (
        "step-1 (existing run with the same settings and data): w.pt as vgg16, pooling global,"
        " patches of 227 px from patches-3, normalised by mean 0.485 and deviation 0.25 (first"
        " channel). Nothing was trained. Next: deepminer evaluate"
    )
    [(arguments, keywords)] = commands.called("run_import")
    assert (str(arguments[2]), *arguments[3:]) == ("w.pt", "vgg16", "report of import-checkpoint")
    assert keywords == {"classes": 3, "patches": "patches-3", "pool": "global"}
    assert not commands.distributed
    result = commands.result(*command)
    assert result == {
        "run": "step-1",
        "fresh": False,
        "imported": imported,
        "patches": "patches-3",
    }
    none = {"classes": None, "patches": None, "pool": None}
    assert commands.called("run_import")[0][1] == none
    assert commands.text(*command, "--pool", "top_left_7")
    with pytest.raises(UserError, match="--pool is 'x'"):
        commands.text(*command, "--pool", "x")


METRICS = pd.DataFrame(
    [
        ("patch", "malignant", "auc", 0.91, 0.88, 0.94),
        ("patch", "malignant", "pauc", 0.11, 0.1, 0.12),
        ("image", "benign", "auc", 0.52, None, None),
        ("case", "normal", "auc", None, None, None),
    ],
    columns=["level", "class", "name", "estimate", "low", "high"],
)


def replace_evaluation(commands: Commands, image_level: bool, explain: str | None) -> None:
    similarity = SimpleNamespace(
        selection="top words", measure="F1", result=0.4, published=0.627, vectors="v", other=1
    )
    commands.replace(
        evaluation__pipeline__evaluate__run_evaluation=STEP,
        core__store__run_table__append_log=None,
        core__store__run_table__load_metrics=METRICS,
        core__store__run_table__latest_run=explain,
        core__lineage__has_image_level_labels=image_level,
        core__lineage__truth_statements=["Truth as stated."],
        evaluation__queries__report_similarity__measure_report_similarity=[similarity],
    )


def test_evaluate(step_commands: Commands) -> None:
    commands = step_commands
    replace_evaluation(commands, False, "explain-1")
    aucs = "patch malignant: AUC .910 (.880 to .940); image benign: AUC .520"
    assert commands.text("evaluate") == (
        f"step-1: holdout split. {aucs}. Truth as stated. Next: deepminer dissect"
    )
    assert commands.distributed and commands.called("exit_worker_ranks")
    assert commands.called("run_evaluation") == [((STUDY, "report of evaluate"), {})]
    # Nothing of the test split was printed.
    assert not commands.called("append_log")
    arguments = ("write connection", "step-1", "holdout")
    assert commands.called("load_metrics") == [(arguments, {})]
    arguments = ("write connection", "explain", "step-1")
    assert commands.called("latest_run") == [(arguments, {})]
    assert commands.called("measure_report_similarity") == [((STUDY, "explain-1"), {})]
    result = commands.result("evaluate")
    assert [row["estimate"] for row in result.pop("metrics")] == [0.91, 0.11, 0.52, None]
    assert result == {
        "run": "step-1",
        "fresh": True,
        "split": "holdout",
        "image_labels": False,
        "truth": ["Truth as stated."],
        "similarity": [
            {
                "words": "top words",
                "measure": "F1",
                "result": 0.4,
                "published": 0.627,
                "vectors": "v",
            }
        ],
    }
    replace_evaluation(commands, True, None)
    assert commands.text("evaluate", "--split", "test") == (
        f"step-1: test split. {aucs}. Labels are image-level. Truth as stated. Next: deepminer"
        " dissect"
    )
    arguments = ("write connection", "T1 evaluate", "test split opened", "step-1")
    assert commands.called("append_log") == [(arguments, {})]
    assert commands.result("evaluate", "--split", "test")["similarity"] == []
    with pytest.raises(UserError, match="choose holdout or test"):
        commands.text("evaluate", "--split", "train")


def replace_dissection(commands: Commands, masks: list[bool]) -> None:
    coverage = pd.DataFrame(
        [
            ("selected", 2, 0.756),
            ("selected", 0, 0.593),
            ("chance", 2, 0.01),
            ("curve 1", 2, 0.2),
        ],
        columns=["name", "class", "estimate"],
    )
    commands.replace(
        core__pipeline__dissect__run_dissection=STEP,
        evaluation__pipeline__coverage__run_coverage=SimpleNamespace(run="coverage-1"),
        evaluation__pipeline__descriptor_association__run_descriptor_association=None,
        core__pipeline__phantom_concepts__run_phantom_concepts=None,
        core__store__dataset_table__load_mammograms=pd.DataFrame({"has_concepts": masks}),
        # Unit 5 is selected for two classes.
        core__store__unit_table__load_selected_units=pd.DataFrame({"unit": [5, 5, 6]}),
        core__store__unit_table__load_coverage=coverage,
        core__store__run_table__load_run={"manifest": {"dead_units": [1, 2, 3]}},
    )


def test_dissect(step_commands: Commands) -> None:
    commands = step_commands
    replace_dissection(commands, [True, True])
    text = commands.text("dissect", "--layer", "features.3", "--layer", "last")
    assert text == (
        "step-1: 2 units selected, 3 dead; coverage malignant 75.6 %, normal 59.3 %. Next:"
        " deepminer explain"
    )
    assert commands.distributed and commands.called("exit_worker_ranks")
    layers = [args[1].dissection.layer for args, _ in commands.called("run_dissection")]
    assert layers == ["features.3", "last"]
    reports = [args[2] for args, _ in commands.called("run_dissection")]
    assert reports == ["report of dissect features.3", "report of dissect last"]
    expected = [((STUDY, "report of dissect step-1", "step-1"), {})] * 2
    for name in ("run_coverage", "run_descriptor_association", "run_phantom_concepts"):
        assert commands.called(name) == expected
    assert commands.called("load_selected_units") == [(("read connection", "step-1"), {})]
    assert commands.called("load_coverage") == [(("read connection", "coverage-1"), {})]
    result = commands.result("dissect")
    assert [row["name"] for row in result.pop("coverage")] == ["selected", "selected", "chance"]
    assert [row["unit"] for row in result.pop("selected")] == [5, 5, 6]
    assert result == {
        "run": "step-1",
        "fresh": True,
        "coverage_run": "coverage-1",
        "dead_units": [1, 2, 3],
    }
    [((_, chosen, _), _)] = commands.called("run_dissection")
    assert chosen.dissection.layer == Settings().dissection.layer
    # Without the masks of every image there is nothing to compare with.
    for masks in ([True, False], []):
        replace_dissection(commands, masks)
        commands.text("dissect")
        assert not commands.called("run_phantom_concepts")


def test_explain(step_commands: Commands) -> None:
    commands = step_commands
    ids = pd.DataFrame({"mammogram_id": ["C2", "C1"]})
    commands.replace(
        core__store__dataset_table__load_mammograms=ids,
        core__pipeline__explain__run_explanation=STEP,
        core__store__unit_table__load_explanations=[1, 2, 3],
    )
    arguments = ("explain", "--mammogram", "C1", "--mammogram", "C2", "--label-set", "E1")
    assert commands.text(*arguments) == "step-1: 3 mammograms explained. Next: deepminer serve"
    assert commands.distributed and commands.called("exit_worker_ranks")
    chosen = {"mammograms": ["C1", "C2"], "label_set": "E1"}
    [(positional, keywords)] = commands.called("run_explanation")
    assert positional == (STUDY, Settings(), "report of explain") and keywords == chosen
    assert commands.result("explain") == {
        "run": "step-1",
        "fresh": True,
        "mammograms": 3,
        "label_set": "default",
    }
    chosen = {"mammograms": [], "label_set": "default"}
    assert commands.called("run_explanation")[0][1] == chosen
    with pytest.raises(UserError, match="no mammogram 'C3' in .*; ids look like C1"):
        commands.text(*arguments, "--mammogram", "C3")
    assert not commands.called("run_explanation")
    commands.replace(core__store__dataset_table__load_mammograms=ids.iloc[:0])
    with pytest.raises(UserError, match="ids look like S_0001_1.LEFT_CC"):
        commands.text(*arguments)


def test_ablate_and_sufficiency(step_commands: Commands) -> None:
    commands = step_commands
    frame = pd.DataFrame({"name": ["drop", "deletion"], "step": [None, 4.0], "estimate": [0.5, 1]})
    commands.replace(
        evaluation__pipeline__ablate__run_ablation=STEP,
        evaluation__pipeline__ablate__summary_line="It falls",
        evaluation__pipeline__sufficiency__run_sufficiency=STEP,
        core__store__unit_table__load_ablations=frame,
        evaluation__annotation__sufficiency__load_sufficiency=SimpleNamespace(
            sentence=lambda: "The named units carry 80 %."
        ),
    )
    for options, run in ((("--run", "dissect-7"), "dissect-7"), ((), None)):
        assert commands.text("ablate", *options) == "step-1: It falls. Next: deepminer serve"
        assert commands.called("run_ablation") == [((STUDY, "report of ablate", run), {})]
        assert commands.text("sufficiency", *options) == "step-1: The named units carry 80 %."
        arguments = (STUDY, "report of sufficiency", run)
        assert commands.called("run_sufficiency") == [(arguments, {})]
    assert commands.called("ancestor_run") == [((STUDY, "step-1", "dissect"), {})]
    assert commands.called("load_sufficiency") == [((STUDY, "dissect-7"), {})]
    assert commands.result("sufficiency")["numbers"] == [
        {"name": "drop", "estimate": 0.5},
        {"name": "deletion", "estimate": 1},
    ]
    assert commands.result("ablate") == {
        "run": "step-1",
        "fresh": True,
        "numbers": [{"name": "drop", "step": None, "estimate": 0.5}],
    }
    [((shown, classes), _)] = commands.called("summary_line")
    assert shown is frame and classes == MAMMOGRAPHY


@dataclass
class Measures:
    """Measures of a step with its sentences."""

    names: int = 4

    def sentence(self) -> str:
        """Return the measures in words."""
        return "4 names come back."

    def sentences(self) -> list[str]:
        """Return the measures in words."""
        return ["They save 4 answers.", "They agree."]


def test_stability_and_groups(step_commands: Commands) -> None:
    commands = step_commands
    commands.replace(
        core__pipeline__stability__retraining__run_stability=STEP,
        evaluation__annotation__stability__load_stability=Measures(),
        core__pipeline__unit_groups__run_grouping=STEP,
        core__store__labels__group_table__load_groups=((3, 4, 5), (6,), (8, 9)),
        evaluation__annotation__group_measures__measure_groups=Measures(),
    )
    assert commands.text("stability", "--run", "d", "--seeds", "5") == "step-1: 4 names come back."
    assert commands.called("run_stability") == [((STUDY, "report of stability", 5, "d"), {})]
    assert commands.called("load_stability") == [((STUDY, "dissect-7"), {})]
    assert commands.result("stability")["stability"] == {"names": 4}
    assert commands.called("run_stability") == [((STUDY, "report of stability", 3, None), {})]
    assert commands.text("group", "--run", "d") == (
        "step-1: 3 groups; 5 units are in groups of several. They save 4 answers. They agree."
    )
    assert commands.called("run_grouping") == [((STUDY, "report of group", "d"), {})]
    assert commands.called("load_groups") == [(("read connection", "dissect-7"), {})]
    assert commands.called("measure_groups") == [((STUDY, "dissect-7"), {})]
    assert commands.result("group") == {
        "run": "step-1",
        "fresh": True,
        "groups": [[3, 4, 5], [6], [8, 9]],
        "measures": {"names": 4},
    }
    commands.replace(
        core__store__labels__group_table__load_groups=None,
        evaluation__annotation__group_measures__measure_groups=None,
    )
    assert commands.text("group") == "step-1: 0 groups; 0 units are in groups of several."
    assert commands.result("group")["measures"] is None


PATCH_COUNTS = pd.DataFrame(
    [("holdout", 0, 11), ("holdout", 2, 3), ("test", 1, 7)], columns=["split", "label", "patches"]
)


@pytest.mark.parametrize(
    ("manifest", "side", "end"),
    [
        ({"classes": 3}, None, ""),
        ({"classes": 3, "listed_films_absent": 4}, None, "; 4 listed images are not in the study"),
        ({"classes": 3, "ingested_side": 227}, 227, "; resized from 227 to 227 px"),
        (
            {"classes": 3, "ingested_side": 227},
            228,
            "; resized from 227 to 228 px (to keep all detail, ingest into a study with"
            " images.input_side = 228 and resize for the other networks)",
        ),
    ],
)
def test_patches(
    step_commands: Commands, manifest: dict[str, Any], side: int | None, end: str
) -> None:
    commands = step_commands
    commands.replace(
        core__pipeline__patches__run_patch_extraction=STEP,
        core__store__dataset_table__load_patch_counts=PATCH_COUNTS,
        core__store__run_table__load_run={"manifest": manifest},
    )
    options = () if side is None else ("--input-side", str(side), "--labels", "release")
    assert commands.text("patches", *options) == (
        f"step-1: holdout: 11 normal, 3 malignant; test: 7 benign{end}. Next: deepminer train"
    )
    [(arguments, _)] = commands.called("run_patch_extraction")
    labels = None if side is None else "release"
    assert arguments[:3] == (STUDY, Settings(), "report of patches")
    assert (arguments[3] and str(arguments[3]), arguments[4]) == (labels, side)
    assert commands.called("load_patch_counts") == [(("read connection", "step-1"), {})]
    assert commands.result("patches", *options) == {
        "run": "step-1",
        "fresh": True,
        "counts": PATCH_COUNTS.to_dict("records"),
    }


def test_patches_of_two_classes(step_commands: Commands) -> None:
    commands = step_commands
    commands.replace(
        core__pipeline__patches__run_patch_extraction=STEP,
        core__store__dataset_table__load_patch_counts=PATCH_COUNTS[PATCH_COUNTS["label"] != 1],
        core__store__run_table__load_run={"manifest": {"classes": 2}},
    )
    assert commands.text("patches") == (
        "step-1: holdout: 11 other, 3 malignant; two classes, malignant against all other, because"
        " no image is labelled normal. Next: deepminer train"
    )
