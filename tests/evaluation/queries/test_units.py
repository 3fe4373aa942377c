"""What the Units pages show, against literal versions on the demonstration; and bad input."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core import runs, settings, store
from core.errors import UserError
from core.interpretation.dissection import compute_top_patches
from core.interpretation.influence import select_spie_units
from core.pipeline import dissect
from core.store import run_table, unit_table
from evaluation.annotation import association_queries, descriptor_association
from evaluation.coverage import fixed_selection_coverage
from evaluation.pipeline import coverage as coverage_step
from evaluation.queries import unit_summaries, units


@pytest.fixture
def dissection(demonstration: Path) -> str:
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "dissect")
    assert run is not None
    return run


def test_held_out_coverage_is_counted_on_test_films_only(
    demonstration: Path, dissection: str
) -> None:
    with store.read(demonstration) as con:
        explain = run_table.latest_run(con, "explain", dissection)
        frame, films = (
            unit_table.load_top_influences(con, explain, 8),
            unit_table.load_explanations(con, explain),
        )
        chosen = unit_table.load_selected_units(con, dissection)
    test = set(films[films["split"] == "test"]["mammogram_id"])
    for row in unit_summaries.coverage_summary(demonstration, dissection):
        mine = set(chosen[chosen["class"] == row["class"]]["unit"])
        slots = [
            u in mine
            for i, c, u in zip(frame["mammogram_id"], frame["class"], frame["unit"])
            if i in test and c == row["class"]
        ]
        assert row["held_out"] == pytest.approx(np.mean(slots)) and row["held_out_images"] == len(
            test
        )
        assert row["curve"][
            settings.load_settings(demonstration).dissection.select - 1
        ] == pytest.approx(row["selected"])
        assert np.all(np.diff(row["curve"]) >= 0)


def test_spies_rule_takes_cancer_units_and_some_others_and_no_dead_ones() -> None:
    shares = {0: 1.0, 1: 0.9, 2: 0.6, 3: 0.4, 4: 0.0, 5: 0.0, 6: 0.0, 7: 1.0}
    top = pd.DataFrame(
        [(u, 2 if i < s * 10 else 0) for u, s in shares.items() for i in range(10)],
        columns=["unit", "label"],
    )
    found = select_spie_units(top, alive=set(range(7)), number=5)
    # Three of cancer; where these are few, units drawn at random fill the number.
    assert {0, 1, 2} <= set(found) and 7 not in found and len(found) == 5
    # Many of cancer: a fifth stays random, so that other phenomena are seen too.
    many = pd.DataFrame([(u, 2 * (u < 60)) for u in range(100)], columns=["unit", "label"])
    chosen = select_spie_units(many, alive=set(range(100)))
    assert len(chosen) == 45 and sum(u < 60 for u in chosen) >= 36
    few = pd.DataFrame([(u, 2 * (u < 3)) for u in range(100)], columns=["unit", "label"])
    chosen = select_spie_units(few, alive=set(range(100)))
    assert len(chosen) == 45 and {0, 1, 2} <= set(chosen)
    assert select_spie_units(top, alive=set(range(7)), number=5) == found


def test_units_chosen_by_spies_rule_are_the_ones_experts_get_and_their_coverage_is_counted(
    own_study: Path,
) -> None:
    chosen = settings.load_settings(own_study).with_changes("dissection", rule="spie")
    made = dissect.run_dissection(own_study, chosen, lambda *_: None)
    coverage = coverage_step.run_coverage(own_study, lambda *_: None, made.run)
    with store.read(own_study) as con:
        selected, shares = (
            unit_table.load_selected_units(con, made.run),
            unit_table.load_coverage(con, coverage.run),
        )
        tops = unit_table.load_top_influences(con, made.run, 8)
        queue = unit_table.selected_unit_ids(con, made.run)
    assert 1 < len(queue) <= 45 and all(
        sorted(part["unit"]) == queue for _, part in selected.groupby("class")
    )
    for row in shares[shares["name"].isin(["selected", "interval", "split_half"])].to_dict(
        "records"
    ):
        assert row["estimate"] == pytest.approx(
            tops[tops["class"] == row["class"]]["unit"].isin(queue).mean()
        )


def test_units_chosen_by_groups_are_the_members_of_the_most_frequent_groups(
    own_study: Path,
) -> None:
    """Against a literal count, from the dissection to its coverage and the list of the page."""
    chosen = settings.load_settings(own_study).with_changes("dissection", rule="groups", select=3)
    made = dissect.run_dissection(own_study, chosen, lambda *_: None).run
    measured = coverage_step.run_coverage(own_study, lambda *_: None, made).run
    with store.read(own_study) as con:
        manifest = run_table.load_run(con, made)["manifest"]
        selected = unit_table.load_selected_units(con, made)
        shares = unit_table.load_coverage(con, measured)
        tops = unit_table.load_top_influences(con, made, 8)
        queue = unit_table.selected_unit_ids(con, made)
    groups = manifest["groups"]
    assert sorted(unit for group in groups for unit in group) == list(range(manifest["units"]))
    assert len(groups) < manifest["units"]
    for code, slots in tops.groupby("class")["unit"]:
        totals = [sum(unit in group for unit in slots) for group in groups]
        largest = sorted(range(len(groups)), key=lambda i: (-totals[i], i))[:3]
        expected = {u for i in largest for u in groups[i] if u in set(slots)}
        assert set(selected[selected["class"] == code]["unit"]) == expected
        row = shares[(shares["class"] == code) & (shares["name"] == "selected")]
        assert row["estimate"].item() == pytest.approx(sum(totals[i] for i in largest) / len(slots))
        assert row["method"].item() == "3 groups most often among the top 8"
    assert set(queue) == set(selected["unit"])
    assert sorted(units.selected_units(own_study, made)["unit"]) == queue


def test_coverage_of_given_units_resamples_patients() -> None:
    tops = np.array([[[0, 1], [0, 2], [3, 4], [3, 5]]])  # one class, four images of two patients
    (found,) = fixed_selection_coverage(tops, ["a", "a", "b", "b"], [0, 1, 2])
    assert found.estimate == 0.5 and (found.low, found.high) == (0.0, 1.0)
    (alone,) = fixed_selection_coverage(tops, ["a"] * 4, [0])
    assert alone.estimate is None and alone.reason == "one patient cannot be resampled"


def test_middle_and_random_patches_are_where_they_say(demonstration: Path, dissection: str) -> None:
    values = np.load(runs.run_folder(demonstration, dissection) / "activations.npy")[:, 3]
    ids = np.load(runs.run_folder(demonstration, dissection) / "patch_ids.npy")
    order = sorted(range(len(values)), key=lambda p: (-values[p], p))
    for kind in ("middle", "random"):
        found = units.comparison_patches(demonstration, dissection, 3, kind)
        assert (
            len(found) == units.CONTEXT_PATCHES
            and [ids[order[rank]] for rank in found["rank"]] == found["patch_id"].tolist()
        )
    middle = units.comparison_patches(demonstration, dissection, 3, "middle")
    assert abs(middle["rank"].mean() - len(values) / 2) < 2


def test_the_field_lies_around_the_peak_and_inside_the_film() -> None:
    top = pd.DataFrame(
        {
            "y": [64, 0, 200],
            "x": [64, 0, 192],
            "side": 64,
            "peak_y": [3, 0, 7],
            "peak_x": [4, 0, 7],
            "height": 264,
            "width": 256,
        }
    )
    found = units.crop_to_receptive_field(top, 21, 8)
    assert found[["y", "x", "side"]].to_numpy().tolist() == [
        [82, 90, 21],
        [0, 0, 21],
        [243, 235, 21],
    ]


def test_named_units_and_the_cross_table_count_the_same(
    demonstration: Path, dissection: str
) -> None:
    named, table = (
        unit_summaries.labelled_units_by_category(demonstration, dissection),
        unit_summaries.category_cross_table(demonstration),
    )
    assert len(named) and named["simulated"].all()
    assert [int(cell.split(":")[0]) for cell in table.iloc[:, 0]] == [
        int((named["category"] == c).sum()) for c in table.index
    ]


def test_dead_units_are_listed_and_have_no_number(demonstration: Path, dissection: str) -> None:
    with store.read(demonstration) as con:
        dead = set(run_table.load_run(con, dissection)["manifest"]["dead_units"])
    assert set(units.selected_units(demonstration, dissection, "dead")["unit"]) == dead
    run = association_queries.association_run(demonstration, dissection)
    with store.read(demonstration) as con:
        assert not dead & set(unit_table.load_descriptor_associations(con, run)["unit"])


def test_a_layer_that_does_not_exist_is_named_with_those_that_do(own_study: Path) -> None:
    chosen = settings.load_settings(own_study).with_changes("dissection", layer="layer9")
    with pytest.raises(UserError, match="no layer 'layer9'"):
        dissect.run_dissection(own_study, chosen, lambda *_: None)


def test_activations_that_are_equal_or_no_numbers() -> None:
    assert compute_top_patches(np.ones((500, 2), np.float32)).rows.tolist() == [list(range(64))] * 2
    found = descriptor_association.descriptor_aucs(
        np.ones((1, 40)), np.arange(40) % 2 == 0, np.arange(40)
    )
    assert (
        found["auc"].item() == 0.5 and np.isnan(found["p"].item()) and np.isnan(found["low"].item())
    )
    with pytest.raises(UserError, match="not numbers"):
        compute_top_patches(np.full((100, 2), np.nan, np.float32))


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


@pytest.mark.parametrize(
    ("corners", "is_touched"),
    [
        ((12, 32, 14, 34), True),
        # Edges: the patch reaches from 10 to 19 and from 30 to 39.
        ((19, 39, 50, 50), True),
        ((20, 39, 50, 50), False),
        ((19, 40, 50, 50), False),
        ((0, 0, 10, 30), True),
        ((0, 0, 9, 30), False),
        ((0, 0, 10, 29), False),
        # As far as one axis goes, and not the other.
        ((12, 0, 14, 5), False),
        ((0, 32, 5, 34), False),
    ],
)
def test_findings_that_touch_a_patch(corners: tuple[int, ...], is_touched: bool) -> None:
    patch = SimpleNamespace(x=10, y=30, side=10)
    far = square(500, 600, 510, 610)
    assert units._touches([square(*corners)], patch) is is_touched
    assert units._touches([], patch) is True and units._touches([far], patch) is False


def test_words_of_findings_count_once_a_patch() -> None:
    top = pd.DataFrame(
        {
            "mammogram_id": ["m1", "m1", "m2", "m3"],
            "label": [2, 1, 0, 1],
            "x": [0, 100, 0, 0],
            "y": [0, 0, 0, 0],
            "side": 20,
        }
    )
    findings = pd.DataFrame(
        [
            ("m1", {"margins": "SPICULATED", "shape": "N/A"}, [square(5, 5, 9, 9)]),
            ("m1", {"margins": "SPICULATED", "shape": "OVAL"}, [square(1, 1, 110, 9)]),
            # A patch without a lesion label has no words of findings.
            ("m2", {"margins": "OBSCURED", "shape": "ROUND"}, [square(5, 5, 9, 9)]),
            ("m3", {"margins": "ILL_DEFINED", "shape": ""}, []),
        ],
        columns=["mammogram_id", "descriptors", "outline"],
    )
    assert units._count_descriptors(top, findings) == {
        "margins": {"spiculated": 2, "ill defined": 1},
        "shape": {"oval": 2},
    }


def test_rules_that_choose_units() -> None:
    chosen = pd.DataFrame({"unit": [4, 2, 4]})
    table = pd.DataFrame({"unit": [5, 3, 4, 2], "dead": [True, True, False, False]})
    assert units._units_by_rule("dead", chosen, table, None) == [3, 5]
    for rule in ("influence", "spie"):
        assert units._units_by_rule(rule, chosen, table, None) == [2, 4]
