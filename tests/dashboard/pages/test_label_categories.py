"""Free text on the Annotations page: confirm, undo; the same by command; choice of a label set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.annotation import label_exchange
from core.annotation.category_confirmation import list_texts
from core.class_labels import unit_name
from core.store import run_table, unit_table
from dashboard.commands.labels import categories_command, confirm_command, undo_command
from support.team_page import Open, button, open_section, page_text


@pytest.fixture
def imported(own_study: Path, tmp_path: Path) -> Path:
    """The demonstration with two imported labels of its most influential units."""
    with store.write(own_study) as con:
        run = run_table.latest_run(con, "explain") or ""
        influences = unit_table.load_top_influences(con, run, 2)
        units = [unit_name(int(unit)) for unit in influences["unit"].value_counts().index[:2]]
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(dict(zip(units, ("Calcification, Mass", "blurred")))))
    # No raw answers of these units: the labels are consensus labels of another study.
    with store.write(own_study) as con:
        con.execute("DELETE FROM annotations")
        con.execute("DELETE FROM decisions")
    label_exchange.import_labels(own_study, file, "team")
    return own_study


def test_page_and_commands(
    imported: Path, open_page: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.read(imported) as con:
        run = run_table.latest_run(con, "dissect") or ""
    first = next(text for text in list_texts(imported, run) if text["state"] == "proposed")
    page = open_page(imported, "annotations")
    open_section(page, "Categories")
    text = page_text(page)
    assert "2 proposed, 0 confirmed" in text and "not recorded" not in text
    # The text without a known word waits first or second; "Next" leads to the other.
    if not page.multiselect[0].value:
        assert button(page, "Confirm").disabled
        button(page, "Next").click().run()
    assert page.multiselect[0].value == ["calcification", "mass"]
    button(page, "Confirm").click().run()
    assert "1 proposed, 1 confirmed" in page_text(page)
    confirmed = [t for t in list_texts(imported) if t["state"] == "confirmed"]
    assert confirmed == [{**first, "state": "confirmed"}]
    button(page, "Undo").click().run()
    assert "2 proposed, 0 confirmed" in page_text(page)

    confirm_command(first["unit"], "mass", None, imported)
    categories_command(imported)
    undo_command(first["unit"], None, imported)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{first['unit']}: mass, confirmed for: Calcification, Mass"
    assert f"{first['unit']} (consensus): mass, confirmed: Calcification, Mass" in lines
    assert lines[-1] == f"{first['unit']}: calcification, mass, proposed."


def test_explanations_name_their_label_set(imported: Path, open_page: Open) -> None:
    page = open_page(imported, "explanations", kind="all")
    choice = next(box for box in page.selectbox if box.label == "Labels that name the units")
    assert choice.value == "default" and 'Label set "default"' in page_text(page)
    choice.set_value("published").run()
    assert 'Label set "published"' in page_text(page) and not page.exception
