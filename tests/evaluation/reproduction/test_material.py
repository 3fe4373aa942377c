"""Files of a release: names, classes, and what is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import UserError
from evaluation.reproduction import material
from evaluation.reproduction.material import CheckpointFile


def test_files_of_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of networks and classes are read from paths; images are not searched."""
    sheets = list(material._SHEETS.values())
    for name in (
        *("nets/resnet152/best.pth", "vgg16/resnet152_2class.tar", "xvgg16/model.PT"),
        *("vgg16_bn/unit_labels_2class.json", "unit_labels.csv", "ddsm_raw/unit_labels.json"),
        *("alexnet-3class/labels.json", "notes.json", "vgg16/labels.txt", "broken/vgg16.pt"),
        *(f"sheets/{sheet}" for sheet in sheets[:2]),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sizes = {"best.pth": 3, "resnet152_2class.tar": 2}

    def read_state(file: Path) -> int:
        if file.name not in sizes:
            raise UserError("no weights")
        return sizes[file.name]

    monkeypatch.setattr(material.networks, "read_state", read_state)
    monkeypatch.setattr(material.networks, "head_size", lambda state: state)
    monkeypatch.setattr(material.deepminer_release, "find_release_root", lambda folder: None)
    kinds = {"unit_labels.csv": "expert"}
    monkeypatch.setattr(
        material,
        "read_label_file",
        lambda file, lexicon: [SimpleNamespace(set=kinds.get(file.name, "consensus"))],
    )
    found = material.find_material(tmp_path)
    assert found.films is None and found.patch_labels == () and found.sheets == {}
    assert found.checkpoints == (
        CheckpointFile(tmp_path / "nets/resnet152/best.pth", "resnet152", 3),
        CheckpointFile(tmp_path / "vgg16/resnet152_2class.tar", "resnet152", 2),
    )
    assert [(f.file.name, f.architecture, f.classes) for f in found.labels] == [
        ("unit_labels.csv", "resnet152", 3),
        ("labels.json", "alexnet", 3),
        ("unit_labels_2class.json", "vgg16_bn", 2),
    ]
    assert [(gap.part, gap.effect.partition(":")[0]) for gap in found.gaps] == [
        (
            "films (ddsm_raw)",
            "no classifier is evaluated, no unit dissected and no mammogram explained",
        ),
        ("broken/vgg16.pt", "not used"),
        ("xvgg16/model.PT", "not used"),
        ("checkpoint vgg16, 2 classes", "its values are not computed"),
        ("checkpoint inception_v3, 2 classes", "its values are not computed"),
        ("checkpoint alexnet, 2 classes", "its values are not computed"),
        *(
            (f"unit labels of SPIE 2018, {name}", "its units are not counted")
            for name in ("alexnet", "inception_v3", "resnet152", "vgg16")
        ),
        (f"reading study, {sheets[2]}", "the published answers are not analysed"),
    ]
    assert found.gaps[1].effect == "not used: no weights"
    (tmp_path / "sheets" / sheets[2]).touch()
    complete = material.find_material(tmp_path).sheets
    assert complete == {key: tmp_path / "sheets" / name for key, name in material._SHEETS.items()}
    assert material._SHEETS == {
        "cases": "explanations-benchmark.csv",
        "responses": "explanations-benchmark-responses.csv",
        "key": "explanations-benchmark-answer-key.csv",
    }
    (tmp_path / sheets[0]).touch()
    with pytest.raises(UserError, match="have one name"):
        material.find_material(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        material.find_material(tmp_path / sheets[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="none of the published files"):
        material.find_material(tmp_path / "empty")


def test_one_kind_of_material_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material.deepminer_release, "find_release_root", lambda folder: None)
    kinds = ("_patch_label_classes", "_find_checkpoints", "_find_labels", "_find_sheets")
    for kind in kinds[1:]:
        for name in kinds:
            result: Any = {"cases": 1} if name == kind == "_find_sheets" else ("x",)
            monkeypatch.setattr(
                material, name, lambda *_, result=result if name == kind else (): result
            )
        assert material.find_material(tmp_path).gaps == ()
    monkeypatch.setattr(material, "_find_sheets", lambda *_: {})
    monkeypatch.setattr(material.deepminer_release, "find_release_root", lambda folder: folder)
    assert material.find_material(tmp_path).films == tmp_path


def test_what_films_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = SimpleNamespace(findings={})
    descriptions = SimpleNamespace(overlays={}, words=words)
    problems = [SimpleNamespace(item="x.jpg", cause="not a file name of the release")]
    monkeypatch.setattr(material, "read_descriptions", lambda films: descriptions)
    monkeypatch.setattr(
        material.deepminer_release, "list_tasks", lambda films, *, skip_bad: ([], problems)
    )

    def find() -> tuple[tuple[int, ...], list[tuple[str, str]]]:
        gaps: list[material.Gap] = []
        present = material._patch_label_classes(tmp_path, gaps)
        return present, [(gap.part, gap.effect) for gap in gaps]

    masks = ("masks (ddsm_masks)", "films have no findings and no truth")
    reports = (
        "reports (ddsm_meta_data, or .OVERLAY files)",
        "explanations stand without reports, and similarity to reports is not measured",
    )
    labels = {
        classes: (
            f"patch labels (ddsm_labels/{classes}class)",
            "windows and labels of patches follow the overlap rule instead",
        )
        for classes in (3, 2)
    }
    last = ("x.jpg", "not a file name of the release")
    assert find() == ((), [masks, reports, labels[3], labels[2], last])
    (tmp_path / "ddsm_masks" / "3class").mkdir(parents=True)
    (tmp_path / "ddsm_masks" / "3class" / "a.png").touch()
    descriptions.overlays = {"A": ("a.OVERLAY",)}
    for classes, names in ((3, ("train", "val")), (2, ("train", "val", "test"))):
        folder = tmp_path / "ddsm_labels" / f"{classes}class"
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.txt").touch()
    assert find() == ((2,), [labels[3], last])
    (tmp_path / "ddsm_labels" / "3class" / "test.txt").touch()
    descriptions.overlays, words.findings = {}, {"A": ["finding"]}
    assert find() == ((3, 2), [last])
    words.findings = {}
    assert find() == ((3, 2), [reports, last])


@pytest.mark.parametrize(
    ("path", "architecture"),
    [
        ("VGG16_bn/w.pt", "vgg16_bn"), ("vgg16/resnet152-3class.pt", "resnet152"),
        ("resnet1520/w.pt", None), ("my_vgg16.pt", "vgg16"), ("alexnet/inner/w.pt", "alexnet"),
        ("xalexnet/w.pt", None),
    ],
)  # fmt: skip
def test_networks_that_paths_name(path: str, architecture: str | None) -> None:
    assert material._architecture_of(Path("vgg19"), Path("vgg19") / path) == architecture


def test_checkpoints_of_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each network one; that of HDSR last, so that figures show it."""
    heads = {"resnet152.pt": 3, "vgg16.pt": 2, "alexnet.pt": 2, "inception_v3.pt": 2}
    files = [tmp_path / name for name in (*heads, "notes.txt")]
    monkeypatch.setattr(material.networks, "read_state", lambda file: file.name)
    monkeypatch.setattr(material.networks, "head_size", lambda name: heads.get(name, 2))
    gaps: list[material.Gap] = []
    found = material._find_checkpoints(tmp_path, files, gaps)
    assert [(c.file.name, c.classes) for c in found] == [
        *(("alexnet.pt", 2), ("inception_v3.pt", 2), ("vgg16.pt", 2), ("resnet152.pt", 3)),
    ]
    assert gaps == [material.Gap("checkpoint resnet152, 2 classes", "its values are not computed")]
    twice = tmp_path / "vgg16" / "w.pt"
    with pytest.raises(UserError, match="are both vgg16 with 2 classes; leave the published one"):
        material._find_checkpoints(tmp_path, [*files, twice], [])
