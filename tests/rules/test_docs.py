"""The pages tell the truth: settings, links, commands, addresses and the tables they repeat are those of the code."""

from __future__ import annotations

import json
import re
from functools import cache

import pytest
from typer.main import get_command
from werkzeug.exceptions import HTTPException

import conformance.__main__ as kit
from conformance.checks import all_checks
from conformance.keys import make_keys
from gateway.__main__ import COMMANDS, make_cli
from gateway.access.posture import POSTURES
from gateway.app import create_app, make_services
from gateway.commands.addresses import address_check
from gateway.referral.directory import read_parties, service_types
from gateway.settings import Settings, described
from gateway.web.outcomes import STATUSES
from tests.rules.trees import ROOT, plant

CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
ADDRESS = re.compile(r"(?:\b(GET|HEAD|POST|PUT|PATCH|DELETE) |\$GATEWAY)(/[^\s`'\"?#]*)")
PLACEHOLDER = re.compile(r"<[^>]+>|\{[^}]+\}|\$[A-Z]+|…")
STAND_INS_TOO = "conformance.md"  # names addresses of the stand-ins beside the gateway's


def pages(root):
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def read(file):
    return file.read_text(encoding="utf-8")


def code_lines(text):
    """The lines of what is set as code, in blocks and in sentences, without comments; a line that goes on is one."""
    found = "\n".join(block or span for block, span in CODE.findall(text)).replace("\\\n", " ")
    return [line.partition(" #")[0] for line in found.splitlines()]


def table_rows(text, heading):
    """The cells of every table below a heading, as lists of texts."""
    section = re.split(r"^## ", text.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("|")]


def codes(cell):
    return set(re.findall(r"`([^`]+)`", cell))


# --- settings ---


def wrong_settings(root):
    """Rows of the README's table that are not those of the code, and those of the code that are not there."""
    shown = {tuple(cell.strip("` |") for cell in row) for row in table_rows(read(root / "README.md"), "## Settings")[2:]}
    real = {(name, default or "none", about) for name, default, about in described()}
    return sorted(shown ^ real)


def test_every_setting_stands_in_the_readme_with_its_default_and_meaning():
    assert wrong_settings(ROOT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("`CRISIS_GATEWAY_THREADS` | `8`", "`CRISIS_GATEWAY_THREADS` | `9`"), ("_THREADS", "_THREDS"), ("Server processes.", "Processes.")],
)
def test_a_planted_change_of_a_setting_is_found(tmp_path, old, new):
    plant(tmp_path, "README.md", read(ROOT / "README.md").replace(old, new, 1))
    assert len(wrong_settings(tmp_path)) == 2


# --- links ---


def anchors(file):
    """The anchors of a page's headings, as the forges make them."""
    return {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in read(file).splitlines() if line.startswith("#")
    }


def broken_links(root):
    found = []
    for page in pages(root):
        for link in LINK.findall(read(page)):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
                found.append(f"{page.name}: {link}")
    return found


def test_every_relative_link_leads_somewhere():
    assert broken_links(ROOT) == []


@pytest.mark.parametrize("link", ["docs/nothing.md", "README.md#nothing", "#nothing", "../README.md"])
def test_a_planted_dead_link_is_found(tmp_path, link):
    plant(tmp_path, "README.md", f"# Here\n\n[here](#here) [there](https://hl7.org/nothing) [dead]({link})\n")
    assert broken_links(tmp_path) == [f"README.md: {link}"]


# --- commands ---


@cache
def command_lines():
    return {"crisis-gateway": get_command(make_cli(sorted(COMMANDS))), "crisis-conformance": get_command(kit.app)}


def unknown_of_command(program, words):
    """What of a command line the program does not have: a command, or an option of it."""
    command = command_lines()[program]
    for word in words:
        if word.startswith("-") and word != "-":
            options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
            if word.partition("=")[0] not in options:
                return word
        elif getattr(command, "commands", None):
            if word not in command.commands:
                return word
            command = command.commands[word]
    return None


def unknown_commands(root):
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    found = []
    for page in pages(root):
        for line in code_lines(read(page)):
            for program, rest in re.findall(r"\b(crisis-gateway|crisis-conformance)((?: +[^\s|;&()<>`]+)*)", line):
                unknown = unknown_of_command(program, rest.split())
                found += [f"{page.name}: {program}: {unknown}"] if unknown else []
            found += [f"{page.name}: make {name}" for name in re.findall(r"\bmake ([a-z][a-z-]*)", line) if name not in targets]
    return found


def test_every_command_and_option_that_is_named_exists():
    assert unknown_commands(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "make bake",
        "crisis-gateway bake",
        "crisis-gateway client bake",
        "TOKEN=$(crisis-gateway token some-client --kee some.key.json)",
        "crisis-conformance bake",
        "crisis-conformance run --target https://gateway.example --bake",
    ],
)
def test_a_planted_command_is_found(tmp_path, line):
    plant(tmp_path, "docs/planted.md", f"Say:\n\n```\n{line}\n```\n\nor `{line}`, but not {line}.\n")
    assert len(unknown_commands(tmp_path)) == 2


# --- addresses ---


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    services = make_services(Settings(database_url=f"sqlite:///{folder}/none.db", keys=folder / "keys"))
    return create_app(services).url_map.bind("")


def unknown_addresses(root, routes):
    found = []
    for page in pages(root):
        for line in code_lines(read(page)) if page.name != STAND_INS_TOO else ():
            for method, path in ADDRESS.findall(line):
                address = PLACEHOLDER.sub("x", path).rstrip(".,;)")
                try:
                    methods = [method] if method else routes.allowed_methods(address)
                    routes.match(address, method=next(iter(methods), "GET"))
                except HTTPException:
                    found.append(f"{page.name}: {method or 'any'} {path}")
    return found


def test_every_address_that_is_named_is_served(routes):
    assert unknown_addresses(ROOT, routes) == []


@pytest.mark.parametrize(
    "line", ["POST /intake/niem", "DELETE /fhir/Task/{id}", "curl -s $GATEWAY/fhir/Basic", "GET /referrals/<receipt>/who"]
)
def test_a_planted_address_is_found(tmp_path, routes, line):
    plant(tmp_path, "README.md", f"`{line}` and `GET /referrals/<receipt>`\n")
    assert len(unknown_addresses(tmp_path, routes)) == 1


def test_the_addresses_are_found_where_the_readme_names_them():
    named = {path for line in code_lines(read(ROOT / "README.md")) for _, path in ADDRESS.findall(line)}
    assert {"/intake/rms-diversion", "/referrals/<receipt>", "/fhir/Task/{id}", "/fhir/Consent/$CONSENT"} <= named


# --- what pages repeat from data ---


def data(name):
    return json.loads(read(ROOT / "gateway" / name))


def wrong_moves(text):
    """Task moves of the page for receivers that are not those of states.json, and the other way about."""
    shown = {(codes(row[0]).pop(), new) for row in table_rows(text, "## Answer")[2:] for new in codes(row[1])}
    real = {(row["from"], row["to"]) for row in data("referral/states.json")["transitions"] if row["by"] == "owner"}
    return sorted(shown ^ {move for move in real if move[0] != move[1]})


def wrong_policy_rows(text):
    """Rows of the policy that the page on privacy does not name, and those it names that are not there."""
    return sorted(set(re.findall(r"\b[A-Z]\d\d\b", text)) ^ {row["id"] for row in data("access/policy.json")["rows"]})


def wrong_words(text):
    """Words a police sender may read that the README's table does not have, and those it has beside them."""
    shown = {word for row in table_rows(text, "## Send")[2:] for word in codes(row[0])}
    return sorted(shown ^ set(data("referral/sender_view.json")["permits"]["wide"]))


def wrong_parties_words(text):
    """Postures and services of the operator's page that are not those of the code, and the other way about."""
    rows = {name: row for row in table_rows(text, "## The parties file") for name in codes(row[0])}
    return sorted((codes(rows["postures"][1]) ^ POSTURES) | (codes(rows["services"][1]) ^ service_types()))


def missing_statuses(text):
    shown = {int(number) for row in table_rows(text, "# Errors") for number in re.findall(r"\b[45]\d\d\b", row[0])}
    return sorted(set(STATUSES.values()) - shown)


def test_the_page_for_receivers_has_every_move_of_a_task_and_no_other():
    assert wrong_moves(read(ROOT / "docs/receive-referrals.md")) == []


def test_the_page_on_privacy_names_every_row_of_the_policy_and_no_other():
    assert wrong_policy_rows(read(ROOT / "docs/privacy.md")) == []


def test_the_readme_has_every_word_a_police_sender_may_read_and_no_other():
    assert wrong_words(read(ROOT / "README.md")) == []


def test_the_operators_page_has_every_posture_and_service():
    assert wrong_parties_words(read(ROOT / "docs/operator.md")) == []


def test_the_page_on_errors_has_every_status():
    assert missing_statuses(read(ROOT / "docs/errors.md")) == []


@pytest.mark.parametrize(
    ("check", "page", "old", "new"),
    [
        (wrong_moves, "docs/receive-referrals.md", "`accepted`, `rejected` |", "`accepted`, `completed` |"),
        (wrong_policy_rows, "docs/privacy.md", "N05", "N06"),
        (wrong_words, "README.md", "`engaged`", "`arrived`"),
        (wrong_parties_words, "docs/operator.md", "`sobering`", "`sobering-up`"),
        (missing_statuses, "docs/errors.md", "| 428 |", "| 400 |"),
    ],
)
def test_a_planted_difference_from_the_data_is_found(check, page, old, new):
    assert check(read(ROOT / page).replace(old, new)) != []


def test_the_readme_says_how_many_checks_the_kit_has():
    assert re.findall(r"(\d+) checks", read(ROOT / "README.md")) == [str(len(all_checks()))]


def test_the_example_parties_file_is_taken_as_it_is(tmp_path):
    file = plant(tmp_path, "parties.toml", read(ROOT / "docs/example/parties.toml"))
    for client in ("riverton-rms", "northside-ehr", "harbor-ehr"):
        make_keys(tmp_path, client)
    parties = read_parties(file, address_check(allow_private=False))
    assert {client.organization for client in parties.clients} == {organization.key for organization in parties.organizations}
