"""`python -m tests.faults`: brings every fault about on real processes and prints what held. Exit 1 when anything did not."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.faults.case import BOTH
from tests.faults.catalogue import all_cases, short_cases
from tests.faults.report import heading, line, save
from tests.faults.run import Runner
from tests.peers.machine import REPOSITORY

NAMES = {"sqlite": "sqlite", "postgres": "postgresql", "postgresql": "postgresql"}


def main() -> int:
    """Run, print, save."""
    asked = _arguments()
    cases = short_cases() if asked.short else all_cases(asked.moments)
    wanted = [case for case in cases if not asked.only or any(word in case.name for word in asked.only)]
    if asked.list:
        print("\n".join(f"{case.name:<28} {', '.join(case.databases):<20} {case.about}" for case in wanted))
        return 0
    signal.signal(signal.SIGTERM, _leave)  # else the processes of a site would outlive this one
    print(heading(), flush=True)
    rows = []
    for database in asked.databases:
        with Runner(database, asked.seed, keep=asked.keep, short=asked.short) as runner:
            for case in wanted:
                if database in case.databases:
                    row = runner.run(case)
                    rows.append(row)
                    print(line(row), flush=True)
        if asked.keep:
            print(f"databases and logs are left in {runner.folder}")
    save(rows, asked.output, seed=asked.seed)
    failed = [row for row in rows if not row.ok]
    for row in failed:
        print(f"\n{row.case} on {row.database}:\n  " + "\n  ".join(row.faults))
    print(f"\n{len(rows)} cases, {len(failed)} failed; seed {asked.seed}")
    return 1 if failed or not rows else 0


def _leave(*_: object) -> None:
    sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (1)")
    parser.add_argument("--databases", type=_databases, default=BOTH, help="of sqlite,postgres (both)")
    parser.add_argument("--only", action="append", help="cases whose name holds this; may be given again")
    parser.add_argument("--moments", type=int, default=50, help="random moments of death (50)")
    parser.add_argument("--short", action="store_true", help="the short form: faults in turn, looked at once in the end")
    parser.add_argument("--keep", action="store_true", help="leave databases and logs behind, and say where")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/faults.json", help="(build/faults.json)")
    return parser.parse_args()


def _databases(text: str) -> tuple[str, ...]:
    try:
        return tuple(NAMES[part] for part in text.split(","))
    except KeyError as unknown:
        raise argparse.ArgumentTypeError(f"no database {unknown}; of sqlite,postgres") from None


if __name__ == "__main__":
    sys.exit(main())
