"""Facts about a study that follow from how its runs depend on each other.

Every function takes a study folder and opens the store itself; under torchrun rank 0 asks the store
and broadcasts the answer. Code with an open connection calls the same queries in `core.store`
(`run_table.latest_run`, `run_table.ancestor`, `dataset_table.any_simulated_source`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core import store
from core.class_labels import ClassDefinition
from core.distributed import rank_zero_query
from core.errors import MissingRunError, UserError
from core.settings import load_order_of_experts
from core.sources.records import TRUTH_BASES, WEAK_TRUTH_BASES
from core.store import annotation_table, dataset_table, run_table, unit_table
from core.store.labels import label_sets

ACTIVATION_TIMES_WEIGHT = "activation x weight"  # the influence of units before one linear layer


@rank_zero_query
def resolve_run(
    study: Path, kind: str, run: str | None = None, *, parent: str | None = None
) -> str:
    """Return `run` after a check of its kind, or the latest run of that kind.

    Parameters
    ----------
    study : Path
        The study folder.
    kind : str
        Kind that the run must have, such as "dissect".
    run : str, optional
        Id of a run; None: the latest one.
    parent : str, optional
        Consider only runs that were built directly on this run.

    Returns
    -------
    str
        The id of a run of this kind.

    Raises
    ------
    MissingRunError
        If the run does not exist or no run of the kind exists.
    UserError
        If the run is of another kind.
    """
    with store.read(study) as con:
        if run is not None:
            actual = run_table.load_run(con, run)["kind"]
            if actual != kind:
                raise UserError(f"{run} is a {actual} run; a {kind} run is needed here.")
            return run
        latest = run_table.latest_run(con, kind, parent)
    if latest is None:
        raise MissingRunError(
            f"The study {study} has no {kind} run yet; run `deepminer {kind}` first."
        )
    return latest


def choose_dissection(study: Path, run: str | None = None) -> str:
    """Return the dissect run that is named, or the only one of the study.

    Raises
    ------
    MissingRunError
        If the run does not exist or the study has no dissection.
    UserError
        If the run is of another kind, or none is named and there are several.
    """
    if run is None:
        with store.read(study) as con:
            dissections = unit_table.list_dissections(con)
        if len(dissections) > 1:
            listed = ", ".join(f"{one.run} ({one.title})" for one in dissections)
            raise UserError(f"Name the dissection with --dissect; the study has {listed}.")
    return resolve_run(study, "dissect", run)


@rank_zero_query
def ancestor_run(study: Path, run: str, kind: str) -> str:
    """Return the nearest run of a kind among a run and the runs it was built on.

    Parameters
    ----------
    study : Path
        The study folder.
    run : str
        Id of the run to start from; it is its own ancestor.
    kind : str
        Kind of the ancestor, such as "dissect", "train" or "patches".

    Returns
    -------
    str
        The id of the ancestor. The stored kind decides, never the spelling of an id.

    Raises
    ------
    MissingRunError
        If the run does not exist or has no ancestor of this kind.
    """
    # The cache lies below the broadcast: a hit on one rank must not skip a collective call.
    return _cached_ancestor(study, run, kind)


@lru_cache(maxsize=256)  # runs are immutable
def _cached_ancestor(study: Path, run: str, kind: str) -> str:
    with store.read(study) as con:
        return run_table.ancestor(con, run, kind)


@rank_zero_query
def run_classes(study: Path, run: str) -> ClassDefinition:
    """Return the classes of the patches that a run was built on."""
    with store.read(study) as con:
        return run_table.run_classes(con, run)


def check_named_classes(study: Path, run: str, named: ClassDefinition) -> None:
    """Raise UserError if the classes of study.toml are not those of a run."""
    of_run = run_classes(study, run)
    if named.names != of_run.names:
        raise UserError(
            f"study.toml names the classes {', '.join(named.names)}, but {run} was made with"
            f" {', '.join(of_run.names)}; run `deepminer patches` again, or restore the names."
        )


def run_class_names(study: Path, run: str) -> dict[int, str]:
    """Return code -> name of the classes of a run, in the order of the network's outputs.

    With two outputs, "other" stands for everything that is not positive (SPIE 2018).
    """
    return run_classes(study, run).outputs


@rank_zero_query
def influence_note(study: Path, run: str) -> str:
    """Return how influence is defined where it is not activation x weight, else "".

    Behind heads of several layers, and for inner layers, it is activation x gradient. Every display
    of influence carries the note. run: a dissect run or one that was built on it.
    """
    with store.read(study) as con:
        manifest = run_table.load_run(con, run_table.ancestor(con, run, "dissect"))["manifest"]
    method = manifest.get("influence", ACTIVATION_TIMES_WEIGHT)
    if method == ACTIVATION_TIMES_WEIGHT:
        return ""
    return f"Influence is {method} of the class score: no single linear layer follows these units."


@rank_zero_query
def has_image_level_labels(study: Path) -> bool:
    """Return whether any source of mammograms gave image-level labels only.

    Every number made from such labels must carry a note.
    """
    with store.read(study) as con:
        return dataset_table.any_image_level_source(con)


@rank_zero_query
def truth_statements(study: Path) -> list[str]:
    """Return where the study's truth comes from, a statement per kind of source that is not biopsy.

    Every number that compares with the truth must carry them; synthetic images are marked as
    simulated instead.
    """
    with store.read(study) as con:
        bases = dataset_table.load_truth_bases(con)
    return [TRUTH_BASES[basis] for basis in bases if basis in WEAK_TRUTH_BASES]


@rank_zero_query
def has_simulated_images(study: Path) -> bool:
    """Return whether any source of mammograms is synthetic."""
    with store.read(study) as con:
        return dataset_table.any_simulated_source(con)


def run_label_set(study: Path, run: str) -> str:
    """Return the name of the label set that an explain run uses; "default" for other runs."""
    with store.read(study) as con:
        return str(
            run_table.load_run(con, run)["manifest"].get("label_set", label_sets.DEFAULT_SET)
        )


def check_label_set(study: Path, dissect: str, name: str) -> None:
    """Raise a UserError if a dissection has no label set of this name."""
    with store.read(study) as con:
        label_sets.load_label_set(con, dissect, name, ())


@rank_zero_query
def has_simulated_labels(study: Path, run: str, label_set: str | None = None) -> bool:
    """Return whether any label of the units behind a run comes from a simulated expert.

    label_set: None for the set of the run, see `run_label_set`.
    """
    order, name = load_order_of_experts(study), label_set or run_label_set(study, run)
    with store.read(study) as con:
        dissect = run_table.ancestor(con, run, "dissect")
        # The set of a participant who withdrew since is gone; what was frozen carries its own mark.
        labels = label_sets.find_label_set(con, dissect, name, order)
    return any(label.simulated for label in labels.values())


@rank_zero_query
def has_simulated_answers(study: Path, run: str) -> bool:
    """Return whether any annotation of the units behind a run comes from a simulated expert."""
    with store.read(study) as con:
        answers = annotation_table.load_annotations(con, run_table.ancestor(con, run, "dissect"))
    return bool(answers["simulated"].any())
