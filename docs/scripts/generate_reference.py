"""Generate the reference pages that are derived from the code.

Run `python docs/scripts/generate_reference.py` after adding a module, a command or a setting.
A test compares the pages with the code.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
FOLDERS = ("core", "evaluation", "dashboard", "benchmarks")


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]
    return sentence.rstrip(".").replace("|", "\\|")


def module_page() -> str:
    """Return the page that lists every module with the first sentence of its docstring."""
    lines = [
        "# Modules",
        "",
        "Generated from the modules' docstrings. Imports go one way: `dashboard`, `evaluation`,"
        " `core` ([architecture](../explanation/architecture.md)).",
        "",
    ]
    for folder in FOLDERS:
        lines += [f"## {folder}", "", first_sentence(ROOT / folder / "__init__.py") + ".", ""]
        lines += ["| module | subject |", "|---|---|"]
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT / folder)
            if relative.as_posix() not in ("__init__.py", "__main__.py"):
                name = relative.as_posix().replace("/__init__.py", "/")
                lines.append(f"| `{name}` | {first_sentence(path)} |")
        lines.append("")
    return "\n".join(lines)


def command_page() -> str:
    """Return the page that lists every command with its arguments and options."""
    from typer.main import get_command

    from dashboard.cli import app

    lines = [
        "# Commands",
        "",
        "`--study DIR` defaults to the current folder. Progress is written to stderr. With `--json`"
        " stdout is exactly one JSON object.",
        "",
        "`deepminer --version` prints the version. Exit codes: 0 done; 1 an error in the input,"
        " explained in one message; 2 wrong usage.",
        "",
    ]
    return "\n".join([*lines, *_command_sections(get_command(app), "deepminer")]) + "\n"


def _command_sections(group: Any, prefix: str) -> list[str]:
    lines: list[str] = []
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            lines += _command_sections(command, f"{prefix} {key}")
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [
            p
            for p in command.params
            if p.param_type_name == "option" and p.name not in ("help", "study", "as_json")
        ]
        usage = " ".join(_metavar(p) if p.required else f"[{_metavar(p)}]" for p in arguments)
        help_text = " ".join((command.help or "").split())
        lines += [f"## {prefix} {key} {usage}".rstrip(), "", help_text, ""]
        lines += [f"- `{_metavar(p)}`: {getattr(p, 'help', '') or ''}" for p in arguments]
        lines += [f"- `{', '.join(p.opts)}`: {p.help or ''}" for p in options]
        lines.append("")
    return lines


def _metavar(parameter: Any) -> str:
    return str(parameter.name).upper()


def settings_page() -> str:
    """Return the page that lists every setting of study.toml with its value in a new study."""
    from core import settings

    new_study = settings.settings_from_preset(settings.NEW_STUDY_PRESET)
    lines = [
        "# Settings",
        "",
        "`deepminer init` writes these settings to `study.toml`, each below its comment. After a"
        " change, the steps that read the setting run again; earlier runs remain.",
        "",
        "Values of the architecture's recipe are commented out in the file. They follow"
        " `training.architecture`.",
        "",
    ]
    for name in type(new_study).model_fields:
        section = getattr(new_study, name)
        lines += [f"## {name}", "", "| setting | new study | meaning |", "|---|---|---|"]
        for key, field in type(section).model_fields.items():
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(f"| `{key}` | `{getattr(section, key)}` | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def generated_pages() -> dict[Path, str]:
    """Return path -> text of every generated page."""
    return {
        REFERENCE / "modules.md": module_page(),
        REFERENCE / "commands.md": command_page(),
        REFERENCE / "settings.md": settings_page(),
    }


if __name__ == "__main__":
    for path, text in generated_pages().items():
        path.write_text(text, encoding="utf-8")
