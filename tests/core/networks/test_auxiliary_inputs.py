"""Auxiliary columns: encoding, rejected columns, effect on the AUC, attention weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core import networks, training
from core.errors import UserError
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.networks import auxiliary_inputs
from core.networks.auxiliary_inputs import AuxiliaryColumns
from core.settings import TrainingSettings
from core.training import LabeledPatches
from support.array_patches import ArrayPatches, no_progress

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(
    architecture="small",
    weights="none",
    epochs=5,
    batch=32,
    units=8,
    optimizer="adamw",
    learning_rate=5e-3,
    weight_decay=1e-2,
    label_smoothing=0.0,
)
PATIENTS = pd.DataFrame(
    {
        "patient_id": ["a", "b", "c", "d"],
        "age": [40, 60, None, 50],
        "density": pd.array([1, 2, 2, None], dtype="Int64"),
        "features": [
            {"risk": 0.5, "gene": "yes"},
            {"risk": 1.5, "gene": "no"},
            {"gene": "no", "flat": 1.0},
            {"risk": 1.0, "flat": 1.0},
        ],
    }
)
# The AUC of one training varies by .02 with the order of its sums; the mean of three does not.
SEEDS = (1, 2, 3)


def test_columns_are_standardised_on_training_patients() -> None:
    table = auxiliary_inputs.patient_columns(PATIENTS)
    assert list(table) == ["patient_id", "age", "density", "risk", "gene", "flat"]
    columns = auxiliary_inputs.fit_columns(table[:3], ["risk", "gene", "age"])
    assert [c.levels for c in columns.columns] == [(), ("no", "yes"), ()]
    assert columns.encoded_widths == [2, 3, 2]
    assert columns.encode(table).tolist() == [
        [-1, 0, 0, 1, 0, -1, 0],
        [1, 0, 1, 0, 0, 1, 0],
        [0, 1, 1, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
    ]
    assert auxiliary_inputs.columns_from_dicts(columns.to_dicts()) == columns
    unseen = pd.DataFrame({"risk": [3.0], "gene": ["maybe"], "age": [50]})
    assert columns.encode(unseen).tolist() == [[4, 0, 0, 0, 1, 0, 0]]


def test_column_with_one_text_or_flag_has_levels() -> None:
    """Numbers are standardised only where every value is a number."""
    table = pd.DataFrame({"mixed": [3, 1.5, "no", None], "flag": [True, 2, 2, 2]})
    mixed, flag = auxiliary_inputs.fit_columns(table, ["mixed", "flag"]).columns
    assert mixed.levels == ("1.5", "3", "no") and flag.levels == ("2", "True")


def test_columns_without_information_are_rejected() -> None:
    table = auxiliary_inputs.patient_columns(PATIENTS)
    with pytest.raises(
        UserError,
        match=(
            "'weight', which no patient has; the study's columns are age, density, risk, gene, flat"
        ),
    ):
        auxiliary_inputs.fit_columns(table, ["weight"])
    with pytest.raises(UserError, match=r"'flat' is 1.0 for every training patient"):
        auxiliary_inputs.fit_columns(table, ["flat"])
    with pytest.raises(UserError, match="no training patient has a value of 'flat'"):
        auxiliary_inputs.fit_columns(table[:2], ["flat"])


def simulate_patches(n: int, seed: int, signal: bool) -> tuple[LabeledPatches, AuxiliaryColumns]:
    """Return patches whose brightness predicts the class weakly, with three columns.

    With a signal, "marker" predicts the class well. A tenth of its values are missing.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(110 + 8 * y[:, None, None, None], 40, (n, 1, 16, 16)) + rng.normal(
        0, 5, (n, 1, 1, 1)
    )
    marker = (2.0 * y if signal else 0.0) + rng.normal(0, 1, n)
    marker[rng.uniform(size=n) < 0.1] = np.nan
    table = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "noise": rng.normal(size=n),
            "marker": marker,
            "word": rng.choice(["p", "q", "r"], n),
        }
    )
    columns = auxiliary_inputs.fit_columns(table, ["noise", "marker", "word"])
    reader = ArrayPatches(x.clip(0, 255).astype(np.uint8))
    return LabeledPatches(reader, y, columns.encode(table)), columns  # type: ignore[arg-type]


def train_and_validate(
    folder: Path, train: LabeledPatches, holdout: LabeledPatches, columns: AuxiliaryColumns
) -> tuple[networks.Classifier, float]:
    """Return a trained network and its hold-out AUC."""
    folder.mkdir()
    torch.manual_seed(1)
    network = networks.build("small", 2, units=8)
    networks.attach_auxiliary_block(network, columns)
    # The last weights are kept, so that few patches suffice for the history of the epochs.
    few = LabeledPatches(holdout.reader, holdout.labels[:64], holdout.columns)
    training.train_classifier(network, train, few, SETTINGS, folder, no_progress)
    auc = training.validate_epoch(network, holdout)[2]["auc_malignant"]
    assert auc is not None
    return network, auc


def without_columns(patches: LabeledPatches) -> LabeledPatches:
    return LabeledPatches(patches.reader, patches.labels)


@pytest.fixture(scope="module")
def image_aucs(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Hold-out AUC of the image alone, per seed.

    The patches are the same with and without a signal in the columns.
    """
    aucs = []
    for seed in SEEDS:
        train, holdout = (
            without_columns(simulate_patches(n, s, True)[0])
            for n, s in ((512, seed), (1500, seed + 50))
        )
        folder = tmp_path_factory.mktemp("image") / "image"
        aucs.append(train_and_validate(folder, train, holdout, AuxiliaryColumns())[1])
    return aucs


@pytest.mark.parametrize("signal", [True, False])
def test_signal_raises_auc_and_noise_does_not_lower_it(
    signal: bool, image_aucs: list[float], tmp_path: Path
) -> None:
    gains, shares = [], []
    for seed, image_auc in zip(SEEDS, image_aucs):
        train, columns = simulate_patches(512, seed, signal)
        holdout, _ = simulate_patches(1500, seed + 50, signal)
        network, auc = train_and_validate(tmp_path / f"columns{seed}", train, holdout, columns)
        with torch.inference_mode():
            x, _, numbers = holdout.load_batch(np.arange(200))
            assert numbers is not None
            _, _, weights = network.attention(network.feature_maps(x), numbers)
        assert torch.allclose(weights.sum(1), torch.ones(200), atol=1e-6) and (weights >= 0).all()
        gains.append(auc - image_auc)
        shares.append(weights.mean(0).tolist())
    image, noise, marker, word = np.mean(shares, axis=0)
    print(
        f"signal {signal}: AUC {np.mean(image_aucs):.3f} by the image, with columns"
        f" {np.mean(gains):+.3f}; weights image {image:.2f}, noise {noise:.2f}, marker"
        f" {marker:.2f}, word {word:.2f}"
    )
    if signal:
        assert np.mean(gains) > 0.05 and marker > 1.5 * max(noise, word)
    else:
        assert np.mean(gains) > -0.02 and image > max(noise, marker, word)


@pytest.fixture
def pair() -> tuple[networks.Classifier, networks.Classifier, LabeledPatches, AuxiliaryColumns]:
    """The same network without and with an auxiliary block, patches and their columns."""
    patches, columns = simulate_patches(64, 3, True)
    torch.manual_seed(1)
    plain = networks.build("small", 2, units=8).eval()
    torch.manual_seed(1)
    network = networks.build("small", 2, units=8).eval()
    networks.attach_auxiliary_block(network, columns)
    return plain, network, patches, columns


def randomise_block(network: networks.Classifier) -> None:
    assert network.auxiliary is not None
    torch.nn.init.normal_(network.auxiliary.score.weight)
    torch.nn.init.normal_(network.auxiliary.value.weight)


def test_untrained_block_changes_nothing(pair: tuple) -> None:
    plain, network, patches, _ = pair
    x, _, numbers = patches.load_batch(np.arange(8))
    assert torch.equal(plain(x), network(x))
    assert torch.allclose(plain(x), network(x, numbers), atol=1e-6)
    randomise_block(network)
    assert torch.equal(plain(x), network(x))
    assert not torch.allclose(plain(x), network(x, numbers), atol=1e-3)


def test_logits_of_maps_take_the_columns(pair: tuple) -> None:
    plain, network, patches, _ = pair
    randomise_block(network)
    x, _, numbers = patches.load_batch(np.arange(8))
    with torch.inference_mode():
        maps = network.feature_maps(x)
        assert torch.allclose(network.logits(maps, numbers), network(x, numbers), atol=1e-6)
        assert torch.equal(network.logits(maps), network(x))
        # Without a block, columns have no effect.
        assert torch.equal(plain.logits(maps, numbers), network(x))


def test_auxiliary_class_map_is_affine_in_image_map(pair: tuple) -> None:
    _, network, patches, _ = pair
    randomise_block(network)
    numbers = patches.columns[:1]
    mammogram = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "last")
    with torch.inference_mode():
        maps = forward_mammogram(full, probe, mammogram, numbers[0])
        image_maps = forward_mammogram(full, probe, mammogram)
        x = torch.from_numpy(mammogram)[None, None]
        logits = network(x, torch.from_numpy(numbers))[0]
    # The identity of single linear heads holds with columns as well.
    assert torch.allclose(maps.logits.mean((1, 2)), logits, atol=1e-5)
    assert maps.weights is not None and maps.weights.sum() == pytest.approx(1)
    # 4: three columns and the image.
    rest = maps.logits - 4 * float(maps.weights[0]) * image_maps.logits
    assert rest.std((1, 2)).max() < 1e-5


def test_block_is_restored_from_checkpoint(pair: tuple, tmp_path: Path) -> None:
    _, network, patches, columns = pair
    randomise_block(network)
    x, _, numbers = patches.load_batch(np.arange(8))
    torch.save(network.checkpoint_state(), tmp_path / "w.pt")
    other = networks.build("small", 2, str(tmp_path / "w.pt"), 8)
    networks.attach_auxiliary_block(other, columns)
    other.load_checkpoint_state(networks.read_state(tmp_path / "w.pt"))
    assert torch.equal(other.eval()(x, numbers), network(x, numbers))


def test_dense_heads_take_columns() -> None:
    torch.manual_seed(0)
    _, columns = simulate_patches(20, 3, True)
    with torch.device("meta"):  # without its 57 million parameters
        network = networks.build("alexnet", 2).eval()
        networks.attach_auxiliary_block(network, columns)
    assert network.auxiliary is not None and network.auxiliary.image.in_features == 256
