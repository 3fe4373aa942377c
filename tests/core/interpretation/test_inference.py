"""Trained classifiers as they are loaded: the fused form gives the results of the modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import lineage, store
from core.images.working_images import PatchReader
from core.interpretation import inference
from core.interpretation.dissection import compute_max_activations, compute_top_patches
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.networks import Classifier, to_fully_convolutional
from core.pipeline.inputs import load_patch_table, open_training_images
from core.store import run_table


def without_report(*_: object) -> None:
    """Report no progress."""


@pytest.fixture(scope="module")
def trained(demonstration: Path) -> tuple[Classifier, PatchReader]:
    """The classifier of the demonstration and some hundred of its patches."""
    train = lineage.resolve_run(demonstration, "train", None)
    patches = load_patch_table(
        demonstration, lineage.ancestor_run(demonstration, train, "patches"), ["test", "holdout"]
    )
    reader = PatchReader(open_training_images(demonstration, train), patches.iloc[:400])
    return inference.load_network(demonstration, train), reader


def test_fused_classifier_gives_the_results_of_its_modules(trained, tmp_path, monkeypatch) -> None:
    network, reader = trained
    assert network.inference["form"] == "fused" and network.inference["difference"] < 1e-5
    image = reader.batch(np.array([0]))[0, 0]

    def results(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        probabilities = inference.predict_probabilities(network, reader, without_report)
        probe = FeatureProbe(network, "last")
        activations = compute_max_activations(
            probe, reader, tmp_path / name / "activations.npy", "float32", without_report
        )
        maps = forward_mammogram(to_fully_convolutional(network), probe, image)
        return probabilities, np.array(activations), maps.probabilities

    for name in ("fused", "modules"):
        (tmp_path / name).mkdir()
    fused = results("fused")
    monkeypatch.setattr(network, "fused", None)
    separate = results("modules")
    for values, expected in zip(fused, separate):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        # Not the same computation twice.
        assert not np.array_equal(values, expected)
    rows, expected_rows = (compute_top_patches(part[1], 16).rows for part in (fused, separate))
    np.testing.assert_array_equal(rows, expected_rows)


def test_each_step_of_a_study_records_the_form_that_ran(demonstration) -> None:
    with store.read(demonstration) as con:
        forms = {
            kind: run_table.load_run(con, run_table.latest_run(con, kind))["manifest"]["inference"]
            for kind in ("evaluate", "dissect", "explain", "ablate")
        }
    assert [form["form"] for form in forms.values()] == ["fused"] * 4
