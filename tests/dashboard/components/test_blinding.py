"""The blinding benchmark at small size, in one process: cold, and warm by earlier readers."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks import blinding, blinding_study
from benchmarks.blinding_study import RecordingReader
from dashboard.components.reading import READING_ROUTES
from dashboard.server import context
from dashboard.server.image_routes import IMAGE_ROUTES
from support.route_requests import RouteClient

COLD, WARM = ("R1", "R2"), ("R3", "R4")


@pytest.fixture(scope="module")
def showings(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All showings of two readers after the start, then of two others."""
    study = tmp_path_factory.mktemp("blinding") / "study"
    blinding_study.create_reading_study(study, cases=18, repeats=4)
    client = RouteClient([*READING_ROUTES, *IMAGE_ROUTES])
    readers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(context.STUDY_VARIABLE, str(study))
        for codes in (COLD, WARM):
            group = []
            for code in codes:
                blinding_study.invite_reader(study, code)
                group.append(RecordingReader(code, partial(client.send, code)))
                group[-1].begin()
            blinding_study.read_in_turn(group)
            readers += group
        context.group_commit_writer(study).close()
        client.close()
        return blinding_study.join_with_key(study, readers)


def test_sizes_and_bytes_tell_nothing(showings: pd.DataFrame) -> None:
    pictured = showings.dropna(subset=["picture_hash"])
    assert pictured["repeat"].any()
    assert pictured["shown"].any()
    assert pictured["picture_bytes"].nunique() == 1
    assert pictured["picture_hash"].nunique() == len(pictured)
    assert set(showings.groupby("display")["state_bytes"].nunique()) == {1}


@pytest.mark.parametrize("codes", [COLD, WARM])
def test_no_association_is_found(showings: pd.DataFrame, codes: tuple[str, ...]) -> None:
    group = showings[showings["reader"].isin(codes)].reset_index(drop=True)
    tests = blinding.blinding_tests(group)
    assert len(tests) == 45
    # Times depend on what other tests run beside this one: `python -m benchmarks.blinding` tests
    # them on a quiet machine.
    found = {
        (test.received, test.withheld): test.p_value
        for test in tests
        if test.p_value is not None and not test.received.endswith("_seconds")
    }
    assert {withheld for _, withheld in found} >= {"truth", "score", "repeat"}
    # A leak gives the smallest P that is possible, .0001.
    assert {pair: p for pair, p in found.items() if p <= 0.0002} == {}


def test_a_leak_would_be_found(showings: pd.DataFrame) -> None:
    generator = np.random.default_rng(4)
    noise = generator.normal(0, 0.001, len(showings))
    seconds = np.where(showings["repeat"], 0.035, 0.040) + noise
    leaking = showings.assign(picture_seconds=seconds)
    tests = {(t.received, t.withheld): t.p_value for t in blinding.blinding_tests(leaking)}
    assert tests["picture_seconds", "repeat"] < 0.001
    shown = leaking.assign(shown=leaking["repeat"])
    area, low, high = blinding.latency_auc(shown)
    assert area < 0.05 and 0.3 < low < 0.5 < high < 0.7
    text = blinding.report(showings, 18)
    assert text.count("\n| ") == 46


def test_permutation_p_values_match_all_permutations() -> None:
    values = np.array([0.3, 2.0, 1.1, 5.0, 4.2, 0.9])
    labels = np.array([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    ranks = np.array([1.0, 4.0, 3.0, 6.0, 5.0, 2.0])
    centred = labels[:, 0] - 0.5
    observed = abs((ranks - 3.5) @ centred)
    statistics = [abs((np.array(p) - 3.5) @ centred) for p in itertools.permutations(ranks)]
    exact = np.mean([value >= observed - 1e-9 for value in statistics])
    assert exact == 0.1  # two of the twenty choices of three ranks
    found = blinding.permutation_p_value(values, labels, np.zeros(6))
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))


def test_labels_that_do_not_vary_within_strata_are_not_tested() -> None:
    labels = np.array([[0.0], [0.0], [1.0], [1.0]])
    strata = np.array(["a", "a", "b", "b"])
    assert blinding.permutation_p_value(np.arange(4.0), labels, strata) is None
