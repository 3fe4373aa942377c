"""Labelled units by category over four networks, as a table and a figure in every format."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.annotation import category_confirmation, label_exchange
from core.class_labels import unit_name
from evaluation.queries import provenance, unit_summaries
from evaluation.reporting.figures import FIGURES, style
from evaluation.reporting.figures.export import FIGURE_FORMATS, export_figure
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.export import TABLE_FORMATS, export_table
from support import synthetic_study

# Published-style labels with their categories, written down independently of the lexicon.
TEXTS = {
    "Calcification, Mass": ("Calcification", "Mass"),
    "Masses with spiculated edges": ("Mass",),
    "Normal Breast Tissue": ("Normal tissue",),
    "Calcified vessels": ("Calcification",),
    "Chest Wall": ("Other",),
    "Dense Tissue, Microcalcifications": ("Composition", "Calcification"),
    "blurred": ("Own words",),
}
NETWORKS = {"alexnet": 34, "vgg16": 34, "inception_v3": 33, "resnet152": 33}


def label_of(unit: int) -> str:
    return list(TEXTS)[unit % len(TEXTS)]


def run_of(network: str) -> str:
    return f"dissect-00000000{list(NETWORKS).index(network):04d}"


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 134 labelled units of four dissected networks."""
    folder = tmp_path_factory.mktemp("networks")
    study = synthetic_study.create_study(folder / "study", protocol=False)
    with store.write(study) as con:
        con.execute("DELETE FROM runs WHERE kind = 'dissect'")
        con.execute("UPDATE runs SET manifest = '{\"classes\": 3}'")
        for k, network in enumerate(NETWORKS):
            for run, kind, parent, manifest in (
                (f"train-{k:012d}", "train", synthetic_study.PATCHES, {"architecture": network}),
                (run_of(network), "dissect", f"train-{k:012d}", {"layer": "last"}),
            ):
                con.execute(
                    "INSERT INTO runs VALUES (?, ?, '{}', ?, ?, ?::TIMESTAMP, 1.0)",
                    [run, kind, json.dumps([parent]), json.dumps(manifest), f"2026-01-0{k + 1}"],
                )
            con.execute(
                "INSERT INTO units (run, layer, unit, largest, quantile, dead, top_patients)"
                " SELECT ?, 'last', range, 1.0, 0.5, FALSE, 8 FROM range(40)",
                [run_of(network)],
            )
    for network, count in NETWORKS.items():
        file = folder / f"{network}.json"
        file.write_text(json.dumps({unit_name(u): label_of(u) for u in range(count)}))
        imported = label_exchange.import_labels(study, file, "team", run_of(network))
        assert imported.decided == count
    return study


def expected(network: str) -> Counter[str]:
    labels = [label_of(unit) for unit in range(NETWORKS[network])]
    return Counter(category for text in labels for category in TEXTS[text])


def test_table_in_every_format(networks: Path, tmp_path: Path) -> None:
    export = export_table(networks, TABLES["categories"], tmp_path)
    assert export.record is not None and export.record.counts == {"networks": 4, "units": 134}
    assert {f"table_categories.{suffix}" for suffix in TABLE_FORMATS} <= {
        path.name for path in tmp_path.iterdir()
    }
    table = pd.read_csv(tmp_path / "table_categories.csv").set_index("Category")
    for network, count in NETWORKS.items():
        title = next(c for c in table.columns if c.startswith(network) and "units" not in c)
        counts = {category: int(n) for category, n in table[title].items() if n}
        assert counts == expected(network) | {"Distinct units": count}
        names = table.loc["Mass", f"{title}: units"].split(", ")
        assert len(names) == counts["Mass"] and names[0] == "unit_0001*"
    for suffix in ("md", "tex"):
        text = (tmp_path / f"table_categories.{suffix}").read_text().replace("\\_", "_")
        assert all(name in text for name in ("resnet152", "Calcification", "unit_0033"))


def test_figure_in_every_format(networks: Path, tmp_path: Path) -> None:
    export = export_figure(networks, FIGURES["categories"], tmp_path, 85, FIGURE_FORMATS)
    assert export.record is not None and export.record.counts == {"networks": 4, "units": 134}
    for suffix in FIGURE_FORMATS:
        assert (tmp_path / f"categories.{suffix}").stat().st_size > 1000
    counts = pd.read_csv(tmp_path / "categories.counts.csv").set_index("category")
    assert counts.to_numpy().sum() == sum(sum(expected(n).values()) for n in NETWORKS)
    assert "counted in each of its categories" in export.record.caption


@pytest.mark.parametrize("width", [85, 174])
def test_figure_fits_its_page(networks: Path, width: float) -> None:
    with style.print_style():
        figure = FIGURES["categories"].plot(networks, width).figure
        figure.draw_without_rendering()
        page = figure.bbox.padded(0.1 / 25.4 * figure.dpi)
        boxes = [
            t.get_window_extent() for ax in figure.axes for t in (*ax.texts, *ax.get_xticklabels())
        ]
    assert all(all(map(page.contains, *zip(*box.corners()))) for box in boxes)
    labels = sorted(boxes[-4:], key=lambda box: box.x0)
    assert all(a.x1 <= b.x0 for a, b in pairwise(labels))


def test_confirmation_changes_table_and_input_hash(networks: Path) -> None:
    before = provenance.current_inputs(networks, ["labels"])
    newest = run_of("resnet152")
    category_confirmation.confirm_text(networks, "unit_0001", ["mass"], None, "team", newest)
    assert provenance.current_inputs(networks, ["labels"]) != before
    table = unit_summaries.category_cross_table(networks)
    column = next(name for name in table if name.startswith("resnet152"))
    calcification, mass = expected("resnet152")["Calcification"], expected("resnet152")["Mass"]
    # A confirmed unit has no mark, and has left the category that was corrected.
    assert table.loc["Calcification", column].startswith(f"{calcification - 1}: unit_0004*")
    assert table.loc["Mass", column].startswith(f"{mass}: unit_0001, unit_0002*")
    category_confirmation.undo_text(networks, "unit_0001", None, "team", newest)
    assert provenance.current_inputs(networks, ["labels"]) == before
