"""The tree under test, and copies of it to plant violations in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.rules.code_rules import PACKAGES

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_code(folder: Path) -> Path:
    """The four packages' sources and pyproject.toml in a folder of their own."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=lambda where, names: [n for n in names if not _is_source(where, n)])
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _is_source(where: str, name: str) -> bool:
    return name.endswith(".py") or (Path(where, name).is_dir() and name != "__pycache__")


def plant(root: Path, path: str, text: str) -> Path:
    """Write a file into a copy."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def published_files(root: Path = ROOT) -> list[Path]:
    """What git would publish: tracked files, and new ones that are not ignored. Without git, everything but the build's own."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=False)
    if listed.returncode == 0:
        return [file for name in listed.stdout.decode().split("\0") if name and (file := root / name).is_file()]
    own = {".venv", "build", "dist", ".git"}
    return [file for file in sorted(root.rglob("*")) if file.is_file() and not own & set(file.relative_to(root).parts)]
