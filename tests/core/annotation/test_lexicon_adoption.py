"""The lexicon of a study is copied into its store, and its answers stay readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.annotation.label_exchange import export_labels, import_labels
from core.annotation.lexicon_adoption import adopt_lexicon
from core.annotation.unit_categories import unit_categories
from core.errors import UserError
from core.lexicon.annotation_answers import create_answer
from core.lexicon.birads_categories import BIRADS
from core.store import annotation_table, dataset_table
from core.store.labels import label_states
from support import synthetic_study

RUN = synthetic_study.DISSECT
LEXICON = """\
name = "Photographs"
questions = ["What do these images show?"]
practice = [["Leaves"], ["Sky"], ["Leaves"], ["Sky"], ["Leaves"]]

[[categories]]
name = "foliage"
key = "F"
noun = "leaves"
words = ["leaf", "leaves"]

[[categories]]
name = "sky"
key = "S"
words = ["sky"]
"""
LEAVES = {"category": "foliage", "terms": {}, "association": None}


@pytest.fixture
def own_words(study: Path) -> Path:
    """A study whose study.toml names a lexicon of its own."""
    (study / "study.toml").write_text('[annotation]\nlexicon = "words.toml"\n', encoding="utf-8")
    (study / "words.toml").write_text(LEXICON, encoding="utf-8")
    return study


def change(study: Path, old: str, new: str) -> None:
    text = (study / "words.toml").read_text(encoding="utf-8")
    assert old in text
    (study / "words.toml").write_text(text.replace(old, new), encoding="utf-8")


def test_a_study_without_its_own_file_has_the_default(study: Path) -> None:
    assert adopt_lexicon(study) is BIRADS
    with store.read(study) as con:
        assert dataset_table.get_meta(con, "lexicon") is None
        assert dataset_table.load_lexicon(con) is BIRADS


def test_labels_stay_readable_without_the_file(own_words: Path) -> None:
    lexicon = adopt_lexicon(own_words)
    with store.write(own_words) as con:
        synthetic_study.annotate(con, "A1", 0, create_answer([LEAVES], 3, lexicon))
    (own_words / "words.toml").unlink()
    with store.read(own_words) as con:
        labels = label_states.unit_labels(con, RUN, ())
        assert labels[0].text == "Leaves"
        assert unit_categories(con, RUN, labels)[0].names == ("foliage",)
        assert dataset_table.load_lexicon(con) == lexicon


def test_words_of_answers_cannot_change(own_words: Path) -> None:
    lexicon = adopt_lexicon(own_words)
    change(own_words, 'noun = "leaves"', 'noun = "foliage"')  # nobody has answered yet
    change(own_words, 'noun = "foliage"', 'noun = "leaves"')
    with store.write(own_words) as con:
        synthetic_study.annotate(con, "A1", 0, create_answer([LEAVES], 3, lexicon))
    change(own_words, 'name = "sky"\nkey = "S"', 'name = "sky"\ntitle = "Heaven"\nkey = "E"')
    assert adopt_lexicon(own_words).category("sky").title == "Heaven"
    change(own_words, 'noun = "leaves"', 'noun = "foliage"')
    with pytest.raises(UserError, match="Photographs .* 'Leaves' was answered in other words"):
        adopt_lexicon(own_words)
    (own_words / "study.toml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="The lexicon BI-RADS .* does not fit the answers"):
        adopt_lexicon(own_words)
    with store.read(own_words) as con:
        assert dataset_table.load_lexicon(con).category("foliage").noun == "leaves"


def test_label_files_use_the_lexicon(own_words: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("unit,set,label\nunit_0001,E1,Leaves before the sky\n", encoding="utf-8")
    import_labels(own_words, file, "team")
    with store.read(own_words) as con:
        (answer,) = annotation_table.load_annotations(con)["answer"]
        labels = label_states.unit_labels(con, RUN, ())
        proposed = unit_categories(con, RUN, labels)[0]
    assert answer["label"] == "Leaves before the sky"
    assert (proposed.names, proposed.state) == (("foliage", "sky"), "proposed")
    exported = tmp_path / "labels.json"
    export_labels(own_words, exported)
    assert '"name": "Photographs"' in exported.read_text(encoding="utf-8")
