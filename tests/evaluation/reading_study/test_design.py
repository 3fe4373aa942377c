"""Designs, cases, arms, orders and the hash that freezes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study import (
    PRESETS,
    check_frozen,
    choose_cases,
    design_from,
    lint_table,
    order_of,
    planned_power,
    preset,
    protocol_hash,
    shown_texts,
)
from evaluation.reading_study.design import designed
from evaluation.reading_study.leakage_checks import lint, stops


def images(patients: int = 80, seed: int = 0) -> pd.DataFrame:
    """Two images a patient, half the patients with a malignant finding; a few rules differ, some
    have no text, one patient is unproven.
    """
    rng, rows = np.random.default_rng(seed), []
    for patient in range(patients):
        truth = "malignant" if patient % 2 else "benign"
        for view in range(2):
            words = (
                tuple(f"sign {rng.integers(400)}" for _ in range(3)) if rng.random() > 0.05 else ()
            )
            folder = truth if patient % 19 else "malignant"
            known = "unproven" if patient == 5 else truth
            rows.append(
                (
                    f"p{patient}_{view}",
                    f"p{patient}",
                    "test" if patient >= 10 else "train",
                    folder,
                    known,
                    known,
                    rng.random(),
                    truth,
                    words,
                )
            )
    names = [
        "mammogram_id",
        "patient_id",
        "split",
        "folder",
        "first_abnormality",
        "any_malignant",
        "network_score",
        "predicted",
        "texts",
    ]
    return pd.DataFrame(rows, columns=names)


def test_presets_are_those_of_the_pages():
    recommended, published = PRESETS["Recommended"], PRESETS["DeepMiner 2021"]
    assert (
        recommended.images_per_patient,
        recommended.texts,
        recommended.depth,
        recommended.scale,
    ) == (1, 3, 20, 6)
    assert (
        recommended.influence_class == "predicted"
        and not recommended.association_words
        and recommended.readers >= 3
    )
    assert (
        "shuffled" in recommended.arms
        and recommended.split == "test"
        and recommended.primary == "gee"
    )
    assert (
        published.scale,
        published.primary,
        published.truth_rule,
        published.cases_per_class,
    ) == (2, "exact_binomial", "folder", 165)
    assert (
        published.influence_class == "malignant"
        and published.threshold == 2
        and recommended.threshold == 4
    )
    assert design_from(recommended.as_dict()) == recommended


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("truth_rule", "worst"),
        ("scale", 5),
        ("side", "less"),
        ("primary", "t test"),
        ("arms", ()),
        ("arms", ("explanation", "explanation")),
        ("arms", ("voice",)),
        ("texts", 0),
        ("readers", 2.5),
        ("repeats", -1),
        ("depth", 0),
        ("alpha", 0),
        ("alpha", 1.5),
        ("comparison_share", 0),
        ("design_effect", 0.5),
        ("name", " "),
        ("expected_share", 1),
        ("split", "validation"),
        ("cases_per_class", True),
    ],
)
def test_wrong_settings_are_named(setting, value):
    with pytest.raises(UserError, match="design"):
        preset("Recommended", **{setting: value})


def test_unknown_presets_and_settings():
    with pytest.raises(UserError, match="not a preset"):
        preset("Best")
    with pytest.raises(UserError, match="colour"):
        design_from({"colour": "red"})


def test_shown_texts():
    labels = {
        3: "Mass with spiculated margin, suspicious",
        5: "Dense tissue",
        9: "Dense tissue",
        40: "Skin",
    }
    order = [1, 3, 5, 2, 9, 40]
    assert shown_texts(order, labels, preset("Recommended")) == (
        "Mass with spiculated margin",
        "Dense tissue",
        "Dense tissue",
    )
    assert shown_texts(order, labels, preset("Recommended", merge_duplicates=True)) == (
        "Mass with spiculated margin",
        "Dense tissue",
        "Skin",
    )
    assert shown_texts(order, labels, preset("Recommended", depth=2)) == (
        "Mass with spiculated margin",
    )
    assert shown_texts(order, labels, preset("DeepMiner 2021"))[0].endswith("suspicious")
    assert shown_texts(order, {}, preset("Recommended")) == ()


def test_cases_are_balanced_by_patient_and_seeded():
    table, design = images(), preset("Recommended")
    cases, flow = choose_cases(table, design)
    main = cases[cases["arm"] == "explanation"]
    assert (
        main["truth"].value_counts().nunique() == 1
        and main["patient_id"].is_unique
        and (main["texts"].map(len) > 0).all()
    )
    assert not set(cases["patient_id"]) & {f"p{k}" for k in range(10)} and "p5" not in set(
        cases["patient_id"]
    )
    assert (main[["folder", "first_abnormality", "any_malignant"]].nunique(axis=1) == 1).all()
    again, _ = choose_cases(table.sample(frac=1, random_state=3), design)
    assert protocol_hash(design, again) == protocol_hash(design, cases)
    other, _ = choose_cases(table, preset("Recommended", seed=2))
    assert set(other["mammogram_id"]) != set(main["mammogram_id"]) or list(
        other["mammogram_id"]
    ) != list(cases["mammogram_id"])
    assert (
        next(step[0] for step in flow.steps) == "test split"
        and flow.steps[-1][1] == len(main)
        and "patients" in flow.sentence()
    )


def test_discrepant_in_all_images_and_a_number_of_cases():
    cases, _ = choose_cases(images(), preset("DeepMiner 2021", split="test", cases_per_class=20))
    assert len(cases) == 40 and cases["patient_id"].nunique() < 40
    with pytest.raises(UserError, match="wants 165 of each"):
        choose_cases(images(), preset("DeepMiner 2021"))
    with pytest.raises(UserError, match="lacks 'texts'"):
        choose_cases(images().drop(columns="texts"), preset("Recommended"))
    with pytest.raises(UserError, match="eligible images"):
        choose_cases(
            images().assign(any_malignant="benign"), preset("Recommended", discrepant="in")
        )


def test_shuffled_and_random_arms():
    table = images()
    table["random_texts"] = [("random",)] * len(table)
    cases, _ = choose_cases(
        table,
        preset(
            "Recommended", arms=("explanation", "shuffled", "random_units"), comparison_share=0.5
        ),
    )
    own = table.set_index("mammogram_id")
    shuffled = cases[cases["arm"] == "shuffled"]
    donor = dict(zip(table["texts"], table["patient_id"]))
    assert (
        all(donor[tuple(row.texts)] != row.patient_id for row in shuffled.itertuples())
        and shuffled["truth"].value_counts().nunique() == 1
    )
    assert shuffled["texts"].map(tuple).is_unique
    assert (cases[cases["arm"] == "random_units"]["texts"] == ("random",)).all()
    assert (
        len(shuffled) == pytest.approx(0.5 * (cases["arm"] == "explanation").sum(), abs=2)
        and own is not None
    )
    with pytest.raises(UserError, match="random_texts"):
        choose_cases(images(), preset("Recommended", arms=("explanation", "random_units")))


def test_orders_differ_by_reader_and_keep_distance():
    design = preset("Recommended", repeats=4, images_per_patient=None)
    cases, _ = choose_cases(images(), design)
    one, again, other = (
        order_of(cases, design, "R1"),
        order_of(cases.sample(frac=1, random_state=1), design, "R1"),
        order_of(cases, design, "R2"),
    )
    assert one == again != other and sum(repeat for _, repeat in one) == 4
    assert sorted(case for case, repeat in one if not repeat) == sorted(cases["case_number"])
    patient = dict(zip(cases["case_number"], cases["patient_id"]))
    first = [case for case, repeat in one if not repeat]
    close = sum(
        patient[first[k]] in [patient[c] for c in first[max(0, k - 19) : k]]
        for k in range(len(first))
    )
    assert close <= 0.1 * len(first)


def test_a_chosen_study_passes_the_linter():
    design = preset("Recommended")
    cases, _ = choose_cases(images(160), design)
    main = cases[cases["arm"] == "explanation"]
    order = [item for item in order_of(cases, design, "R1") if item[0] in set(main["case_number"])]
    findings = lint(lint_table(main, order).reset_index(drop=True))
    assert not stops(findings), [finding.sentence() for finding in findings]


def test_a_frozen_protocol_cannot_be_edited():
    design = preset("Recommended")
    cases, _ = choose_cases(images(), design)
    frozen = protocol_hash(design, cases)
    check_frozen(design, cases, frozen)
    stored = cases.assign(texts=[list(texts) for texts in cases["texts"]])
    check_frozen(design_from(design.as_dict()), stored, frozen)
    for changed, rows in (
        (preset("Recommended", alpha=0.1), cases),
        (design, cases.assign(truth=cases["truth"].iloc[::-1].to_numpy())),
        (design, cases.iloc[1:]),
    ):
        with pytest.raises(UserError, match="not the one that was frozen"):
            check_frozen(changed, rows, frozen)
    assert protocol_hash(design, cases.assign(network_score=np.nan)) != frozen


def test_planned_power_is_that_of_the_pages():
    power, size = planned_power(preset("DeepMiner 2021"), 330)
    assert round(power, 3) == 0.545 and size.stable_n == 654
    weaker, larger = planned_power(preset("Recommended", design_effect=1.2, side="two-sided"), 330)
    assert weaker < power and larger.stable_n > size.stable_n


def test_image_arms_show_no_words_and_lint_does_not_ask_for_them():
    cases, _ = choose_cases(
        images(160), preset("Recommended", arms=("explanation", "image"), comparison_share=1)
    )
    shown = cases.groupby("arm")["texts"].apply(lambda texts: texts.map(len).max())
    assert shown["image"] == 0 and shown["explanation"] == 3
    assert not [f for f in lint(lint_table(cases)) if f.field == "texts" and f.severity == "error"]
    assert len(order_of(cases, preset("Recommended"), "R1")) == len(cases) + 10


def test_settings_from_text_keep_their_kind() -> None:
    found = designed(
        [
            "side=two-sided",
            "alpha = .025",
            "depth=none",
            "repeats=4",
            "merge_duplicates=yes",
            "stopping=two readers = stop",
        ]
    )
    assert found == {
        "side": "two-sided",
        "alpha": 0.025,
        "depth": None,
        "repeats": 4,
        "merge_duplicates": True,
        "stopping": "two readers = stop",
    }
    assert preset("Recommended", **found).alpha == 0.025


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("side", "not NAME=VALUE"),
        ("colour=red", "these can be set: .*alpha"),
        ("name=x", "not NAME=VALUE"),
        ("alpha=much", "it is a number"),
        ("repeats=none", "it is a whole number"),
        ("depth=deep", "a whole number or none"),
        ("prevalence_told=maybe", "yes or no"),
    ],
)
def test_settings_that_are_none_are_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        designed([text])
