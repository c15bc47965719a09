"""The table of requirements and the checks hold each other."""

from conformance.checks import all_checks
from conformance.requirements import LEVELS, requirements, uncovered

ROWS = requirements()
CHECKS = {check.id: check for check in all_checks()}


def test_every_row_is_whole():
    for row in ROWS.values():
        assert row.id
        assert row.source
        assert row.url.startswith(("https://", "docs/conformance.md#"))
        assert len(row.wording) > 15
        assert row.level in LEVELS
        assert row.actor in ("gateway", "receiver", "sender")


def test_no_id_stands_twice():
    from importlib import resources

    lines = resources.files("conformance").joinpath("requirements.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == len(ROWS)


def test_the_table_names_for_each_rule_the_checks_that_cite_it():
    cited = {name: {check.id for check in CHECKS.values() if name in check.requirements} for name in ROWS}
    assert {name: set(row.checks) for name, row in ROWS.items()} == cited


def test_every_check_stands_on_a_rule_of_the_table():
    for check in CHECKS.values():
        assert check.requirements
        assert set(check.requirements) <= ROWS.keys()
        assert check.explanation
        assert check.likely_cause
        assert check.title[0].isupper()


def test_a_rule_without_a_check_has_a_reason():
    assert [row.id for row in uncovered(ROWS.values()) if not row.reason] == []


def test_the_rules_of_our_own_contract_stand_in_the_page_they_point_to():
    from pathlib import Path

    page = Path("docs/conformance.md").read_text(encoding="utf-8").lower()
    headings = {line.lstrip("# ").strip() for line in page.splitlines() if line.startswith("#")}
    for row in ROWS.values():
        if row.url.startswith("docs/"):
            assert row.url.partition("#")[2] in headings
