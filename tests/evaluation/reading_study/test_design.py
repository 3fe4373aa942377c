"""Designs, case selection, arms, reading orders and the protocol hash."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study import (
    DESIGN_PRESETS,
    check_frozen,
    choose_cases,
    design_from_dict,
    design_preset,
    explanation_texts,
    leakage_table,
    planned_power,
    protocol_hash,
    reader_order,
)
from evaluation.reading_study.design import parse_design_settings
from evaluation.reading_study.leakage_checks import check_leakage
from evaluation.reading_study.leakage_issues import has_errors


def images(patients: int = 80, seed: int = 0) -> pd.DataFrame:
    """Return candidates with two images per patient and half of the patients malignant.

    Some truth rules differ, some images have no text, and one patient is unproven.
    """
    rng, rows = np.random.default_rng(seed), []
    for patient in range(patients):
        truth = "malignant" if patient % 2 else "benign"
        for view in range(2):
            texts = (
                tuple(f"sign {rng.integers(400)}" for _ in range(3)) if rng.random() > 0.05 else ()
            )
            folder = truth if patient % 19 else "malignant"
            other_rule = "unproven" if patient == 5 else truth
            rows.append(
                (
                    f"p{patient}_{view}",
                    f"p{patient}",
                    "test" if patient >= 10 else "train",
                    folder,
                    other_rule,
                    other_rule,
                    rng.random(),
                    truth,
                    texts,
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


def test_presets():
    recommended, published = DESIGN_PRESETS["Recommended"], DESIGN_PRESETS["DeepMiner 2021"]
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
        and recommended.primary == "auc"
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
    assert design_from_dict(recommended.as_dict()) == recommended
    # Two answers give no ratings.
    assert design_preset("Recommended", scale=2).primary == "gee"
    assert design_preset("Recommended", scale=2, primary="sign_flip").primary == "sign_flip"


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
        ("goal", "difference"),
        ("multiplicity", "bonferroni"),
        ("missing_answers", "imputed"),
        ("spending", "haybittle"),
        ("looks", 0),
        ("looks", 2.0),
    ],
)
def test_invalid_settings_are_named(setting, value):
    with pytest.raises(UserError, match="design"):
        design_preset("Recommended", **{setting: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary": "auc", "scale": 2}, "needs ratings, but its scale has 2 answers"),
        ({"primary": "auc_difference", "scale": 2}, "needs ratings"),
        ({"primary": "auc_difference", "arms": ("explanation",)}, "has one arm"),
        ({"margin": 0.05}, "margin or a goal other than superiority without a comparison of arms"),
        ({"goal": "equivalence", "margin": 0.05, "side": "two-sided"}, "without a comparison"),
        ({"primary": "auc_difference", "goal": "noninferiority"}, "needs a margin"),
        ({"primary": "auc_difference", "margin": -0.05}, "margin is -0.05; it must lie between"),
        ({"primary": "auc_difference", "margin": float("nan")}, "margin is nan"),
        ({"primary": "auc_difference", "margin": 1}, "margin is 1;"),
        ({"primary": "auc_difference", "margin": True}, "margin is True"),
        (
            {"primary": "auc_difference", "goal": "noninferiority", "margin": 0.05}
            | {"side": "two-sided"},
            "with a margin is tested with the side greater",
        ),
        ({"primary": "auc_difference", "margin": 0.1, "side": "two-sided"}, "the side greater"),
        (
            {"primary": "auc_difference", "goal": "equivalence", "margin": 0.05},
            "tested with the side two-sided",
        ),
        ({"multiplicity": "holm"}, "has a single comparison"),
        ({"primary": "auc_difference", "multiplicity": "holm"}, "has a single comparison"),
        ({"alpha": 0.5}, "must be less than .5"),
        ({"looks": 41, "cases_per_class": 20}, "looks are 41, but it has 40 cases"),
    ],
)
def test_analysis_plans_that_contradict_themselves(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        design_preset("Recommended", **changes)
    # One sentence: a full stop is followed by a space nowhere.
    assert ". " not in str(caught.value) and str(caught.value).startswith("The design")


def test_more_looks_than_chosen_cases():
    with pytest.raises(UserError, match=r"looks are 500, but it has \d+ cases"):
        choose_cases(images(), design_preset("Recommended", looks=500))


def test_settings_of_the_analysis_plan_from_texts():
    texts = ["primary=auc_difference", "goal=noninferiority", "margin=0.05", "looks=2"]
    settings = parse_design_settings([*texts, "spending=pocock", "missing_answers=counted_wrong"])
    design = design_preset("Recommended", **settings)
    assert (design.margin, design.looks, design.spending) == (0.05, 2, "pocock")
    assert parse_design_settings(["margin=none"]) == {"margin": None}
    with pytest.raises(UserError, match="margin cannot be 'wide'"):
        parse_design_settings(["margin=wide"])


def test_unknown_preset_and_setting():
    with pytest.raises(UserError, match="not a preset"):
        design_preset("Best")
    with pytest.raises(UserError, match="colour"):
        design_from_dict({"colour": "red"})


def test_explanation_texts():
    labels = {
        3: "Mass with spiculated margin, suspicious",
        5: "Dense tissue",
        9: "Dense tissue",
        40: "Skin",
    }
    order = [1, 3, 5, 2, 9, 40]
    assert explanation_texts(order, labels, design_preset("Recommended")) == (
        "Mass with spiculated margin",
        "Dense tissue",
        "Dense tissue",
    )
    assert explanation_texts(
        order, labels, design_preset("Recommended", merge_duplicates=True)
    ) == (
        "Mass with spiculated margin",
        "Dense tissue",
        "Skin",
    )
    assert explanation_texts(order, labels, design_preset("Recommended", depth=2)) == (
        "Mass with spiculated margin",
    )
    assert explanation_texts(order, labels, design_preset("DeepMiner 2021"))[0].endswith(
        "suspicious"
    )
    assert explanation_texts(order, {}, design_preset("Recommended")) == ()


def test_cases_are_balanced_and_seeded():
    table, design = images(), design_preset("Recommended")
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
    other, _ = choose_cases(table, design_preset("Recommended", seed=2))
    # Another seed draws other images, not only another order.
    assert set(other["mammogram_id"]) != set(main["mammogram_id"])
    assert len(other) == len(cases)
    assert (
        next(step[0] for step in flow.steps) == "test split"
        and flow.steps[-1][1] == len(main)
        and "patients" in flow.sentence()
    )


def test_discrepant_cases_and_fixed_number():
    cases, _ = choose_cases(
        images(), design_preset("DeepMiner 2021", split="test", cases_per_class=20)
    )
    assert len(cases) == 40 and cases["patient_id"].nunique() < 40
    with pytest.raises(UserError, match="requires 165 of each; ask for at most"):
        choose_cases(images(), design_preset("DeepMiner 2021"))
    with pytest.raises(UserError, match="lacks 'texts'"):
        choose_cases(images().drop(columns="texts"), design_preset("Recommended"))
    with pytest.raises(UserError, match="study needs both; choose another split"):
        choose_cases(
            images().assign(any_malignant="benign"), design_preset("Recommended", discrepant="in")
        )


def test_control_arms():
    table = images()
    table["random_texts"] = [("random",)] * len(table)
    cases, _ = choose_cases(
        table,
        design_preset(
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
        choose_cases(images(), design_preset("Recommended", arms=("explanation", "random_units")))


def test_reader_orders():
    design = design_preset("Recommended", repeats=4, images_per_patient=None)
    cases, _ = choose_cases(images(), design)
    one, again, other = (
        reader_order(cases, design, "R1"),
        reader_order(cases.sample(frac=1, random_state=1), design, "R1"),
        reader_order(cases, design, "R2"),
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


def test_selected_cases_pass_the_leakage_checks():
    design = design_preset("Recommended")
    cases, _ = choose_cases(images(160), design)
    main = cases[cases["arm"] == "explanation"]
    order = [
        item for item in reader_order(cases, design, "R1") if item[0] in set(main["case_number"])
    ]
    issues = check_leakage(leakage_table(main, order).reset_index(drop=True))
    assert not has_errors(issues), [issue.sentence() for issue in issues]


def test_frozen_protocol_cannot_be_edited():
    design = design_preset("Recommended")
    cases, _ = choose_cases(images(), design)
    frozen = protocol_hash(design, cases)
    check_frozen(design, cases, frozen)
    stored = cases.assign(texts=[list(texts) for texts in cases["texts"]])
    check_frozen(design_from_dict(design.as_dict()), stored, frozen)
    for changed, rows in (
        (design_preset("Recommended", alpha=0.1), cases),
        (design, cases.assign(truth=cases["truth"].iloc[::-1].to_numpy())),
        (design, cases.iloc[1:]),
    ):
        with pytest.raises(UserError, match="not the one that was frozen"):
            check_frozen(changed, rows, frozen)
    assert protocol_hash(design, cases.assign(network_score=np.nan)) != frozen


def test_planned_power():
    power, size = planned_power(design_preset("DeepMiner 2021"), 330)
    assert round(power, 3) == 0.545 and size.stable_n == 654
    weaker, larger = planned_power(
        design_preset("Recommended", design_effect=1.2, side="two-sided"), 330
    )
    assert weaker < power and larger.stable_n > size.stable_n


def test_image_arms_need_no_texts():
    cases, _ = choose_cases(
        images(160), design_preset("Recommended", arms=("explanation", "image"), comparison_share=1)
    )
    most_texts = cases.groupby("arm")["texts"].apply(lambda texts: texts.map(len).max())
    assert most_texts["image"] == 0 and most_texts["explanation"] == 3
    assert not [
        f
        for f in check_leakage(leakage_table(cases))
        if f.field == "texts" and f.severity == "error"
    ]
    assert len(reader_order(cases, design_preset("Recommended"), "R1")) == len(cases) + 10


def test_parsed_settings_keep_their_type() -> None:
    settings = parse_design_settings(
        [
            "side=two-sided",
            "alpha = .025",
            "depth=none",
            "repeats=4",
            "merge_duplicates=yes",
            "stopping=two readers = stop",
        ]
    )
    assert settings == {
        "side": "two-sided",
        "alpha": 0.025,
        "depth": None,
        "repeats": 4,
        "merge_duplicates": True,
        "stopping": "two readers = stop",
    }
    assert design_preset("Recommended", **settings).alpha == 0.025


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_unparsable_settings(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_design_settings([text])


def test_hash_of_an_old_frozen_study() -> None:
    """The hash of a study frozen by the first release: it must never change.

    The preset Recommended of that release analysed the proportion correct, which its stored designs
    state; settings that came later are not part of them.
    """
    cases = pd.DataFrame(
        {
            "case_number": [2, 1, 3],
            "mammogram_id": ["m2", "m1", "m3"],
            "patient_id": ["p2", "p1", "p1"],
            "arm": ["explanation", "explanation", "image"],
            "texts": [("Mass with spiculated margin", "Skin"), ("Tissue, dichte",), ()],
            "truth": ["malignant", "benign", "malignant"],
            "network_score": [0.75, 0.125, float("nan")],
            "predicted": ["malignant", "benign", None],
        }
    )
    for name, digest in (
        ("Recommended", "14410f98ff2a0cb9c1f67d6d4d01c6f9290ab634921c4f29444fd4487e6f63fa"),
        ("DeepMiner 2021", "667dd05771deec314cb63dda2998dddbdf3664efa2c6ac13e8a89ebfaca115de"),
    ):
        primary = {"Recommended": "gee", "DeepMiner 2021": "exact_binomial"}[name]
        design = design_preset(name, primary=primary)
        assert protocol_hash(design, cases) == digest
        later = {"goal", "margin", "multiplicity", "missing_answers", "looks", "spending"}
        assert not set(design.as_dict()) & later
        # As the store returns it: settings from JSON, texts as lists, numbers as NumPy scalars.
        stored = design_from_dict(json.loads(json.dumps(design.as_dict())))
        rows = cases.assign(texts=[list(texts) for texts in cases["texts"]])
        check_frozen(stored, rows, digest)
        changed = replace(design, missing_answers="counted_wrong")
        assert protocol_hash(changed, cases) != digest
        assert design_from_dict(changed.as_dict()) == changed
