"""Columns beside the image: what they are, how they are standardised, that signal helps, noise does
not hurt, and the weights say which is which.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core import networks, training
from core.errors import UserError
from core.interpretation import inference
from core.networks import auxiliary_inputs
from core.settings import TrainingSettings
from support.array_patches import Memory

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


def test_columns_are_standardised_on_train_and_say_what_is_missing() -> None:
    table = auxiliary_inputs.patient_columns(PATIENTS)
    assert list(table) == ["patient_id", "age", "density", "risk", "gene", "flat"]
    columns = auxiliary_inputs.fit(table[:3], ["risk", "gene", "age"])
    assert [c.levels for c in columns.columns] == [(), ("no", "yes"), ()] and columns.widths == [
        2,
        3,
        2,
    ]
    assert columns.encode(table).tolist() == [
        [-1, 0, 0, 1, 0, -1, 0],
        [1, 0, 1, 0, 0, 1, 0],
        [0, 1, 1, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
    ]
    assert auxiliary_inputs.from_plain(columns.as_plain()) == columns
    unseen = pd.DataFrame({"risk": [3.0], "gene": ["maybe"], "age": [50]})
    assert columns.encode(unseen).tolist() == [[4, 0, 0, 0, 1, 0, 0]]


def test_columns_that_tell_nothing_are_refused() -> None:
    table = auxiliary_inputs.patient_columns(PATIENTS)
    with pytest.raises(
        UserError,
        match=(
            "'weight', which no patient has; the study's columns are age, density, risk, gene, flat"
        ),
    ):
        auxiliary_inputs.fit(table, ["weight"])
    with pytest.raises(UserError, match=r"'flat' is 1.0 for every training patient"):
        auxiliary_inputs.fit(table, ["flat"])
    with pytest.raises(UserError, match="no training patient has a value of 'flat'"):
        auxiliary_inputs.fit(table[:2], ["flat"])


def made(n: int, seed: int, signal: bool) -> tuple[training.Part, auxiliary_inputs.Columns]:
    """Patches whose brightness tells the class a little; of three columns "marker" tells it well
    (or nothing), a tenth of its values are missing.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(110 + 8 * y[:, None, None, None], 40, (n, 1, 32, 32)) + rng.normal(
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
    columns = auxiliary_inputs.fit(table, ["noise", "marker", "word"])
    return training.Part(Memory(x.clip(0, 255).astype(np.uint8)), y, columns.encode(table)), columns  # type: ignore[arg-type]


def trained(
    folder: Path, part: training.Part, held: training.Part, columns: auxiliary_inputs.Columns
) -> tuple[networks.Classifier, float]:
    """A network and its hold-out AUC."""
    folder.mkdir()
    torch.manual_seed(1)
    network = networks.build("small", 2, units=8)
    networks.join(network, columns)
    training.fit(network, part, held, SETTINGS, folder, lambda *_: None)
    area = training.measure(network, held)[2]["auc_malignant"]
    assert area is not None
    return network, area


SEEDS = (1, 2, 3)  # one training's AUC moves by .02 with the order of its sums; their mean does not


@pytest.fixture(scope="module")
def image_areas(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Hold-out AUC of the image alone, per seed; the patches are the same with and without signal
    in the columns.
    """
    parts = [(made(512, seed, True)[0], made(1500, seed + 50, True)[0]) for seed in SEEDS]
    return [
        trained(
            tmp_path_factory.mktemp("image") / "image",
            alone(part),
            alone(held),
            auxiliary_inputs.Columns(),
        )[1]
        for part, held in parts
    ]


def alone(part: training.Part) -> training.Part:
    return training.Part(part.reader, part.labels)


@pytest.mark.parametrize("signal", [True, False])
def test_signal_raises_the_area_and_noise_does_not_lower_it(
    signal: bool, image_areas: list[float], tmp_path: Path
) -> None:
    gains, shares = [], []
    for seed, image in zip(SEEDS, image_areas):
        (part, columns), (held, _) = made(512, seed, signal), made(1500, seed + 50, signal)
        network, area = trained(tmp_path / f"columns{seed}", part, held, columns)
        with torch.inference_mode():
            x, _, numbers = held.batch(np.arange(200))
            _, _, weights = network.attention(network.maps(x), numbers)  # type: ignore[arg-type]
        assert torch.allclose(weights.sum(1), torch.ones(200), atol=1e-6) and (weights >= 0).all()
        gains.append(area - image)
        shares.append(weights.mean(0).tolist())
    image_weight, noise, marker, word = np.mean(shares, axis=0)
    print(
        f"signal {signal}: AUC {np.mean(image_areas):.3f} by the image, with columns"
        f" {np.mean(gains):+.3f}; weights image {image_weight:.2f}, noise {noise:.2f}, marker"
        f" {marker:.2f}, word {word:.2f}"
    )
    if signal:
        assert np.mean(gains) > 0.05 and marker > 1.5 * max(noise, word)
    else:
        assert np.mean(gains) > -0.02 and image_weight > max(noise, marker, word)


def test_without_columns_nothing_changes_and_with_them_the_map_is_the_images_times_a_factor_plus_a_constant(
    tmp_path: Path,
) -> None:
    (part, columns), _ = made(64, 3, True), None
    torch.manual_seed(1)
    plain = networks.build("small", 2, units=8).eval()
    torch.manual_seed(1)
    network = networks.build("small", 2, units=8).eval()
    networks.join(network, columns)
    x, _, numbers = part.batch(np.arange(8))
    assert network.auxiliary is not None and numbers is not None
    assert torch.equal(plain(x), network(x))
    assert torch.allclose(plain(x), network(x, numbers), atol=1e-6)  # a new block says nothing yet
    torch.nn.init.normal_(network.auxiliary.score.weight)
    torch.nn.init.normal_(network.auxiliary.value.weight)
    assert not torch.allclose(plain(x), network(x, numbers), atol=1e-3)
    film = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    full, probe = networks.to_fully_convolutional(network), inference.Probe(network, "last")
    with torch.inference_mode():
        maps = inference.film_maps(full, probe, film, numbers[0].numpy())
        bare = inference.film_maps(full, probe, film)
        logits = network(torch.from_numpy(film)[None, None], numbers[:1])[0]
    assert torch.allclose(
        maps.logits.mean((1, 2)), logits, atol=1e-5
    )  # the identity of single linear heads holds
    assert maps.weights is not None and maps.weights.sum() == pytest.approx(1)
    assert (maps.logits - 4 * float(maps.weights[0]) * bare.logits).std(
        (1, 2)
    ).max() < 1e-5  # three columns and the image
    torch.save(network.state(), tmp_path / "w.pt")
    other = networks.build("small", 2, str(tmp_path / "w.pt"), 8)
    networks.join(other, columns)
    other.restore(networks.read_state(tmp_path / "w.pt"))
    assert torch.equal(other.eval()(x, numbers), network(x, numbers))


def test_dense_heads_take_columns_too() -> None:
    torch.manual_seed(0)
    _, columns = made(20, 3, True)
    network = networks.build("alexnet", 2).eval()
    networks.join(network, columns)
    assert network.auxiliary is not None and network.auxiliary.image.in_features == 256
