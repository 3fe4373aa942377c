"""An installed wheel serves the same pages as a checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support import synthetic_study
from support.paths import ROOT

PACKAGES = ("core", "evaluation", "dashboard")
DATA_SUFFIXES = {".css", ".html", ".js", ".md", ".toml", ".txt", ".woff2"}
PROBE = """
import json, sys
from pathlib import Path
import core, dashboard, evaluation
from dashboard import application
from streamlit import config
application.create_application(Path(sys.argv[1]))
# One is random, the other a path.
names = set(config.get_config_options()) - {"server.cookieSecret", "secrets.files"}
options = {name: config.get_option(name) for name in names}
files = {
    f"{package.__name__}/{path.relative_to(root)}"
    for package in (core, dashboard, evaluation)
    for root in [Path(package.__file__).parent]
    for path in root.rglob("*")
    if path.suffix in SUFFIXES
}
print(json.dumps([str(Path(dashboard.__file__).parents[1]), options, sorted(files)], default=str))
"""


def probe(python: Path | str, study: Path, path: str = "") -> tuple[str, dict, list[str]]:
    """Return the folder of the packages, Streamlit's options and the data files."""
    code = f"SUFFIXES = {DATA_SUFFIXES!r}\n{PROBE}"
    command = [str(python), "-c", code, str(study)]
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(study)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=study, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    folder, options, files = json.loads(done.stdout.splitlines()[-1])
    return folder, options, files


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources; setuptools writes into its source tree."""
    source = folder / "source"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True)
    return next(folder.glob("deepminer-*.whl"))


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into an empty environment that sees this one's dependencies."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    # The packages in a folder named by a .pth file are visible, but .pth files in it are not
    # read: the editable installation of the checkout stays out of the new environment.
    site_packages = next(environment.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return environment


@pytest.mark.slow
def test_the_wheel_serves_like_a_checkout(tmp_path: Path) -> None:
    environment = install(build_wheel(tmp_path), tmp_path)
    study = synthetic_study.create_study(tmp_path / "study")
    folder, options, files = probe(environment / "bin" / "python", study)
    checkout_folder, checkout_options, checkout_files = probe(sys.executable, study, str(ROOT))
    assert folder.startswith(str(environment)) and checkout_folder == str(ROOT)
    assert options == checkout_options
    assert options["theme.baseFontSize"] == 14 and options["server.enableStaticServing"]
    assert files == checkout_files and "dashboard/static/inter.woff2" in files
    done = subprocess.run(
        [str(environment / "bin" / "deepminer"), "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.strip() == "deepminer 0.1.0"
