"""Steps that run the network on the demonstration, recomputed from its weights and maps.

The references use the maps of plain forward passes, arithmetic on them, and literal loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core import store
from core.images.polygons import fill_polygons
from core.images.working_images import PatchReader
from core.interpretation import inference
from core.interpretation.ablation import sample_matched_units
from core.interpretation.feature_maps import tissue_positions
from core.interpretation.localization import cell_coverage, with_random_weights
from core.networks import Classifier
from core.pipeline import ablate, descriptor_overlap, phantom_concepts, predict, sufficiency
from core.pipeline import unit_groups as grouping
from core.pipeline.inputs import load_mammogram_table, load_patch_table, open_training_images
from core.sources.phantom.concepts import Concept
from core.store import dataset_table, run_table, unit_table
from support.array_patches import no_progress


@dataclass(frozen=True)
class Demo:
    """The demonstration, its runs, and its network's maps of every ninth test patch.

    means, maxima, logits: of plain forward passes, [patches, units] and [patches, classes].
    """

    study: Path
    runs: dict[str, str]
    network: Classifier
    test: pd.DataFrame
    means: np.ndarray
    maxima: np.ndarray
    logits: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


@pytest.fixture(scope="module")
def demo(demonstration: Path) -> Demo:
    with store.read(demonstration) as con:
        runs = {
            kind: str(run_table.latest_run(con, kind)) for kind in ("patches", "train", "dissect")
        }
    network = inference.load_network(demonstration, runs["train"])
    test = load_patch_table(demonstration, runs["patches"], ["test"]).iloc[::9]
    test = test.reset_index(drop=True)
    reader = PatchReader(open_training_images(demonstration, runs["train"]), test)
    with torch.inference_mode():
        maps = network.feature_maps(torch.from_numpy(reader.batch(np.arange(len(test)))))
        logits = network.logits(maps).numpy()
    head = network.last_linear()
    return Demo(
        demonstration,
        runs,
        network,
        test,
        maps.mean((2, 3)).numpy(),
        maps.amax((2, 3)).numpy(),
        logits,
        head.weight.numpy(),
        head.bias.numpy(),
    )


def thin_patches(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Let a step see every ninth test or hold-out patch."""
    read = module.load_patch_table

    def read_thin(study: Path, run: str, splits: list[str]) -> pd.DataFrame:
        table = read(study, run, splits)
        return table.iloc[::9].reset_index(drop=True) if len(splits) == 1 else table

    monkeypatch.setattr(module, "load_patch_table", read_thin)


def test_logits_of_ablated_sets_and_orders(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    thin_patches(monkeypatch, ablate)
    monkeypatch.setattr(ablate, "load_mammogram_table", lambda *_: no_mammograms(demo))
    with store.read(demo.study) as con:
        chosen = unit_table.load_selected_units(con, demo.runs["dissect"])
    labelled = set(chosen["unit"].iloc[::3])
    calls: list[tuple[int, int, str]] = []
    run = ablate.ablate_units(
        demo.study, demo.runs["dissect"], labelled, lambda *c: calls.append(c)
    )
    assert calls[-1] == (len(demo.test), len(demo.test), "patches")
    assert run.labels.tolist() == demo.test["label"].tolist()
    assert run.patients.tolist() == demo.test["patient_id"].tolist()
    assert run.inference == demo.network.inference

    def without(units: Any) -> np.ndarray:
        kept = demo.means.astype(float).copy()
        kept[:, list(units)] = 0
        return kept @ demo.weights.T + demo.bias

    sets = [g for g in run.groups if isinstance(g, ablate.UnitAblation)]
    expected = []
    for code in (0, 1, 2):
        selected = list(chosen[chosen["class"] == code].sort_values("rank")["unit"])
        expected.append((code, "selected", selected))
        if own := [unit for unit in selected if unit in labelled]:
            expected.append((code, "labelled", own))
    assert [(s.code, s.column, s.subject, s.units) for s in sets] == [
        (code, code, subject, len(units)) for code, subject, units in expected
    ]
    for group, (code, _, units) in zip(sets, expected, strict=True):
        assert group.before == pytest.approx(demo.logits, abs=1e-4)
        assert group.after == pytest.approx(without(units), abs=1e-3)
        rng = np.random.default_rng([code, 19])
        assert len(group.random) == 40
        for logits in group.random:
            drawn = sample_matched_units(demo.means.mean(0), np.array(units), rng)
            assert logits == pytest.approx(without(drawn), abs=1e-3)
    check_deletions(demo, run, without)


def no_mammograms(demo: Demo) -> pd.DataFrame:
    return load_mammogram_table(demo.study, demo.runs["patches"], ["test"]).iloc[:0]


def check_deletions(demo: Demo, run: ablate.AblationRun, without: Any) -> None:
    influence = np.load(demo.study / "runs" / demo.runs["dissect"] / "influence.npy").mean(0)
    steps = [g for g in run.groups if isinstance(g, ablate.DeletionStep)]
    sizes = [0, 1, 2, 4, 8, 16, 32, 64]
    assert demo.means.shape[1] == 64
    assert [(s.code, s.column, s.step) for s in steps] == [
        (c, c, n) for c in range(3) for n in sizes
    ]
    for step in steps:
        own = demo.test["label"].to_numpy() == step.code
        order = sorted(range(64), key=lambda unit: (-influence[step.code][unit], unit))
        expected = without(order[: step.step])[own, step.column]
        assert step.by_influence == pytest.approx(expected, abs=1e-3)
        random = [np.random.default_rng([step.code, i, 23]).permutation(64) for i in range(20)]
        means = [without(order[: step.step])[own, step.column].mean() for order in random]
        assert step.random_means == pytest.approx(means, abs=1e-3)


def test_ablation_needs_test_patches(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "load_patch_table", lambda *_: demo.test.iloc[:0])
    with pytest.raises(ablate.UserError, match="The test split contains no patches"):
        ablate.ablate_units(demo.study, demo.runs["dissect"], set(), no_progress)


def test_localization_of_outlined_findings(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.read(demo.study) as con:
        findings = dataset_table.load_findings(con)
    table = load_mammogram_table(demo.study, demo.runs["patches"], ["test"])
    outlined = table[table["mammogram_id"].isin(findings["mammogram_id"])]
    plain = table[~table["mammogram_id"].isin(findings["mammogram_id"])]
    table = pd.concat([plain.iloc[:1], outlined.iloc[:6]], ignore_index=True)
    splits: list[list[str]] = []

    def load(study: Path, run: str, chosen: list[str]) -> pd.DataFrame:
        splits.append(chosen)
        return table

    monkeypatch.setattr(ablate, "load_mammogram_table", load)
    calls: list[tuple[int, int, str]] = []
    found = ablate._localize(
        demo.study,
        demo.runs["patches"],
        demo.runs["train"],
        demo.network,
        lambda *c: calls.append(c),
    )
    assert splits == [["test"]] and list(found) == ["map", "random weights"]
    assert calls == [(i, 6, "mammograms") for i in range(1, 7)] * 2
    images = open_training_images(demo.study, demo.runs["train"])
    for subject, network in (
        ("map", demo.network),
        ("random weights", with_random_weights(demo.network, 29)),
    ):
        rows = []
        for mammogram in outlined.iloc[:6].itertuples():
            own = findings[findings["mammogram_id"] == mammogram.mammogram_id]
            pixels = torch.from_numpy(np.array(images[mammogram.file]))[None, None]
            with torch.inference_mode():
                maps = network.feature_maps(pixels)[0].permute(1, 2, 0)
                head = network.last_linear()
                p = (maps @ head.weight.T + head.bias).softmax(-1).numpy()
            shape = images.ingested_shape(mammogram.file)
            tissue = tissue_positions(images.tissue(mammogram.file), p.shape[:2])
            for code, names in ((1, ("BENIGN", "BENIGN_WITHOUT_CALLBACK")), (2, ("MALIGNANT",))):
                outlines = [o for f in own.itertuples() if f.pathology in names for o in f.outline]
                if not outlines:
                    continue
                inside = cell_coverage(fill_polygons(outlines, shape), p.shape[:2])[tissue]
                values = p[..., code][tissue]
                if not (inside > 0).any():
                    continue
                rows.append(
                    {
                        "class": code,
                        "patient_id": mammogram.patient_id,
                        "mass": (values * inside).sum() / values.sum(),
                        "peak": inside[values.argmax()] > 0,
                        "area": inside.mean(),
                        "chance": (inside > 0).mean(),
                    }
                )
        assert len(rows) >= 4
        expected = pd.DataFrame(rows)
        pd.testing.assert_frame_equal(found[subject], expected, rtol=1e-3, check_dtype=False)


def test_sample_for_descriptors(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_overlap, "MAX_TOUCHING", 30)
    monkeypatch.setattr(descriptor_overlap, "MAX_OTHERS", 12)
    asked: dict[str, Any] = {}
    compute = descriptor_overlap.compute_overlaps

    def record(probe: Any, reader: Any, truths: Any, names: Any, weights: Any, *rest: Any) -> Any:
        asked.update(layer=probe.layer, weights=weights, quantile=rest[0], truths=truths)
        asked.update(pixels=reader.batch(np.arange(len(reader))))
        asked["iou"] = compute(probe, reader, truths, names, weights, *rest)
        return asked["iou"]

    monkeypatch.setattr(descriptor_overlap, "compute_overlaps", record)
    with store.read(demo.study) as con:
        units = unit_table.load_units(con, demo.runs["dissect"]).sort_values("unit")
        mammograms = dataset_table.load_mammograms(con).set_index("mammogram_id")
        density = dataset_table.load_patients(con).set_index("patient_id")["density"]
    # A dead unit has no activations of its own in the sample.
    dead = units.assign(dead=units["unit"].isin([3, 40])).iloc[::-1]
    monkeypatch.setattr(descriptor_overlap.unit_table, "load_units", lambda *_: dead)
    sample = descriptor_overlap.measure_sample(demo.study, demo.runs["dissect"], no_progress)

    patches = load_patch_table(demo.study, demo.runs["patches"], ["train", "holdout"])
    rng = np.random.default_rng([1, 13])
    touching = ((patches["benign_cover"] > 0) | (patches["malignant_cover"] > 0)).to_numpy()
    first = rng.choice(np.flatnonzero(touching), 30, replace=False)
    second = rng.choice(np.flatnonzero(~touching), 12, replace=False)
    rows = sorted([*first, *second])
    chosen = patches.iloc[rows]
    folder = demo.study / "runs" / demo.runs["dissect"]
    living = [unit for unit in range(64) if unit not in (3, 40)]
    assert sample.units.tolist() == living and asked["layer"] == "last"
    stored = np.load(folder / "activations.npy")[rows].astype(np.float32)
    assert np.array_equal(sample.activations, stored.T[living])
    assert sample.patients.tolist() == chosen["patient_id"].tolist()
    assert np.array_equal(sample.iou, asked["iou"][living], equal_nan=True)
    share = np.where(touching[rows], touching.sum() / 30, (~touching).sum() / 12)
    assert asked["weights"] == pytest.approx(share)
    assert asked["quantile"] == pytest.approx(units["quantile"].to_numpy(np.float32))
    # Views and densities of the patches' own mammograms and patients.
    titles = {1: "1", 2: "2", 3: "3", 4: "4"}
    for column, (patch, present) in enumerate(zip(chosen.itertuples(), sample.present)):
        names = {name for name, is_here in zip(sample.descriptors, present) if is_here}
        assert names == set(asked["truths"][column].descriptors)
        views = {name for name in names if name.startswith("view: ")}
        assert views == {f"view: {mammograms.loc[patch.mammogram_id, 'view']}"}
        (of_density,) = [name for name in names if name.startswith("density: ")]
        assert titles[int(density[patch.patient_id])] in of_density
    assert sample.descriptors == sorted({n for t in asked["truths"] for n in t.descriptors})
    images = open_training_images(demo.study, demo.runs["train"])
    window = np.asarray(images[chosen["file"].iloc[5]])
    y, x, side = (int(chosen[name].iloc[5]) for name in ("y", "x", "side"))
    assert np.array_equal(asked["pixels"][5, 0], window[y : y + side, x : x + side])


def test_logits_of_kept_units(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    thin_patches(monkeypatch, sufficiency)
    monkeypatch.setattr(sufficiency, "EXACT_SETS", 4)
    holdout = load_patch_table(demo.study, demo.runs["patches"], ["holdout"]).iloc[::9]
    units, head = [7, 2, 30], [30, 7]
    run = sufficiency.keep_units(
        demo.study, demo.runs["dissect"], {"named": units, "none": []}, no_progress, head
    )
    reader = PatchReader(open_training_images(demo.study, demo.runs["train"]), holdout)
    with torch.inference_mode():
        batches = np.array_split(np.arange(len(holdout)), 8)
        pixels = [torch.from_numpy(reader.batch(rows)) for rows in batches]
        means = torch.cat([demo.network.feature_maps(x).mean((2, 3)) for x in pixels])
    fill = means.double().mean(0).numpy()
    alive = np.flatnonzero((fill > 0) | (demo.means.max(0) > 0))

    def keeping(kept: Any) -> np.ndarray:
        values = np.tile(fill, (len(demo.means), 1))
        values[:, list(kept)] = demo.means[:, list(kept)]
        return values @ demo.weights.T + demo.bias

    assert (run.codes, run.living, run.holdout_patches) == ([0, 1, 2], len(alive), len(holdout))
    assert run.labels.tolist() == demo.test["label"].tolist()
    assert run.patients.tolist() == demo.test["patient_id"].tolist()
    assert run.full == pytest.approx(demo.logits, abs=1e-4)
    assert run.inference == demo.network.inference
    (kept,) = run.sets
    assert (kept.subject, kept.units, len(kept.random)) == ("named", 3, 4)
    assert kept.logits == pytest.approx(keeping(units), abs=1e-3)
    rng = np.random.default_rng([3, 37])
    for logits in kept.random:
        assert logits == pytest.approx(keeping(rng.choice(alive, 3, replace=False)), abs=1e-3)
    data = run.bottleneck
    assert data is not None and data.test == pytest.approx(demo.maxima[:, head], abs=1e-4)
    folder = demo.study / "runs" / demo.runs["dissect"]
    activations = np.load(folder / "activations.npy")[:, head].astype(np.float32)
    dissected = load_patch_table(demo.study, demo.runs["patches"], ["train", "holdout"])
    for split, values, labels in (
        ("train", data.train, data.train_labels),
        ("holdout", data.holdout, data.holdout_labels),
    ):
        is_split = (dissected["split"] == split).to_numpy()
        assert np.array_equal(values, activations[is_split])
        assert labels.tolist() == dissected.loc[is_split, "label"].tolist()
    monkeypatch.setattr(sufficiency, "BOTTLENECK_PATCHES", 50)
    classes = predict.lineage.run_classes(demo.study, demo.runs["patches"])
    arguments = (demo.study, demo.runs["dissect"], classes)
    less = sufficiency._bottleneck_data(*arguments, head, demo.maxima)
    assert less is not None and less.train.shape == (50, 2) and len(less.train_labels) == 50
    assert sufficiency._bottleneck_data(*arguments, [], demo.maxima) is None


@pytest.mark.parametrize(("split", "title"), [("holdout", "hold-out"), ("test", "test")])
def test_sufficiency_needs_both_splits(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, split: str, title: str
) -> None:
    monkeypatch.setattr(
        sufficiency,
        "load_patch_table",
        lambda _study, _run, splits: demo.test.iloc[: 0 if splits == [split] else 5],
    )
    with pytest.raises(sufficiency.UserError, match=f"The {title} split contains no patches"):
        sufficiency.keep_units(demo.study, demo.runs["dissect"], {}, no_progress)


def test_concept_shares_of_living_units(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, Any] = {}

    def record(images: Any, top: pd.DataFrame, maps: Any, largest: Any, threshold: float) -> list:
        calls.update(top=top, maps=maps, largest=largest, threshold=threshold, images=images)
        return [phantom_concepts.ConceptShare(9, Concept.VESSEL, 0.25, 0.125)]

    monkeypatch.setattr(phantom_concepts, "concept_shares", record)
    with store.read(demo.study) as con:
        units = unit_table.load_units(con, demo.runs["dissect"])
        top = con.execute(
            "SELECT unit, rank, patch_id, file, p.y, p.x, side FROM top_patches t"
            " JOIN patches p USING (patch_id) JOIN mammograms USING (mammogram_id)"
            " WHERE t.run = ? AND p.run = ? AND rank < 16 AND unit <> 5 ORDER BY unit, rank",
            [demo.runs["dissect"], demo.runs["patches"]],
        ).fetchall()
    dead = units.assign(dead=units["unit"] == 5)
    monkeypatch.setattr(phantom_concepts.unit_table, "load_units", lambda *_: dead)
    shares = phantom_concepts.compute_concept_shares(demo.study, demo.runs["dissect"])
    assert shares == record(
        **{k: calls[k] for k in ("images", "top", "maps", "largest", "threshold")}
    )
    columns = ["unit", "rank", "patch_id", "file", "y", "x", "side"]
    assert [tuple(row) for row in calls["top"][columns].to_numpy().tolist()] == [*map(tuple, top)]
    assert calls["threshold"] == 0.2
    assert calls["largest"] == dict(zip(units["unit"], units["largest"]))
    stored = np.load(demo.study / "runs" / demo.runs["dissect"] / "top_maps.npy")
    assert np.array_equal(calls["maps"], stored)


def test_responses_of_units(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    responses = grouping.load_unit_responses(demo.study, demo.runs["dissect"])
    folder = demo.study / "runs" / demo.runs["dissect"]
    dissected = load_patch_table(demo.study, demo.runs["patches"], ["train", "holdout"])
    activations = np.load(folder / "activations.npy")
    is_holdout = (dissected["split"] == "holdout").to_numpy()
    assert np.array_equal(responses.activations, activations[is_holdout])
    assert (responses.split, responses.patches) == ("holdout", len(dissected))
    with store.read(demo.study) as con:
        top = con.execute(
            "SELECT patch_id FROM top_patches WHERE run = ? ORDER BY unit, rank",
            [demo.runs["dissect"]],
        ).fetchall()
    assert responses.top.ravel().tolist() == [patch for (patch,) in top]
    assert responses.top.shape[0] == 64
    monkeypatch.setattr(grouping, "load_patch_table", lambda *_: dissected.iloc[:0])
    everything = grouping.load_unit_responses(demo.study, demo.runs["dissect"])
    assert everything.split == "all dissected splits"
    assert np.array_equal(everything.activations, activations)


def test_predictions_of_patches_and_mammograms(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    thin_patches(monkeypatch, predict)
    table = load_mammogram_table(demo.study, demo.runs["patches"], ["test"]).iloc[:5]
    monkeypatch.setattr(predict, "load_mammogram_table", lambda *_: table)
    read = predict.open_training_images
    blank = table["file"].iloc[2]

    def without_tissue(study: Path, run: str) -> Any:
        images = read(study, run)
        own = images.tissue
        images.tissue = lambda file: own(file) & (file != blank)  # type: ignore[method-assign]
        return images

    monkeypatch.setattr(predict, "open_training_images", without_tissue)
    calls: list[tuple[int, int, str]] = []
    found = predict.predict_splits(
        demo.study, demo.runs["train"], demo.runs["patches"], ["test"], lambda *c: calls.append(c)
    )
    p = torch.from_numpy(demo.logits).softmax(1).numpy()
    names = ("normal", "benign", "malignant")
    assert found.classes.names == names and found.inference == demo.network.inference
    assert list(found.patches["patch_id"]) == list(demo.test["patch_id"])
    for column, name in enumerate(names):
        assert found.patches[f"p_{name}"].to_numpy() == pytest.approx(p[:, column], abs=1e-4)
    assert [c for c in calls if c[2] == "mammograms"] == [(i, 5, "mammograms") for i in range(1, 6)]
    scored = table[table["file"] != blank].reset_index(drop=True)
    columns = ["mammogram_id", "patient_id", "split", "truth"]
    pd.testing.assert_frame_equal(found.mammograms[columns], scored[columns])
    images = read(demo.study, demo.runs["train"])
    for row, scores in zip(scored.itertuples(), found.mammograms.itertuples()):
        pixels = torch.from_numpy(np.array(images[row.file]))[None, None]
        with torch.inference_mode():
            maps = demo.network.feature_maps(pixels)[0].permute(1, 2, 0).numpy()
        logits = torch.from_numpy(maps @ demo.weights.T + demo.bias)
        tissue = tissue_positions(images.tissue(row.file), logits.shape[:2])
        own = logits.softmax(-1).numpy()[tissue]
        assert scores.s_malignant == pytest.approx(own[:, 2].max(), abs=1e-4)
        assert scores.s_benign == pytest.approx(own[:, 1].max(), abs=1e-4)
        assert scores.s_normal == pytest.approx(1 - own[:, 1:].sum(1).max(), abs=1e-4)
    assert found.attention.empty
