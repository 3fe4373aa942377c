"""Write what can be read off the code: the README's file tree, docs/reference/commands.md and
docs/reference/settings.md. `python docs/scripts/generate_reference.py` after a change; a test compares.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- tree -->", "<!-- end of tree -->"
FOLDERS = ("core", "evaluation", "dashboard", "benchmarks")
FILES = (
    ("pyproject.toml", "packages and pins; settings of ruff, mypy and pytest"),
    ("Makefile", "make run, test, bench, lint, pictures"),
    (".ci/run", "what continuous integration runs: make test"),
    (".streamlit/config.toml", "server settings and the theme, light and dark"),
    ("tests/", "mirrors the three packages; the quick phantom study is built once for all"),
    ("docs/", "guides, and the scripts that draw the pictures and this tree"),
)


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return (
        re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]
        .rstrip(".")
        .replace("|", "\\|")
    )


def tree() -> str:
    """The tree as Markdown tables, a line per file."""
    lines = []
    for folder in FOLDERS:
        lines += [
            f"**{folder}/** {sentence(ROOT / folder / '__init__.py')}",
            "",
            "| file | subject |",
            "|---|---|",
        ]
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in ("__init__.py", "__main__.py") or path.parent != ROOT / folder:
                shown = path.relative_to(ROOT / folder).as_posix().replace("/__init__.py", "/")
                lines.append(f"| `{shown}` | {sentence(path)} |")
        lines.append("")
    lines += ["| else | |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in FILES)]
    return "\n".join(lines)


def rewritten(text: str) -> str:
    """The README's text with the tree of today."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n{tree()}\n{END}{rest.partition(END)[2]}"


def commands() -> str:
    """Every command with its arguments and options, as the command line itself knows them."""
    from typer.main import get_command

    from dashboard.cli import app

    lines = [
        "# Commands",
        "",
        (
            "`--study DIR` is the current folder if not given. Progress goes to stderr; with"
            " `--json` stdout is exactly one object."
        ),
        (
            "A command ends with 0 when it is done, with 1 and a single sentence when something"
            " given to it was wrong, and with 2 when it was typed wrongly."
        ),
        "",
    ]
    return "\n".join([*lines, *_group(get_command(app), "deepminer")]) + "\n"


def _group(group: Any, name: str) -> list[str]:
    lines: list[str] = []
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            lines += _group(command, f"{name} {key}")
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [
            p
            for p in command.params
            if p.param_type_name == "option" and p.name not in ("help", "study", "as_json")
        ]
        usage = " ".join([_shown(p) if p.required else f"[{_shown(p)}]" for p in arguments])
        lines += [
            f"## {name} {key} {usage}".rstrip(),
            "",
            " ".join((command.help or "").split()),
            "",
        ]
        lines += [f"- `{_shown(p)}`: {getattr(p, 'help', '') or ''}" for p in arguments]
        lines += [f"- `{', '.join(p.opts)}`: {p.help or ''}" for p in options]
        lines.append("")
    return lines


def _shown(parameter: Any) -> str:
    """An argument's name as the usage line prints it."""
    return str(parameter.name).upper()


def setting_table() -> str:
    """Every setting of study.toml with its value in a new study."""
    from core import settings

    fresh = settings.preset()
    lines = [
        "# Settings",
        "",
        (
            "`deepminer init` writes them, each under its comment, to `study.toml`. A changed value"
            " makes the steps that read it run anew; earlier runs stay."
        ),
        (
            "Values of the architecture's recipe are comments there: they follow when"
            " `training.architecture` is changed."
        ),
        "",
    ]
    for name in type(fresh).model_fields:
        section = getattr(fresh, name)
        lines += [f"## {name}", "", "| setting | new study | meaning |", "|---|---|---|"]
        lines += [
            f"| `{key}` | `{getattr(section, key)}` |"
            f" {(info.description or '').replace('|', chr(92) + '|')} |"
            for key, info in type(section).model_fields.items()
        ]
        lines.append("")
    return "\n".join(lines)


def everything() -> dict[Path, str]:
    """Path -> text of all that is built."""
    readme = ROOT / "README.md"
    return {
        readme: rewritten(readme.read_text(encoding="utf-8")),
        ROOT / "docs" / "reference" / "commands.md": commands(),
        ROOT / "docs" / "reference" / "settings.md": setting_table(),
    }


if __name__ == "__main__":
    for path, text in everything().items():
        path.write_text(text, encoding="utf-8")
