"""Methods section of the report, from the settings and manifests of the runs that were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import lineage, store
from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.sessions.arms import ARM_TITLES, ARMS, shows_texts
from core.store import annotation_table, run_table
from core.store.labels.finished_annotators import annotator_states
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import count_text, decimal, display_name, percent
from evaluation.queries.provenance import closed_protocol
from evaluation.reading_study import Design, workflow
from evaluation.reading_study.design import ANALYSIS_NAMES, NO_ADVICE
from evaluation.reading_study.narrative import SIDE_NAMES
from evaluation.reading_study.primary import MISSING_NAMES
from evaluation.reporting.base import REPORTED_SPLIT

# What a case of each arm shows.
ARM_CONTENTS = dict(
    zip(
        ARMS,
        (
            "the labels of the most influential labelled units",
            "the labels of another case",
            "labels of randomly drawn units",
            "the class map without the mammogram",
            "the mammogram",
            "the mammogram with the labels of the most influential labelled units",
            "the mammogram, then the network's decision",
            "the mammogram, then the network's decision with the labels of its most influential"
            " labelled units",
            "the mammogram, then the network's decision with the class map",
            "the mammogram, then the network's decision with labels and class map",
            "the mammogram, then the network's decision with the labels of another case",
            "the mammogram, and a second look without advice",
        ),
    )
)
_RULES = {"or": "or if", "and": "and"}
_GOALS = {
    "superiority": "superiority",
    "noninferiority": "non-inferiority",
    "equivalence": "equivalence (two one-sided tests)",
}
_MULTIPLICITY = {
    "none": "The first comparison alone was primary.",
    "holm": "P values of all comparisons with the first arm were adjusted by Holm's method.",
    "fixed_sequence": "The comparisons were tested in a fixed sequence, in the order of the arms.",
}
_SPENDING = {"obrien_fleming": "O'Brien-Fleming", "pocock": "Pocock"}
_Run = Mapping[str, Any]


def methods_sentences(study: Path) -> list[str]:
    """Return the paragraphs of a methods section for the newest run of each step.

    A step that was not run has no paragraph.
    """
    with store.read(study) as con:
        newest = {
            kind: run_table.latest_run(con, kind)
            for kind in ("patches", "train", "evaluate", "dissect")
        }
        runs = {kind: run_table.load_run(con, run) for kind, run in newest.items() if run}
        metrics = (
            run_table.load_metrics(con, newest["evaluate"], REPORTED_SPLIT)
            if newest["evaluate"]
            else None
        )
        annotators = (
            annotation_table.annotation_progress_by_expert(con, newest["dissect"])
            if newest["dissect"]
            else None
        )
        states = annotator_states(con, newest["dissect"]) if newest["dissect"] else {}
        closed = closed_protocol(con)
        classes = (
            run_table.run_classes(con, newest["patches"]) if newest["patches"] else MAMMOGRAPHY
        )
    paragraphs = []
    if "patches" in runs:
        has_image_labels = lineage.has_image_level_labels(study)
        paragraphs += [
            split_sentence(runs["patches"]),
            patch_sentences(runs["patches"], has_image_labels),
        ]
    if "train" in runs:
        paragraphs.append(training_sentences(runs["train"]))
    if "evaluate" in runs and metrics is not None:
        methods = metrics.loc[metrics["name"] == "auc", "method"].drop_duplicates()
        paragraphs.append(evaluation_sentences(runs["evaluate"], list(methods), classes))
    if "dissect" in runs:
        paragraphs.append(unit_sentences(runs["dissect"], classes.positive))
    if annotators is not None and len(annotators):
        paragraphs.append(
            _annotation_sentence(
                len(annotators),
                int(annotators["simulated"].sum()),
                sum(state.finished for state in states.values()),
            )
        )
    if closed is not None:
        paragraphs.append(reading_sentences(closed))
    return paragraphs or ["No step of the pipeline has been run: there are no methods to describe."]


def split_sentence(run: _Run) -> str:
    """Return how patients were assigned to the splits of a patches run."""
    splits, seed = run["settings"]["splits"], run["settings"]["seed"]
    together = "all images of a patient are in one split"
    if splits["published"]:
        return (
            "The split published with the data was used; where it has no hold-out part, hold-out"
            f" patients were drawn from its training part (seed {seed}); {together}."
        )
    train, holdout = splits["train"], splits["holdout"]
    return (
        f"Patients were assigned at random to training ({percent(train, 0)}), hold-out"
        f" ({percent(holdout, 0)}) and test ({percent(1 - train - holdout, 0)}), stratified by"
        f" diagnosis (seed {seed}); {together}."
    )


def patch_sentences(run: _Run, has_image_labels: bool) -> str:
    """Return how the patches of a run were taken and labelled."""
    patches, manifest = run["settings"]["patches"], run["manifest"]
    taken = (
        "Square patches with a side of 25 % of the width of the mammogram were taken at a stride of"
        f" half their side where tissue covered at least {percent(patches['min_tissue'], 0)}."
    )
    if manifest.get("labels", "own") != "own":
        return (
            "The patches and their classes are those of the published list; patches of mammograms"
            " that are absent from this study were left out."
        )
    classes = ClassDefinition.from_manifest(manifest)
    if has_image_labels:
        return f"{taken} Every patch carries the diagnosis of its mammogram (image-level labels)."
    overlap, join = percent(patches["min_overlap"], 0), _RULES[patches["rule"]]
    ambiguous = (
        " Patches that touched a finding without reaching this overlap were left out."
        if patches["ambiguous"] == "drop"
        else ""
    )
    if len(classes.outputs) == 2:
        lesion, rest = classes.positive, classes.outputs[0]
        return (
            f"{taken} A patch was {lesion} if {lesion} findings covered {overlap} of the patch"
            f" {join} {overlap} of one {lesion} finding was inside the patch; all other patches"
            f" formed the {'other class' if rest == 'other' else f'class {rest}'}.{ambiguous}"
        )
    precedence = " over ".join(classes.names[:0:-1])
    return (
        f"{taken} A patch was assigned to a lesion class if findings of that class covered"
        f" {overlap} of the patch {join} {overlap} of one finding was inside the patch;"
        f" {precedence.replace(' over ', ' took precedence over ', 1)}, and all other patches were"
        f" {classes.normal}.{ambiguous}"
    )


def training_sentences(run: _Run) -> str:
    """Return how a network was trained, and which epoch's weights were kept."""
    training, manifest = run["settings"]["training"], run["manifest"]
    weights = {
        "none": "random initial weights",
        "imagenet": "weights pretrained on ImageNet",
    }.get(training["weights"], f"initial weights from {Path(training['weights']).name}")
    network = f"The network (architecture {manifest['architecture']}, {weights})"
    if manifest.get("imported"):
        return f"{network} was imported as it is and was not trained in this study."
    return " ".join(
        filter(
            None,
            (
                f"{network} was trained for {count_text(training['epochs'], 'epoch')} with"
                f" {_optimizer_text(training)}, in batches of {training['batch']:,} patches (seed"
                f" {training['seed']}).",
                sampling_sentence(training),
                _augmentation_sentence(training),
                _regularization_sentence(training),
                kept_epoch_sentence(training, manifest),
            ),
        )
    )


def _optimizer_text(training: _Run) -> str:
    rate = decimal_text(training["learning_rate"])
    decay = f"weight decay {decimal_text(training['weight_decay'])}"
    if training["optimizer"] == "adamw":
        return f"AdamW (one-cycle schedule with a peak learning rate of {rate}, {decay})"
    # The setting counts epochs from 0; an epoch that is never reached changes nothing.
    drop = (
        f", multiplied by .1 from epoch {training['decay_epoch'] + 1} on"
        if 0 <= training["decay_epoch"] < training["epochs"]
        else ""
    )
    return (
        f"stochastic gradient descent (learning rate {rate}{drop}; momentum"
        f" {decimal(training['momentum'], 2)}, {decay})"
    )


def decimal_text(value: float) -> str:
    """Return a small number with all its digits and without a leading zero.

    >>> decimal_text(0.0001), decimal_text(0.004)
    ('.0001', '.004')
    """
    return f"{value:.10f}".rstrip("0").rstrip(".").removeprefix("0") or "0"


def sampling_sentence(training: _Run) -> str:
    """Return which training patches an epoch uses."""
    if training["sampling"] == "balanced":
        return (
            f"Each epoch drew {training['draws']:,} patches with equal proportions of the classes."
        )
    return "Each epoch used every training patch once."


def _augmentation_sentence(training: _Run) -> str:
    rotation = training.get("rotation", 0.0)
    kinds = ["random flips and quarter turns"] if training["augment"] else []
    if rotation:
        kinds.append(f"random rotations of up to {rotation:g} degrees")
    if not kinds:
        return "Patches were not augmented."
    return f"Patches were augmented by {' and by '.join(kinds)}."


def _regularization_sentence(training: _Run) -> str:
    smoothing = training["label_smoothing"]
    return (
        f"The loss was cross-entropy with label smoothing of {decimal(smoothing, 2)}."
        if smoothing
        else "The loss was cross-entropy without label smoothing."
    )


def kept_epoch_sentence(training: _Run, manifest: _Run) -> str:
    """Return which epoch's weights all later steps use."""
    if training["keep"] == "last":
        return f"The weights of the last epoch ({training['epochs']}) were kept."
    return (
        "The weights of the epoch with the best hold-out accuracy (epoch"
        f" {manifest['best_epoch'] + 1}) were kept."
    )


def evaluation_sentences(run: _Run, methods: list[str], classes: ClassDefinition) -> str:
    """Return how performance was measured; methods: of the stored intervals of the AUC."""
    compared = (
        "each class against the rest"
        if len(classes.outputs) > 2
        else f"{classes.positive} against all other"
    )
    intervals = f" ({'; '.join(methods)})" if methods else ""
    return (
        f"Performance was measured by the area under the ROC curve (AUC) of {compared}, with 95 %"
        f" confidence intervals clustered by patient{intervals}, and by the partial area over"
        " sensitivities of .8 to 1. Thresholds were fixed on the hold-out split and applied to the"
        " test split. The score of a mammogram is the largest probability of"
        f" {classes.positive} over its tissue, and the score of a case the largest over its"
        " mammograms."
    )


def unit_sentences(run: _Run, positive: str) -> str:
    """Return what units are, how their influence is defined, and how they were selected."""
    dissection, manifest = run["settings"]["dissection"], run["manifest"]
    layer = (
        "the layer that feeds the output"
        if manifest["layer"] == "last"
        else f'layer "{manifest["layer"]}"'
    )
    units = (
        f"Units are the {manifest['units']:,} channels of {layer}. The influence of a unit on a"
        f" class was defined as {manifest['influence'].replace(' x ', ' times ')}."
    )
    # Dissections of earlier versions have no such record: they ranked in float32.
    ranking = manifest.get("ranking", {})
    if ranking.get("candidates"):
        units += (
            f" The patches were ranked in {ranking['format']}, and the first"
            f" {ranking['candidates']} of each unit again in float32."
        )
    if dissection.get("rule", "influence") == "spie":
        return (
            f"{units} Units were selected by the rule of SPIE 2018: units whose top patches are"
            f" mostly {positive}, and others drawn at random, together at most 45; the same units"
            " serve every class."
        )
    return (
        f"{units} For each class, the {dissection['select']} units that were most often among the"
        f" {dissection['top']} with the largest influence on hold-out mammograms were selected."
    )


def _annotation_sentence(annotators: int, simulated: int, finished: int) -> str:
    kind = ""
    if simulated == annotators:
        kind = ", all simulated,"
    elif simulated:
        kind = f", {simulated} of them simulated,"
    unfinished = "" if finished == annotators else f"; {finished} of them finished"
    rule = (
        " Labels were used where all annotators who had finished agreed on categories, descriptors"
        " and association, or where a person had decided."
        if finished > 1
        else ""
    )
    return (
        f"{count_text(annotators, 'annotator')}{kind} named units from their top"
        f" patches{unfinished}.{rule}"
    )


def reading_sentences(protocol: Protocol) -> str:
    """Return the design of a reading study as it was frozen."""
    design = workflow.protocol_design(protocol)
    arms = "; ".join(f"{ARM_TITLES[arm]}: {ARM_CONTENTS[arm]}" for arm in design.arms)
    texts = (
        f" A case with labels showed at most {design.texts} of them,"
        f" {'with' if design.association_words else 'without'} words of the annotators' verdict."
        f" {workflow.frozen_label_sentence(protocol)}"
        if any(map(shows_texts, design.arms))
        else ""
    )
    discrepant = "left out" if design.discrepant == "out" else "included"
    images = (
        "the exam (the CC and MLO films)"
        if design.case_unit == "exam"
        else "all eligible images"
        if design.images_per_patient is None
        else f"at most {count_text(design.images_per_patient, 'image')}"
    )
    return (
        f"The reading study was planned with {count_text(design.readers, 'reader')} and"
        f" {count_text(len(design.arms), 'arm')} ({arms}).{texts} Answers ranged from 1"
        f" ({design.comparison}) to {design.scale} ({design.positive}); {design.threshold} or"
        f" higher counted as {design.positive}. Truth was defined by the rule"
        f" {display_name(design.truth_rule)}; cases whose truth rules differ"
        f" were {discrepant}. The study used {images} of each patient."
        f"{advice_sentences(design)} {analysis_sentences(design)} The protocol was frozen before"
        f" reading (hash {protocol.hash[:12]}). Hypothesis: {design.hypothesis}"
    )


def advice_sentences(design: Design) -> str:
    """Return how a study gave advice, with a blank in front; "" for one without advice."""
    if design.advice == NO_ADVICE:
        return ""
    stated = "class" if design.advice == "class" else "band of the probability"
    share = (
        "The share of wrong decisions was that of the network on these cases"
        if design.wrong_advice is None
        else f"Cases were sampled for {percent(design.wrong_advice, 0)} wrong decisions in each"
        " class, as near as whole cases allow"
    )
    stated_share = (
        "stated in the instructions" if design.wrong_advice_told else "unknown to the readers"
    )
    prediction = (
        " After the first answer readers predicted the network's decision."
        if design.predict_network
        else ""
    )
    crossover = (
        f" Each reader read every case once in each arm, with at least {design.washout_days} days"
        " between the periods."
        if design.washout_days
        else " Each case was read in one arm."
    )
    return (
        f" Readers gave a first answer, which was locked; then the network's {stated} was shown,"
        f" and they gave the final answer. {share} ({stated_share}).{prediction}{crossover}"
    )


def analysis_sentences(design: Design) -> str:
    """Return the prespecified analysis with everything that the design fixes about it."""
    sentences = [
        f"The primary analysis was the {ANALYSIS_NAMES[design.primary]}"
        f" ({SIDE_NAMES[design.side]}, alpha {decimal(design.alpha)})."
    ]
    if design.primary == "auc_difference":
        margin = f" with a margin of {decimal(design.margin)}" if design.margin else ""
        sentences.append(f"The goal was {_GOALS[design.goal]}{margin}.")
        if len(design.arms) > 2:
            sentences.append(_MULTIPLICITY[design.multiplicity])
    sentences.append(f"Missing answers were {MISSING_NAMES[design.missing_answers]}.")
    if design.looks > 1:
        sentences.append(
            f"{design.looks} equally spaced looks were planned, with alpha spending of the"
            f" {_SPENDING[design.spending]} type."
        )
    return " ".join(sentences)
