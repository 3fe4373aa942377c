"""The archive of all exports: folders, files, and the page that lists them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from evaluation.reporting import archive


def test_archive_of_exports(tmp_path: Path) -> None:
    for name, kind, files in (
        ("a", "figure", ["a.pdf", "a.svg", "a.png", "gone.csv"]),
        ("b", "table", ["b.csv"]),
        ("c", "figure", ["c.png"]),
    ):
        record = {
            "name": name,
            "kind": kind,
            "title": f"Title {name}",
            "caption": f"Caption {name}",
            "simulated": "images" if name == "a" else "",
            "data_hash": name * 20,
            "command": f"deepminer {name}",
            "files": files,
        }
        (tmp_path / f"{name}.provenance.json").write_text(json.dumps(record))
        for file in files:
            if not file.startswith("gone"):
                (tmp_path / file).write_text(f"content of {file}")
    data = archive.zip_exports(tmp_path, "My study & 2")
    root = "My-study-2-exports"
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        names = opened.namelist()
        assert names == [
            *(f"{root}/figures/a/{n}" for n in ("a.pdf", "a.svg", "a.png", "a.provenance.json")),
            *(f"{root}/tables/b/{n}" for n in ("b.csv", "b.provenance.json")),
            *(f"{root}/figures/c/{n}" for n in ("c.png", "c.provenance.json")),
            f"{root}/index.html",
        ]
        assert opened.read(names[1]).decode() == "content of a.svg"
        assert opened.getinfo(names[0]).compress_type == zipfile.ZIP_DEFLATED
        page = opened.read(names[-1]).decode()
    assert "<h1>My study &amp; 2: figures and tables</h1>" in page and page.endswith("\n")
    assert page.index("Title a") < page.index("Title c") < page.index("Title b")
    assert 'src="figures/a/a.svg"' in page and 'src="figures/c/c.png"' in page
    assert page.count("<img") == 2 and page.count("SIMULATED images") == 1
    assert "Numbers aaaaaaaaaaaa. Again: <code>deepminer a</code>" in page and "gone" not in page
    assert ">Study: figures" in archive._index_page("", {})
