"""Commands that run the steps of the pipeline, from training to ablation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UserError
from core.progress import progress_bar
from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    exit_worker_ranks,
    resolve_study,
)

if TYPE_CHECKING:
    from core.pipeline.inputs import StepResult
    from core.settings import Settings

pipeline_app = typer.Typer()


def emit_run(
    command: str,
    folder: Path,
    step_result: StepResult,
    result: dict[str, Any],
    as_json: bool,
    text: str,
) -> None:
    """Print the result of a step; the text begins with the name of its run."""
    reused = "" if step_result.created else " (existing run with the same settings and data)"
    result = {"run": step_result.run, "fresh": step_result.created, **result}
    emit_result(command, folder, result, as_json, f"{step_result.run}{reused}: {text}")


@pipeline_app.command("train")
def train_command(
    study: StudyOption = Path("."),
    arch: Annotated[str | None, typer.Option(help="architecture, instead of study.toml's")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="epochs, instead of study.toml's", min=1)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="FILE, imagenet or none, instead of study.toml's")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier on the training patches; an interrupted training resumes."""
    from core import lineage, settings, store
    from core.pipeline import train
    from core.store import run_table
    from evaluation.intervals import decimal

    folder = resolve_study(study, distributed_step=True)
    study_settings = settings.load_settings(folder).with_changes(
        "training", architecture=arch, epochs=epochs, weights=weights
    )
    with progress_bar("train") as report:
        step_result = train.run_training(folder, study_settings, report)
    exit_worker_ranks()
    with store.read(folder) as con:
        history = run_table.load_training_history(con, step_result.run)
        manifest = run_table.load_run(con, step_result.run)["manifest"]
    holdout = history[history["part"] == "holdout"]
    text = f"{(history['part'] == 'train').sum()} epochs"
    if len(holdout):
        text += f", hold-out accuracy {decimal(holdout['accuracy'].max())}"
    positive = lineage.run_classes(folder, step_result.run).positive
    aucs = holdout[f"auc_{positive}"]
    if aucs.notna().any():
        text += f", {positive} AUC {decimal(aucs.iloc[-1])} after the last"
    text = ". ".join([text, *_training_notes(study_settings, manifest)])
    result = {
        "history": history.to_dict("records"),
        "settings_from": study_settings.training_origins(),
        "left_out": manifest.get("left_out", []),
    }
    emit_run("train", folder, step_result, result, as_json, f"{text}. Next: deepminer evaluate")


def _training_notes(study_settings: Settings, manifest: dict[str, Any]) -> list[str]:
    """Return what a person should know of a training's settings and initial weights."""
    from core.settings import training_recipe

    training, origins = study_settings.training, study_settings.training_origins()
    recipe = training_recipe(training.architecture)
    set_in_file = [
        f"{name} {getattr(training, name)!r} (recipe: {value!r})"
        for name, value in recipe.items()
        if origins[name] == "study.toml" and getattr(training, name) != value
    ]
    notes = []
    if set_in_file:
        notes.append(
            f"study.toml sets, before the recipe of {training.architecture}:"
            f" {', '.join(set_in_file)}"
        )
    if manifest.get("left_out"):
        notes.append(f"Left out of the weights file: {', '.join(manifest['left_out'])}")
    return notes


@pipeline_app.command("import-checkpoint")
def import_checkpoint_command(
    file: Annotated[Path, typer.Argument(help="state dict, published .pth.tar, or safetensors")],
    arch: Annotated[
        str, typer.Option(help="architecture: a torchvision classifier or package.module:function")
    ],
    study: StudyOption = Path("."),
    classes: Annotated[
        int | None, typer.Option(help="classes of the checkpoint, checked against the patches")
    ] = None,
    patches: Annotated[
        str | None, typer.Option(help="patches run, instead of the newest at the published side")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            help=(
                "global or top_left_7, instead of the published pooling (ResNet: top_left_7; a"
                " ResNet trained with torchvision 0.2.2 or later needs global)"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Use a published or own checkpoint as it is, as a train run without any training."""
    from core import settings, store
    from core.pipeline import import_checkpoint
    from core.store import run_table

    if pool not in (None, "global", "top_left_7"):
        raise UserError(f"--pool is {pool!r}: choose global or top_left_7.")
    folder = resolve_study(study)
    with progress_bar("import-checkpoint") as report:
        step_result = import_checkpoint.run_import(
            folder,
            settings.load_settings(folder),
            file,
            arch,
            report,
            classes=classes,
            patches=patches,
            pool=pool,
        )
    with store.read(folder) as con:
        run = run_table.load_run(con, step_result.run)
    imported = run["manifest"]["imported"]
    result = {"imported": imported, "patches": run["parents"][0]}
    text = (
        f"{imported['file']} as {arch}, pooling {imported['pool']}, patches of"
        f" {imported['input_side']} px from {run['parents'][0]}, normalised by mean"
        f" {imported['mean'][0]:g} and deviation {imported['deviation'][0]:g} (first channel)."
        " Nothing was trained. Next: deepminer evaluate"
    )
    emit_run("import-checkpoint", folder, step_result, result, as_json, text)


@pipeline_app.command("evaluate")
def evaluate_command(
    study: StudyOption = Path("."),
    split: Annotated[
        str, typer.Option(help="split whose results are printed: holdout or test")
    ] = "holdout",
    as_json: JsonOption = False,
) -> None:
    """Predict held-out patches and mammograms: AUC and partial AUC with clustered intervals."""
    from core import lineage, store
    from core.store import run_table
    from evaluation.pipeline import evaluate
    from evaluation.queries.report_similarity import measure_report_similarity

    if split not in evaluate.EVALUATED_SPLITS:
        raise UserError(f"--split is {split!r}: choose holdout or test.")
    folder = resolve_study(study, distributed_step=True)
    with progress_bar("evaluate") as report:
        step_result = evaluate.run_evaluation(folder, report)
    exit_worker_ranks()
    with store.write(folder) as con:
        if split == "test":
            # The number of accesses to test results is part of every report.
            actor = command_actor("evaluate")
            run_table.append_log(con, actor, "test split opened", step_result.run)
        metrics = run_table.load_metrics(con, step_result.run, split)
        explain_run = run_table.latest_run(con, "explain", step_result.run)
    image_level = lineage.has_image_level_labels(folder)
    aucs = metrics[(metrics["name"] == "auc") & metrics["estimate"].notna()]
    text = f"{split} split. " + "; ".join(_auc_text(row) for row in aucs.to_dict("records"))
    text += ". Labels are image-level." if image_level else "."
    truth = lineage.truth_statements(folder)
    text = " ".join([text, *truth])
    similarities = measure_report_similarity(folder, explain_run) if explain_run else []
    result = {
        "split": split,
        "metrics": metrics.to_dict("records"),
        "image_labels": image_level,
        "truth": truth,
        # Keys of the JSON output are stable; "words" is the field `selection`.
        "similarity": [
            {
                "words": s.selection,
                "measure": s.measure,
                "result": s.result,
                "published": s.published,
                "vectors": s.vectors,
            }
            for s in similarities
        ],
    }
    emit_run("evaluate", folder, step_result, result, as_json, f"{text} Next: deepminer dissect")


def _auc_text(row: dict[str, Any]) -> str:
    from evaluation.intervals import decimal

    low, high = row["low"], row["high"]
    has_interval = low is not None and low == low  # NaN differs from itself
    interval = f" ({decimal(low)} to {decimal(high)})" if has_interval else ""
    return f"{row['level']} {row['class']}: AUC {decimal(row['estimate'])}{interval}"


@pipeline_app.command("dissect")
def dissect_command(
    study: StudyOption = Path("."),
    layer: Annotated[
        list[str] | None, typer.Option(help="layer, instead of study.toml's; may be repeated")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute top patches and influence of every unit, select units and compute their coverage."""
    from core import settings
    from core.pipeline import dissect, phantom_concepts
    from evaluation.pipeline import coverage, descriptor_association

    folder = resolve_study(study, distributed_step=True)
    study_settings = settings.load_settings(folder)
    step_results = []
    for name in layer or [study_settings.dissection.layer]:
        layer_settings = study_settings.with_changes("dissection", layer=name)
        with progress_bar(f"dissect {name}") as report:
            step_results.append(dissect.run_dissection(folder, layer_settings, report))
    exit_worker_ranks()
    # Statistics of the units: fast enough for one process.
    for step_result in step_results:
        with progress_bar(f"dissect {step_result.run}") as report:
            coverage_run = coverage.run_coverage(folder, report, step_result.run).run
            descriptor_association.run_descriptor_association(folder, report, step_result.run)
            if _has_concept_masks(folder):
                phantom_concepts.run_phantom_concepts(folder, report, step_result.run)
    result, text = _dissection_result(folder, step_result.run, coverage_run)
    emit_run("dissect", folder, step_result, result, as_json, f"{text}. Next: deepminer explain")


def _dissection_result(folder: Path, run: str, coverage_run: str) -> tuple[dict[str, Any], str]:
    from core import lineage, store
    from core.store import run_table, unit_table

    with store.read(folder) as con:
        selected = unit_table.load_selected_units(con, run)
        coverage = unit_table.load_coverage(con, coverage_run)
        dead = run_table.load_run(con, run)["manifest"]["dead_units"]
    names = lineage.run_class_names(folder, run)
    shares = ", ".join(
        f"{names[row['class']]} {100 * row['estimate']:.1f} %"
        for row in coverage[coverage["name"] == "selected"].to_dict("records")
    )
    text = f"{selected['unit'].nunique()} units selected, {len(dead)} dead; coverage {shares}"
    is_curve = coverage["name"].str.startswith("curve")
    result = {
        "coverage_run": coverage_run,
        "coverage": coverage[~is_curve].to_dict("records"),
        "selected": selected.to_dict("records"),
        "dead_units": dead,
    }
    return result, text


def _has_concept_masks(folder: Path) -> bool:
    """Return whether every mammogram has concept masks, as those of the phantom have."""
    from core import store
    from core.store import dataset_table

    with store.read(folder) as con:
        mammograms = dataset_table.load_mammograms(con)
    return bool(len(mammograms)) and bool(mammograms["has_concepts"].all())


def _mammogram_ids(folder: Path) -> set[str]:
    from core import store
    from core.store import dataset_table

    with store.read(folder) as con:
        return set(dataset_table.load_mammograms(con)["mammogram_id"])


@pipeline_app.command("explain")
def explain_command(
    study: StudyOption = Path("."),
    mammogram: Annotated[
        list[str] | None, typer.Option(help="only this mammogram; may be repeated")
    ] = None,
    label_set: Annotated[
        str,
        typer.Option(help="labels that name the units: default, consensus, published, or a code"),
    ] = "default",
    as_json: JsonOption = False,
) -> None:
    """Explain hold-out and test mammograms by class maps and the most influential units."""
    from core import distributed, settings, store
    from core.pipeline import explain
    from core.store import unit_table
    from evaluation.intervals import count_text

    folder = resolve_study(study, distributed_step=True)
    # All ranks must refuse an unknown id alike: a rank that continued would wait for the others.
    ids = distributed.run_on_rank_zero(lambda: _mammogram_ids(folder))
    for name in mammogram or []:
        if name not in ids:
            raise UserError(
                f"There is no mammogram {name!r} in {folder}; ids look like"
                f" {min(ids, default='S_0001_1.LEFT_CC')}."
            )
    with progress_bar("explain") as report:
        step_result = explain.run_explanation(
            folder,
            settings.load_settings(folder),
            report,
            mammograms=mammogram or [],
            label_set=label_set,
        )
    exit_worker_ranks()
    with store.read(folder) as con:
        count = len(unit_table.load_explanations(con, step_result.run))
    images = count_text(count, settings.load_image_noun(folder))
    text = f"{images} explained. Next: deepminer serve"
    result = {"mammograms": count, "label_set": label_set}
    emit_run("explain", folder, step_result, result, as_json, text)


@pipeline_app.command("ablate")
def ablate_command(
    study: StudyOption = Path("."),
    run: Annotated[str | None, typer.Option(help="dissect run, instead of the newest")] = None,
    as_json: JsonOption = False,
) -> None:
    """Test the faithfulness of the explanations.

    Class scores after setting the labelled units to zero, compared with random units; deletion
    curves; localization of the class maps.
    """
    from core import lineage, store
    from core.store import unit_table
    from evaluation.pipeline import ablate

    folder = resolve_study(study)
    with progress_bar("ablate") as report:
        step_result = ablate.run_ablation(folder, report, run)
    with store.read(folder) as con:
        frame = unit_table.load_ablations(con, step_result.run)
    result = {"numbers": frame[frame["name"] != "deletion"].to_dict("records")}
    classes = lineage.run_classes(folder, step_result.run)
    text = f"{ablate.summary_line(frame, classes)}. Next: deepminer serve"
    emit_run("ablate", folder, step_result, result, as_json, text)


@pipeline_app.command("sufficiency")
def sufficiency_command(
    study: StudyOption = Path("."),
    run: Annotated[str | None, typer.Option(help="dissect run, instead of the newest")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what the named units carry alone, against random sets of as many units.

    AUC on the test split with all other units at their hold-out mean, and its share above chance.
    """
    from core import lineage, store
    from core.store import unit_table
    from evaluation.annotation.sufficiency import load_sufficiency
    from evaluation.pipeline import sufficiency

    folder = resolve_study(study)
    with progress_bar("sufficiency") as report:
        step_result = sufficiency.run_sufficiency(folder, report, run)
    with store.read(folder) as con:
        frame = unit_table.load_ablations(con, step_result.run)
    dissect = lineage.ancestor_run(folder, step_result.run, "dissect")
    malignant = load_sufficiency(folder, dissect)
    assert malignant is not None
    result = {"numbers": frame.drop(columns="step").to_dict("records")}
    emit_run("sufficiency", folder, step_result, result, as_json, malignant.sentence())


@pipeline_app.command("stability")
def stability_command(
    study: StudyOption = Path("."),
    run: Annotated[str | None, typer.Option(help="dissect run, instead of the newest")] = None,
    seeds: Annotated[int, typer.Option(help="number of repeated trainings")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Train the dissected classifier again with other seeds, and find which names come back."""
    from core import lineage
    from core.pipeline.stability.retraining import run_stability
    from evaluation.annotation.stability import load_stability

    folder = resolve_study(study)
    with progress_bar("stability") as report:
        step_result = run_stability(folder, report, seeds, run)
    stability = load_stability(folder, lineage.ancestor_run(folder, step_result.run, "dissect"))
    assert stability is not None
    result = {"stability": asdict(stability)}
    emit_run("stability", folder, step_result, result, as_json, stability.sentence())


@pipeline_app.command("group")
def group_command(
    study: StudyOption = Path("."),
    run: Annotated[str | None, typer.Option(help="dissect run, instead of the newest")] = None,
    as_json: JsonOption = False,
) -> None:
    """Group the units that respond to the same thing, and measure what the groups save.

    With annotation.by_group in study.toml experts answer once for a group.
    """
    from core import lineage, store
    from core.pipeline import unit_groups
    from core.store.labels import group_table
    from evaluation.annotation.group_measures import measure_groups

    folder = resolve_study(study)
    with progress_bar("group") as report:
        step_result = unit_groups.run_grouping(folder, report, run)
    dissect = lineage.ancestor_run(folder, step_result.run, "dissect")
    with store.read(folder) as con:
        groups = group_table.load_groups(con, dissect) or ()
    measures = measure_groups(folder, dissect)
    sentences = [] if measures is None else measures.sentences()
    shared = sum(len(group) for group in groups if len(group) > 1)
    text = f"{len(groups)} groups; {shared} units are in groups of several. {' '.join(sentences)}"
    result = {
        "groups": [list(group) for group in groups],
        "measures": None if measures is None else asdict(measures),
    }
    emit_run("group", folder, step_result, result, as_json, text.strip())
