"""`python -m bench`: measures on SQLite and PostgreSQL, prints a table and writes build/bench.json. Exit 1 when a figure cannot count."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import databases, report
from bench.cases import Bench
from bench.load import ROOT, BenchFailed
from bench.postgres import new_database
from bench.report import Figure
from bench.site import open_site, prepare

DATABASES = ("sqlite", "postgresql")


def main() -> int:
    """Run, print, save."""
    asked = _arguments()
    rows: list[Figure] = []
    processes: list[dict[str, object]] = []
    notes: list[str] = []
    asked.folder = asked.folder.resolve()
    asked.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=asked.folder))
    folder.chmod(0o711)  # PostgreSQL runs as another account where we are root
    print(report.heading(), flush=True)
    try:
        for name in asked.databases:
            with _urls(name, folder) as urls:
                if urls is None:
                    notes.append(f"no PostgreSQL: install it, or set {databases.GIVEN}")
                    continue
                found, held = _measure(name, folder / name, urls, asked, notes.append)
                rows += found
                processes.append(held)
    except BenchFailed as failed:
        print(f"bench failed: {failed}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _finish(asked.output, rows, processes, notes)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case (10)")
    parser.add_argument("--clients", type=_numbers, default=(1, 4, 16), help="with commas between (1,4,16)")
    parser.add_argument("--databases", type=lambda text: text.split(","), default=DATABASES, help="of sqlite,postgresql (both)")
    parser.add_argument("--tasks", type=int, default=10_000, help="that the EHR has before the cases (10000)")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/bench", help="where the databases lie meanwhile (build/bench)")
    parser.add_argument("--output", type=Path, default=ROOT / "build/bench.json", help="(build/bench.json)")
    asked = parser.parse_args()
    if set(asked.databases) - set(DATABASES):
        parser.error("--databases: of sqlite,postgresql")
    return asked


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


@contextmanager
def _urls(name: str, folder: Path) -> Iterator[tuple[str, str] | None]:
    """The URLs of two empty databases: one for the gateway, one for the bare writes."""
    if name == "sqlite":
        yield databases.sqlite_url(folder, "gateway"), databases.sqlite_url(folder, "bare")
        return
    with ExitStack() as opened:
        server = opened.enter_context(databases.postgres_server(folder))
        if server is None:
            yield None
            return
        first, second = (opened.enter_context(new_database(server)) for _ in range(2))
        yield first, second


def _measure(
    name: str, folder: Path, urls: tuple[str, str], asked: argparse.Namespace, note: Callable[[str], None]
) -> tuple[list[Figure], dict[str, object]]:
    """The rows of one database, and its start time and memory."""
    with open_site(name, folder, *urls) as site:
        prepare(site, asked.tasks)
        for case, template in site.templates.items():
            note(f"{name}, {case}: writes {template.count} rows, {template.size / 1000:.1f} kB, in one operation")
        rows = Bench(site, asked.clients, asked.seconds, lambda row: print(report.line(row), flush=True), note).run()
        site.running.require_running()
        if failed := site.running.times_logged("worker", "row failed"):
            note(f"{name}: the worker failed at {failed} rows and took them up again after its first wait; their offers came so much later")
        held = dict(site.running.memory())
        return rows, {"database": name, "start_ms": round(site.start_milliseconds), "pss_mib": {k: round(v, 1) for k, v in held.items()}}


def _finish(output: Path, rows: list[Figure], processes: list[dict[str, object]], notes: list[str]) -> None:
    for each in processes:
        memory = ", ".join(f"{name} {mebibytes} MiB" for name, mebibytes in each["pss_mib"].items())  # type: ignore[attr-defined]
        notes.append(f"{each['database']}: first answer {each['start_ms']} ms after the start; PSS: {memory}")
    print("\n" + "\n".join(notes))
    report.save(rows, output)
    beside = output.with_name(f"{output.stem}-processes.json")
    beside.write_text(json.dumps(processes, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {output.name}, {beside.name}")


if __name__ == "__main__":
    sys.exit(main())
