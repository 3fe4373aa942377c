"""Every sentence of the methods section, written down for settings whose numbers all differ."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.sessions.arms import ARMS
from evaluation.reading_study import Design
from evaluation.reporting import methods_text
from evaluation.reporting.methods_text import (
    _annotation_sentence,
    advice_sentences,
    analysis_sentences,
    decimal_text,
    evaluation_sentences,
    kept_epoch_sentence,
    methods_sentences,
    patch_sentences,
    reading_sentences,
    sampling_sentence,
    split_sentence,
    training_sentences,
    unit_sentences,
)

STUDY = Path("study")


def test_splits() -> None:
    splits = {"published": False, "train": 0.6, "holdout": 0.15}
    run = {"settings": {"splits": splits, "seed": 7}}
    assert split_sentence(run) == (
        "Patients were assigned at random to training (60 %), hold-out (15 %) and test (25 %),"
        " stratified by diagnosis (seed 7); all images of a patient are in one split."
    )
    splits["published"] = True
    assert split_sentence(run) == (
        "The split published with the data was used; where it has no hold-out part, hold-out"
        " patients were drawn from its training part (seed 7); all images of a patient are in one"
        " split."
    )


def patches_run(manifest: dict[str, Any], **patches: Any) -> dict[str, Any]:
    chosen = {"min_tissue": 0.5, "min_overlap": 0.3, "rule": "or", "ambiguous": "keep"} | patches
    return {"settings": {"patches": chosen}, "manifest": manifest}


TAKEN = (
    "Square patches with a side of 25 % of the width of the mammogram were taken at a stride of"
    " half their side where tissue covered at least 50 %."
)


def test_patches_of_three_and_of_two_classes() -> None:
    left_out = " Patches that touched a finding without reaching this overlap were left out."
    three = (
        f"{TAKEN} A patch was assigned to a lesion class if findings of that class covered 30 % of"
        " the patch {join} 30 % of one finding was inside the patch; malignant took precedence over"
        " benign, and all other patches were normal."
    )
    for rule, join in (("or", "or if"), ("and", "and")):
        run = patches_run({"classes": 3}, rule=rule)
        assert patch_sentences(run, False) == three.format(join=join)
    dropped = patches_run({"classes": 3}, ambiguous="drop")
    assert patch_sentences(dropped, False) == three.format(join="or if") + left_out
    two = (
        f"{TAKEN} A patch was malignant if malignant findings covered 30 % of the patch or if 30 %"
        " of one malignant finding was inside the patch; all other patches formed the other class."
    )
    assert patch_sentences(patches_run({"classes": 2}), False) == two
    assert patch_sentences(patches_run({"classes": 2}, ambiguous="drop"), False) == two + left_out
    weak = "Every patch carries the diagnosis of its mammogram (image-level labels)."
    assert patch_sentences(patches_run({"classes": 2}), True) == f"{TAKEN} {weak}"


def test_patches_of_named_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two named classes the first is no rest; of four the last comes first."""
    definition: list[ClassDefinition] = []
    monkeypatch.setattr(
        methods_text,
        "ClassDefinition",
        SimpleNamespace(from_manifest=lambda manifest: definition[-1]),
    )
    definition.append(ClassDefinition(("empty", "cat"), positive="cat", comparison="empty"))
    text = patch_sentences(patches_run({}), False)
    assert text.endswith("inside the patch; all other patches formed the class empty.")
    assert "A patch was cat if cat findings covered" in text
    names = ("empty", "cat", "dog", "owl")
    definition.append(ClassDefinition(names, positive="cat", comparison="dog"))
    text = patch_sentences(patches_run({}), False)
    assert text.endswith(
        "; owl took precedence over dog over cat, and all other patches were empty."
    )


def training_run(manifest: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    chosen = {
        "weights": "none",
        "epochs": 9,
        "batch": 1234,
        "seed": 5,
        "optimizer": "adamw",
        "learning_rate": 0.004,
        "weight_decay": 0.0001,
        "momentum": 0.9,
        "decay_epoch": 3,
        "sampling": "balanced",
        "draws": 2500,
        "augment": True,
        "rotation": 7.5,
        "label_smoothing": 0.05,
        "keep": "best",
    } | training
    manifest = {"architecture": "resnet18", "best_epoch": 4} | (manifest or {})
    return {"settings": {"training": chosen}, "manifest": manifest}


def test_training() -> None:
    assert training_sentences(training_run()) == (
        "The network (architecture resnet18, random initial weights) was trained for 9 epochs with"
        " AdamW (one-cycle schedule with a peak learning rate of .004, weight decay .0001), in"
        " batches of 1,234 patches (seed 5). Each epoch drew 2,500 patches with equal proportions"
        " of the classes. Patches were augmented by random flips and quarter turns and by random"
        " rotations of up to 7.5 degrees. The loss was cross-entropy with label smoothing of .05."
        " The weights of the epoch with the best hold-out accuracy (epoch 5) were kept."
    )
    plain = training_run(
        weights="imagenet",
        optimizer="sgd",
        sampling="all",
        augment=False,
        rotation=0.0,
        label_smoothing=0.0,
        keep="last",
    )
    del plain["settings"]["training"]["rotation"]
    assert training_sentences(plain) == (
        "The network (architecture resnet18, weights pretrained on ImageNet) was trained for 9"
        " epochs with stochastic gradient descent (learning rate .004, multiplied by .1 from epoch"
        " 4 on; momentum .90, weight decay .0001), in batches of 1,234 patches (seed 5). Each epoch"
        " used every training patch once. Patches were not augmented. The loss was cross-entropy"
        " without label smoothing. The weights of the last epoch (9) were kept."
    )
    imported = training_run({"imported": {"file": "a"}}, weights="/folder/net.pt")
    assert training_sentences(imported) == (
        "The network (architecture resnet18, initial weights from net.pt) was imported as it is and"
        " was not trained in this study."
    )


@pytest.mark.parametrize(
    ("epoch", "text"), [(-1, ""), (0, " from epoch 1 on"), (8, " from epoch 9 on"), (9, "")]
)
def test_epoch_at_which_the_rate_falls(epoch: int, text: str) -> None:
    sentence = training_sentences(training_run(optimizer="sgd", decay_epoch=epoch))
    drop = f"learning rate .004, multiplied by .1{text};" if text else "learning rate .004;"
    assert drop in sentence


def test_parts_of_the_training_by_themselves() -> None:
    numbers = (0.0, 0.5, 1.0, 12.25, 0.0000000001)
    assert [decimal_text(n) for n in numbers] == ["0", ".5", "1", "12.25", ".0000000001"]
    assert sampling_sentence({"sampling": "all"}) == "Each epoch used every training patch once."
    assert kept_epoch_sentence({"keep": "last", "epochs": 3}, {}).endswith("(3) were kept.")


def test_evaluation_and_units() -> None:
    tail = (
        ", and by the partial area over sensitivities of .8 to 1. Thresholds were fixed on the"
        " hold-out split and applied to the test split. The score of a mammogram is the largest"
        " probability of malignant over its tissue, and the score of a case the largest over its"
        " mammograms."
    )
    start = "Performance was measured by the area under the ROC curve (AUC) of"
    clustered = ", with 95 % confidence intervals clustered by patient"
    assert evaluation_sentences({}, ["A", "B"], MAMMOGRAPHY) == (
        f"{start} each class against the rest{clustered} (A; B){tail}"
    )
    assert evaluation_sentences({}, [], MAMMOGRAPHY.with_outputs(2)) == (
        f"{start} malignant against all other{clustered}{tail}"
    )
    run = {
        "settings": {"dissection": {"select": 20, "top": 8}},
        "manifest": {"layer": "last", "units": 2048, "influence": "activation x weight"},
    }
    assert unit_sentences(run, "malignant") == (
        "Units are the 2,048 channels of the layer that feeds the output. The influence of a unit"
        " on a class was defined as activation times weight. For each class, the 20 units that were"
        " most often among the 8 with the largest influence on hold-out mammograms were selected."
    )
    # A ranking in another format than that of the stored activations is reported.
    run["manifest"]["ranking"] = {"format": "float32", "candidates": None}
    assert "ranked" not in unit_sentences(run, "malignant")
    run["manifest"]["ranking"] = {"format": "bfloat16", "candidates": 128}
    assert (
        "weight. The patches were ranked in bfloat16, and the first 128 of each unit again in"
        " float32. For each class," in unit_sentences(run, "malignant")
    )
    del run["manifest"]["ranking"]
    run["manifest"]["layer"] = "layer3"
    run["settings"]["dissection"]["rule"] = "spie"
    assert unit_sentences(run, "cancer") == (
        'Units are the 2,048 channels of layer "layer3". The influence of a unit on a class was'
        " defined as activation times weight. Units were selected by the rule of SPIE 2018: units"
        " whose top patches are mostly cancer, and others drawn at random, together at most 45; the"
        " same units serve every class."
    )


RULE = (
    " Labels were used where all annotators who had finished agreed on categories, descriptors and"
    " association, or where a person had decided."
)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1, 0, 1), "1 annotator named units from their top patches."),
        ((2, 2, 2), f"2 annotators, all simulated, named units from their top patches.{RULE}"),
        (
            (4, 3, 2),
            "4 annotators, 3 of them simulated, named units from their top patches; 2 of them"
            f" finished.{RULE}",
        ),
        ((3, 0, 1), "3 annotators named units from their top patches; 1 of them finished."),
    ],
)
def test_annotators(numbers: tuple[int, int, int], text: str) -> None:
    assert _annotation_sentence(*numbers) == text


def designed(**settings: Any) -> Any:
    """Return a design with these settings, whether or not they fit together."""
    return SimpleNamespace(**vars(Design()) | {"threshold": 3} | settings)


def test_advice() -> None:
    assert advice_sentences(designed()) == ""
    design = designed(arms=("advice", "no_advice"), advice="class", primary="gee")
    assert advice_sentences(design) == (
        " Readers gave a first answer, which was locked; then the network's class was shown, and"
        " they gave the final answer. The share of wrong decisions was that of the network on these"
        " cases (unknown to the readers). Each case was read in one arm."
    )
    design = designed(
        arms=("advice", "no_advice"),
        advice="band",
        wrong_advice=0.25,
        wrong_advice_told=True,
        predict_network=True,
        washout_days=28,
    )
    assert advice_sentences(design) == (
        " Readers gave a first answer, which was locked; then the network's band of the probability"
        " was shown, and they gave the final answer. Cases were sampled for 25 % wrong decisions in"
        " each class, as near as whole cases allow (stated in the instructions). After the first"
        " answer readers predicted the network's decision. Each reader read every case once in each"
        " arm, with at least 28 days between the periods."
    )


def test_analysis() -> None:
    assert analysis_sentences(designed()) == (
        "The primary analysis was the proportion correct, GEE clustered by patient (one-sided,"
        " alpha .050). Missing answers were left out."
    )
    start = (
        "The primary analysis was the difference in mean AUC between two arms (Obuchowski-Rockette)"
        " (two-sided, alpha .100)."
    )
    rating = {"primary": "auc_difference", "side": "two-sided", "alpha": 0.1}
    assert analysis_sentences(designed(**rating)) == (
        f"{start} The goal was superiority. Missing answers were left out."
    )
    three = designed(
        **rating,
        arms=("explanation", "shuffled", "random_units"),
        goal="noninferiority",
        margin=0.125,
        multiplicity="holm",
        missing_answers="counted_wrong",
        looks=3,
    )
    assert analysis_sentences(three) == (
        f"{start} The goal was non-inferiority with a margin of .125. P values of all comparisons"
        " with the first arm were adjusted by Holm's method. Missing answers were counted as wrong."
        " 3 equally spaced looks were planned, with alpha spending of the O'Brien-Fleming type."
    )
    for changes, text in (
        ({"multiplicity": "none"}, "The first comparison alone was primary."),
        (
            {"multiplicity": "fixed_sequence"},
            "The comparisons were tested in a fixed sequence, in the order of the arms.",
        ),
        ({"goal": "equivalence"}, "The goal was equivalence (two one-sided tests) with a margin"),
        ({"spending": "pocock"}, "alpha spending of the Pocock type."),
    ):
        assert text in analysis_sentences(designed(**vars(three) | changes))


CONTENTS = {
    "explanation": "the labels of the most influential labelled units",
    "shuffled": "the labels of another case",
    "random_units": "labels of randomly drawn units",
    "class_map": "the class map without the mammogram",
    "image": "the mammogram",
    "image_explanation": "the mammogram with the labels of the most influential labelled units",
    "advice": "the mammogram, then the network's decision",
    "advice_units": (
        "the mammogram, then the network's decision with the labels of its most influential"
        " labelled units"
    ),
    "advice_map": "the mammogram, then the network's decision with the class map",
    "advice_units_map": "the mammogram, then the network's decision with labels and class map",
    "advice_shuffled": (
        "the mammogram, then the network's decision with the labels of another case"
    ),
    "no_advice": "the mammogram, and a second look without advice",
}


def test_reading_study(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dict(zip(ARMS, methods_text.ARM_CONTENTS.values())) == CONTENTS
    protocol = SimpleNamespace(hash="0123456789abcdef")
    designs = [designed(scale=5)]
    monkeypatch.setattr(methods_text.workflow, "protocol_design", lambda given: designs[-1])
    monkeypatch.setattr(methods_text.workflow, "frozen_label_sentence", lambda given: "By experts.")
    text = reading_sentences(protocol)  # type: ignore[arg-type]
    design = designs[-1]
    assert text == (
        "The reading study was planned with 3 readers and 2 arms (explanation text: the labels of"
        " the most influential labelled units; shuffled explanation: the labels of another case)."
        " A case with labels showed at most 3 of them, without words of the annotators' verdict."
        f" By experts. Answers ranged from 1 (benign) to 5 (malignant); 3 or higher"
        " counted as malignant. Truth was defined by the rule any malignant; cases whose truth"
        " rules differ were left out. The study used at most 1 image of each patient."
        f" {analysis_sentences(design)} The protocol was frozen before reading (hash 0123456789ab)."
        f" Hypothesis: {design.hypothesis}"
    )
    designs.append(
        designed(
            arms=("image",),
            discrepant="in",
            images_per_patient=None,
            association_words=True,
            texts=2,
        )
    )
    text = reading_sentences(protocol)  # type: ignore[arg-type]
    assert "(image: the mammogram). Answers ranged" in text and "and 1 arm (" in text
    assert "rules differ were included. The study used all eligible images of each patient." in text
    designs.append(designed(**vars(designs[-1]) | {"arms": ("image_explanation",)}))
    text = reading_sentences(protocol)  # type: ignore[arg-type]
    assert "showed at most 2 of them, with words of the annotators' verdict. By experts." in text
    designs.append(designed(**vars(designs[-1]) | {"case_unit": "exam", "images_per_patient": 4}))
    text = reading_sentences(protocol)  # type: ignore[arg-type]
    assert "The study used the exam (the CC and MLO films) of each patient." in text


def test_paragraphs_of_the_runs_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """One paragraph for each step, from its newest run; none for a step that was not run."""
    module, existing = methods_text, {"patches", "train", "evaluate", "dissect"}
    metrics = pd.DataFrame({"name": ["auc", "auc", "pauc", "auc"], "method": ["A", "B", "C", "A"]})
    annotators = pd.DataFrame({"code": ["A1", "A2", "A3"], "simulated": [True, True, False]})
    states = {"A1": True, "A2": False, "A3": True}
    closed: list[Any] = ["closed"]
    functions = {
        (module.store, "read"): lambda study: nullcontext(study),
        (module.run_table, "latest_run"): lambda con, kind: (
            f"{kind}-9" if kind in existing else None
        ),
        (module.run_table, "load_run"): lambda con, run: f"run {run}",
        (module.run_table, "load_metrics"): lambda con, run, split: (
            metrics if (run, split) == ("evaluate-9", "test") else None
        ),
        (module.run_table, "run_classes"): lambda con, run: SimpleNamespace(positive=f"of {run}"),
        (module.annotation_table, "annotation_progress_by_expert"): lambda con, run: annotators,
        (module, "annotator_states"): lambda con, run: {
            code: SimpleNamespace(finished=done) for code, done in states.items()
        },
        (module, "closed_protocol"): lambda con: closed[-1],
        (module.lineage, "has_image_level_labels"): lambda study: "weak",
        (module, "split_sentence"): lambda run: f"split {run}",
        (module, "patch_sentences"): lambda run, weak: f"patches {run} {weak}",
        (module, "training_sentences"): lambda run: f"training {run}",
        (module, "evaluation_sentences"): lambda run, methods, classes: (
            f"evaluation {run} {methods} {getattr(classes, 'positive', '')}"
        ),
        (module, "unit_sentences"): lambda run, positive: f"units {run} {positive}",
        (module, "_annotation_sentence"): lambda *numbers: f"annotators {numbers}",
        (module, "reading_sentences"): lambda protocol: f"reading {protocol}",
    }
    for (owner, name), function in functions.items():
        monkeypatch.setattr(owner, name, function)
    paragraphs = [
        "split run patches-9",
        "patches run patches-9 weak",
        "training run train-9",
        "evaluation run evaluate-9 ['A', 'B'] of patches-9",
        "units run dissect-9 of patches-9",
        "annotators (3, 2, 2)",
        "reading closed",
    ]
    assert methods_sentences(STUDY) == paragraphs
    annotators = annotators.iloc[:0]
    closed.append(None)
    assert methods_sentences(STUDY) == paragraphs[:-2]
    existing -= {"patches", "dissect"}
    assert methods_sentences(STUDY) == [
        "training run train-9",
        "evaluation run evaluate-9 ['A', 'B'] malignant",
    ]
    existing.clear()
    assert methods_sentences(STUDY) == [
        "No step of the pipeline has been run: there are no methods to describe."
    ]
