"""What the code base may not do, as functions over a tree of sources: each returns its findings, an empty list when all is well.

They read syntax trees, so a comment or a string never trips them, and take the root as an argument, so that a test can plant a
violation in a copy and see it found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("gateway", "profiles", "mappings", "conformance")
BEHIND_THE_DOOR = ("gateway.store.people", "gateway.store.resources", "gateway.store.search", "gateway.store.visible")
SQL_PACKAGES = ("sqlalchemy", "sqlmodel", "sqlite3", "psycopg", "alembic")
# The failure table, the delivery loop, and the one thread that writes: it hands what was raised to the caller that waits for it.
MAY_CATCH_EVERYTHING = ("gateway/web/outcomes.py", "gateway/delivery/worker.py", "gateway/store/sqlite_writer.py")
LONGEST_MODULE = 400


def sources(root: Path, *packages: str) -> Iterator[tuple[str, str, ast.Module]]:
    """Each module as (path below root, dotted name, syntax tree)."""
    for package in packages or PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            path = file.relative_to(root)
            name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            yield path.as_posix(), name, ast.parse(file.read_text(encoding="utf-8"), str(path))


def _is_within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every module or member a tree imports, by its full name; also by importlib and __import__ with a constant name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield node.lineno, node.args[0].value


def imports_past_the_door(root: Path) -> list[str]:
    """Who imports the tables of resources, index or permits and is neither the store nor access.records."""
    return [
        f"{path}:{line}: imports {imported}"
        for path, name, tree in sources(root, "gateway")
        if not _is_within(name, "gateway.store", "gateway.access.records")
        for line, imported in _imported(tree, name, is_package=path.endswith("__init__.py"))
        if _is_within(imported, *BEHIND_THE_DOOR)
    ]


def sql_outside_the_store(root: Path) -> list[str]:
    """Who imports a database library, or takes the connection out of a unit of work, and is not the store."""
    found = []
    for path, name, tree in sources(root, "gateway"):
        if _is_within(name, "gateway.store"):
            continue
        for line, imported in _imported(tree, name, is_package=path.endswith("__init__.py")):
            if _is_within(imported, *SQL_PACKAGES):
                found.append(f"{path}:{line}: imports {imported}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "connection" and not _is_within(name, "gateway.delivery", "gateway.web"):
                found.append(f"{path}:{node.lineno}: takes a connection")
            if isinstance(node, ast.Attribute) and node.attr == "connection" and getattr(node.value, "id", "") == "unit":
                found.append(f"{path}:{node.lineno}: takes the unit's connection")
    return sorted(set(found))


def makers_of_disclosed(root: Path) -> list[str]:
    """Who makes, copies or subclasses a Disclosed, or names its seal, outside access.records."""
    found = []
    for path, name, tree in sources(root, "gateway"):
        if _is_within(name, "gateway.access.records"):
            continue
        home = path == "gateway/access/disclosed.py"
        aliases = {"Disclosed"} | {
            alias.asname
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name == "Disclosed" and alias.asname
        }
        for node in ast.walk(tree):
            found += [f"{path}:{node.lineno}: {what}" for what in _forgery(node, aliases, home=home)]
    return found


def _forgery(node: ast.AST, aliases: set[str], *, home: bool) -> Iterator[str]:
    def is_disclosed(expression: ast.AST) -> bool:
        return getattr(expression, "id", getattr(expression, "attr", "")) in aliases

    if isinstance(node, ast.Call):
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if is_disclosed(node.func):
            yield "makes a Disclosed"
        elif called in ("__new__", "cast", "replace", "copy", "deepcopy") and any(is_disclosed(argument) for argument in node.args):
            yield f"forges a Disclosed by {called}"
    if isinstance(node, ast.ClassDef) and any(is_disclosed(base) for base in node.bases):
        yield "subclasses Disclosed"
    if home:
        return
    seal = ("_SEAL", "_Seal")
    if isinstance(node, ast.Attribute) and node.attr in seal:
        yield "takes the seal"
    if isinstance(node, ast.ImportFrom) and any(alias.name in seal for alias in node.names):
        yield "imports the seal"


def catches_everything(root: Path) -> list[str]:
    """Handlers of Exception, BaseException or anything that do not raise again, outside the places that may."""
    found = []
    for path, _, tree in sources(root):
        if path in MAY_CATCH_EVERYTHING:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {getattr(kind, "id", getattr(kind, "attr", "")) if kind else "BaseException" for kind in kinds}
            raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if names & {"Exception", "BaseException"} and not raises_again:
                found.append(f"{path}:{node.lineno}: catches everything")
    return found


def modules_too_long(root: Path) -> list[str]:
    """Modules over 400 lines; a migration is a list of statements, and may be as long as that is."""
    return [
        f"{file.relative_to(root).as_posix()}: {lines} lines"
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
        and not file.is_relative_to(root / "gateway/store/migrations/versions")
    ]


def modules_without_purpose(root: Path) -> list[str]:
    """Modules that do not open with what they are for."""
    return [path for path, _, tree in sources(root) if not ast.get_docstring(tree)]
