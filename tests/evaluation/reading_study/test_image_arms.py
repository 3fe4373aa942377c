"""Image arms: frozen images, rendering of mammograms and class maps, images in bundles."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
from PIL import Image

from core import runs, store
from core.errors import UserError
from core.images import blinded_rendering
from core.images.colormaps import INFERNO
from core.sessions import tokens
from core.sessions.reading_session import PRACTICE_TEXTS, ReadingSession
from core.store import participant_table
from core.store.reading import reading_table
from evaluation.reading_study import design_preset, site_bundles, workflow
from evaluation.reading_study.leakage_checks import image_issues
from evaluation.reading_study.leakage_issues import WARNING
from evaluation.reading_study.narrative import narrative
from support.image_arms import close_open_study, freeze_image_study

ARMS = ("explanation", "image", "class_map", "image_explanation")


def test_freezing_records_images_of_each_arm(own_study: Path) -> None:
    frozen = freeze_image_study(own_study, ARMS)
    with store.read(own_study) as con:
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version).set_index(
            "case_number"
        )
        shown = {
            p.case_number: p
            for p in reading_table.load_case_pictures(con, frozen.protocol, frozen.version)
        }
        films = dict(con.execute("SELECT mammogram_id, file FROM mammograms").fetchall())
        patients = dict(con.execute("SELECT file, patient_id FROM mammograms").fetchall())
    for number, row in cases.iterrows():
        picture = shown.get(number)
        assert (picture is None) == (row["arm"] == "explanation")
        assert bool(row["texts"]) == (row["arm"] in ("explanation", "image_explanation"))
        if picture:
            assert json.loads(picture.source)["film"] == films[
                row["mammogram_id"]
            ] and picture.kind == ("class_map" if row["arm"] == "class_map" else "film")
    practice = frozen.design["practice"]
    extra = [shown[-number] for number in range(len(PRACTICE_TEXTS) + 1, len(practice) + 1)]
    assert len(practice) == len(PRACTICE_TEXTS) + 6 and [p.kind for p in extra] == [
        "film",
        "film",
        "class_map",
        "class_map",
        "film",
        "film",
    ]
    assert not {patients[json.loads(p.source)["film"]] for p in extra} & set(cases["patient_id"])
    assert workflow.protocol_design(frozen).arms == ARMS
    with store.write(own_study) as con, pytest.raises(UserError, match="cannot change"):
        reading_table.add_case_pictures(con, frozen.protocol, frozen.version, extra)


def test_rendering_of_mammograms_and_class_maps(own_study: Path) -> None:
    with store.read(own_study) as con:
        run, maps, file = con.execute(
            "SELECT e.run, e.file, m.file FROM explanations e JOIN mammograms m USING"
            " (mammogram_id) LIMIT 1"
        ).fetchone()
    film = np.load(own_study / "images" / f"{file}.npy")
    body = blinded_rendering.render_jpeg(
        own_study, blinded_rendering.MAMMOGRAM, blinded_rendering.mammogram_source(file)
    )
    image = Image.open(io.BytesIO(body))
    shown, inside = np.asarray(image.convert("L"), float), blinded_rendering.breast_mask(film)
    assert (
        not image.getexif()
        and "comment" not in image.info
        and file.encode() not in body
        and image.size == film.shape[::-1]
    )
    outside = ~scipy.ndimage.binary_dilation(inside, iterations=10)
    assert (
        outside.mean() > 0.1 and film[outside].max() > 60 and shown[outside].max() <= 6
    )  # a burnt-in label was present and is not displayed
    assert np.abs(shown[inside] - film[inside]).mean() < 4
    probability = np.load(runs.run_folder(own_study, run) / maps)["probability"][-1].astype(
        np.float32
    )
    drawn = np.asarray(
        Image.open(
            io.BytesIO(
                blinded_rendering.render_jpeg(
                    own_study,
                    blinded_rendering.CLASS_MAP,
                    blinded_rendering.class_map_source(run, maps, file),
                )
            )
        ),
        float,
    )
    assert drawn.shape == (*film.shape, 3) and drawn[outside].max() <= 12
    assert drawn[inside].mean() == pytest.approx(
        blinded_rendering.color_class_map(probability, inside)[inside].mean(), abs=2
    )
    whole = np.ones((8, 8), bool)
    levels = [
        blinded_rendering.color_class_map(np.full((2, 2), p, np.float32), whole)[0, 0].astype(int)
        for p in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert np.array_equal(levels, INFERNO[[0, 64, 128, 191, 255]])
    assert all(np.diff([c @ (3, 6, 1) for c in levels]) > 0)


def test_images_appear_only_with_their_cases(own_study: Path) -> None:
    close_open_study(own_study)
    frozen = freeze_image_study(own_study, ("image", "class_map", "explanation"))
    at = ReadingSession("R1", tokens.load_secret_key(own_study))
    with store.write(own_study) as con:
        participant_table.add_participant(con, "R1", "reader")
        participant_table.record_consent(con, "R1", "", "yes")
        protocol = at.protocol(con)
        assert protocol.protocol == frozen.protocol and at.has_pictures(con, protocol)
        at.assign_order(con, protocol)
        cases = reading_table.load_reading_cases(
            con, protocol.protocol, protocol.version
        ).set_index("case_number")
        seen = 0
        while (shown := at.displayed_case(con, protocol)) is not None:
            position = next(
                p for p in at.reading_progress(con, protocol) if p.position == shown.position
            )
            if position.practice:
                assert (not shown.pictures) == (position.case_number >= -5)
            else:
                arm = cases.loc[position.case_number, "arm"]
                assert (shown.pictures[0][1] if shown.pictures else "") == {
                    "image": "film",
                    "class_map": "class_map",
                    "explanation": "",
                }[arm]
                assert any(shown.texts) == (arm == "explanation")
                seen += 1
            at.save_answer(con, shown.token, 4, 1.0, False)
        assert seen == len(cases) + 2
    workflow.close_protocol(own_study, frozen.protocol, "team", confirm=frozen.protocol)
    text = narrative(workflow.score_protocol(own_study, frozen.protocol)[1])
    assert "images (" in text and "Arm image against arm class map" in text


def test_bundles_hold_images_of_image_arms_only(own_study: Path, tmp_path: Path) -> None:
    close_open_study(own_study)
    freeze_image_study(own_study, ("explanation",), "Words")
    site_bundles.create_bundle(own_study, tmp_path / "words", "Words", "team")
    assert not (tmp_path / "words" / blinded_rendering.PICTURES_FOLDER).exists() and not list(
        (tmp_path / "words" / "images").iterdir()
    )
    freeze_image_study(own_study, ("image", "explanation"))
    made = site_bundles.create_bundle(own_study, tmp_path / "away", "Pictures", "team")
    with store.read(own_study) as con, store.read(made.folder) as there:
        home = reading_table.load_case_pictures(con, "Pictures", 1)
        away = reading_table.load_case_pictures(there, "Pictures", 1)
        films = {row[0] for row in con.execute("SELECT file FROM mammograms").fetchall()}
        assert ReadingSession("R1", b"").protocol(there).hash == made.hash
    assert [(p.case_number, p.kind) for p in home] == [
        (p.case_number, p.kind) for p in away
    ] and 0 < len(home) < made.cases + 3
    for original, copy in zip(home, away):
        assert set(json.loads(copy.source)) == {"ready"} and not any(
            film in copy.source for film in films
        )
        there_and_here = (
            blinded_rendering.render_jpeg(made.folder, copy.kind, copy.source),
            blinded_rendering.render_jpeg(own_study, original.kind, original.source),
        )
        pixels = [np.asarray(Image.open(io.BytesIO(image))) for image in there_and_here]
        assert np.array_equal(*pixels)
    files = sorted((made.folder / blinded_rendering.PICTURES_FOLDER).iterdir())
    assert len(files) == len(away) and not any(
        film in file.name for file in files for film in films
    )
    assert site_bundles.check_bundle(made.folder) is not None
    whole = files[0].read_bytes()
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(UserError, match="changed after its creation"):
        site_bundles.check_bundle(made.folder)
    files[0].unlink()
    with pytest.raises(UserError, match="changed after its creation"):
        site_bundles.check_bundle(made.folder)
    files[0].write_bytes(whole)
    assert site_bundles.check_bundle(made.folder) is not None


def test_equal_images_of_a_bundle_have_different_files(own_study: Path, tmp_path: Path) -> None:
    """Two arms show the same mammograms: neither hash nor size of the files tells which."""
    close_open_study(own_study)
    freeze_image_study(own_study, ("image", "image_explanation"), "Twice")
    made = site_bundles.create_bundle(own_study, tmp_path / "away", "Twice", "team")
    with store.read(own_study) as con:
        pictures = reading_table.load_case_pictures(con, "Twice", 1)
    sources = [blinded_rendering.original_source(p.source) for p in pictures]
    assert len(set(sources)) < len(sources)
    files = [p.read_bytes() for p in (made.folder / blinded_rendering.PICTURES_FOLDER).iterdir()]
    assert len(files) == len(sources)
    assert len(set(files)) == len(files) and len({len(file) for file in files}) == 1
    # A study of the first release has neither files of its pictures nor hashes of its content.
    old = Path(shutil.copytree(own_study, tmp_path / "old"))
    with store.write(old) as con:
        con.execute("UPDATE protocols SET content = '{}' WHERE protocol = 'Twice'")
        con.execute(
            "UPDATE reading_pictures SET source = json_merge_patch(source, '{\"ready\": null}')"
        )
    made = site_bundles.create_bundle(old, tmp_path / "away_from_old", "Twice", "team")
    files = [p.read_bytes() for p in (made.folder / blinded_rendering.PICTURES_FOLDER).iterdir()]
    assert len(files) == len(sources)
    assert len(set(files)) == len(files) and len({len(file) for file in files}) == 1
    with store.write(own_study) as con:
        con.execute(
            "UPDATE reading_pictures SET source = (SELECT max(source) FROM reading_pictures)"
            " WHERE protocol = 'Twice' AND case_number = 1"
        )
    # What is not frozen does not leave the study.
    with pytest.raises(UserError, match="Twice"):
        site_bundles.create_bundle(own_study, tmp_path / "altered", "Twice", "team")
    assert not (tmp_path / "altered").exists()


def test_mammograms_that_predict_truth_are_a_warning(own_study: Path) -> None:
    generator = np.random.default_rng(1)
    truth = np.arange(60) % 2 == 0
    table = pd.DataFrame(
        {
            "truth": truth,
            "patient": range(60),
            "height": generator.normal(1.3, 0.1, 60),
            "grey": generator.normal(90, 9, 60),
            "scanner": generator.choice(["A", "B"], 60),
        }
    )
    assert {f.severity for f in image_issues(table, 1)} == {"note"}
    for name, values in (
        ("height", 1.3 + truth),
        ("grey", 90 + 9 * truth),
        ("scanner", np.where(truth, "A", "B")),
    ):
        warnings = [
            f for f in image_issues(table.assign(**{name: values}), 1) if f.severity == WARNING
        ]
        assert (
            len(warnings) == 1 and f"the mammograms' {name} predicts truth" in warnings[0].finding
        )
    workflow.create_protocol(
        own_study, "Films", design_preset("Recommended", name="Films", arms=("image",)), "team"
    )
    assert "the mammograms' grey is not shown to predict truth" in " ".join(
        f.finding for f in workflow.check_protocol(own_study, "Films", "team")[1]
    )
    workflow.create_protocol(
        own_study,
        "Words",
        design_preset("Recommended", name="Words", arms=("explanation",)),
        "team",
    )
    assert not [
        f for f in workflow.check_protocol(own_study, "Words", "team")[1] if f.field == "images"
    ]
