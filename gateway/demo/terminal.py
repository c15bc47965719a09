"""How the demo looks. Everything shown comes from the caller; nothing here knows what ought to have happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gateway.demo.people import NAMES
from gateway.referral.responsibility import Entry
from gateway.store.audit import AuditRow

View = Sequence[tuple[str, str]]


class Terminal:
    """Prints the story. console: rich's, so that a pipe gets plain text."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def title(self, text: str, about: str) -> None:
        """The first thing one sees."""
        self.console.print()
        self.console.print(Panel(Text(about), title=f"[bold]{text}[/]", border_style="cyan", padding=(1, 2)))

    def scene(self, title: str, question: str) -> None:
        """A new scene."""
        self.console.print()
        self.console.print(Rule(f"[bold]{title}[/]", style="cyan"))
        self.console.print(Text(question, style="italic"))
        self.console.print()

    def note(self, text: str) -> None:
        """One plain line."""
        self.console.print(Text(f"  {text}", style="dim"))

    def exchange(self, sender: str, receiver: str, request: str, status: int, said: str = "") -> None:
        """One request and its answer."""
        line = Text("  ")
        line.append(f"{sender:>13}", "bold")
        line.append(" → ", "cyan")
        line.append(f"{receiver:<13}", "bold")
        line.append(f" {request} ")
        line.append(str(status), "bold green" if status < 300 else "bold yellow" if status < 500 else "bold red")
        if said:
            line.append(f"  {said}", "dim")
        self.console.print(line)

    def side_by_side(self, left_title: str, left: View, right_title: str, right: View) -> None:
        """What two parties read at the same moment."""
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(_view(left_title, left, "blue"), _view(right_title, right, "green"))
        self.console.print()
        self.console.print(grid)

    def holder(self, holder: str, entry: Entry) -> None:
        """Who holds the referral, and the ledger's entry that says so."""
        line = Text("  responsible now: ")
        line.append(NAMES.get(holder, holder), "bold magenta")
        line.append(f"   ledger entry {entry.sequence} ({entry.kind}, by {entry.actor}), hash {entry.hash[:12]}…", "dim")
        self.console.print(line)
        self.console.print()

    def ledger(self, entries: Sequence[Entry]) -> None:
        """The chain of responsibility."""
        table = Table(title="the ledger", title_justify="left", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("#", "at (UTC)", "entry", "from", "to", "by"):
            table.add_column(name)
        for entry in entries:
            table.add_row(str(entry.sequence), entry.at[11:19], entry.kind, entry.from_organization, entry.to_organization, entry.actor)
        self.console.print(table)

    def audit(self, rows: Sequence[AuditRow]) -> None:
        """What was told to whom, on which ground."""
        table = Table(title="the audit log", title_justify="left", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("at (UTC)", "what", "to", "policy rows", "outcome"):
            table.add_column(name, overflow="fold")
        for (organization, outcome), run in groupby(rows, key=lambda row: (row.organization, row.outcome)):
            together = list(run)
            done = ", ".join(
                action if count == 1 else f"{count} × {action}" for action, count in Counter(row.action for row in together).items()
            )
            policy = " ".join(sorted({each for row in together for each in row.policy_row.split()}))
            table.add_row(f"{together[0].recorded:%H:%M:%S}", done, organization, policy, outcome)
        self.console.print(table)
        self.console.print(Text(f"  {len(rows)} rows, those that follow each other to one party in one line", style="dim"))

    def gap(self) -> None:
        """An empty line."""
        self.console.print()

    def lines(self, title: str, rows: Mapping[str, str]) -> None:
        """Names and addresses."""
        self.console.print()
        self.console.print(Text(title, style="bold"))
        for name, value in rows.items():
            self.console.print(Text.assemble("  ", (f"{name:<22}", "dim"), value), soft_wrap=True)

    def commands(self, title: str, lines: Sequence[str]) -> None:
        """Lines to be copied into a shell: never wrapped, never coloured inside."""
        self.console.print()
        self.console.print(Text(title, style="bold"))
        for line in lines:
            self.console.print(Text(f"  {line}"), soft_wrap=True)

    def failed(self, text: str) -> None:
        """What went wrong."""
        self.console.print()
        self.console.print(Panel(Text(text), title="[bold]the demo did not come through[/]", border_style="red"))


def _view(title: str, rows: View, colour: str) -> Panel:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    return Panel(table, title=f"[bold]{title}[/]", title_align="left", border_style=colour)


def clock(text: str) -> str:
    """Time of day, in UTC, of an instant as the gateway writes it."""
    return f"{datetime.fromisoformat(text):%H:%M:%S}"
