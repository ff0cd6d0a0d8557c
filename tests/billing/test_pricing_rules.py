"""Rules as data: versions that follow each other, the one in force, a tenant's own first."""

from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.device_factors import factor_of
from billing.errors import EffectivePastError, InvalidRuleError, RuleOverlapError
from billing.pricing_rules import RuleBook, list_rules, publish_rule
from tests.billing.till import NOW

DAY = timedelta(days=1)


def rule(till, kind, subject, body, *, days=0.0, now=NOW):
    return publish_rule(
        till.session,
        kind=kind,
        subject=subject,
        body=body,
        actor="me",
        effective_from=NOW + days * DAY,
        now=now,
    )


def night(factor):
    return {"bands": [{"from": "00:00", "to": "08:00", "factor": factor}]}


def test_a_tenants_own_rule_goes_before_everybodys(till):
    rule(till, "time_of_day", "*", night("0.8"))
    rule(till, "time_of_day", "t", night("0.5"))
    rule(till, "tenant_override", "t", {"percent": "90"})
    book = RuleBook.load(till.session, NOW)
    assert [band.factor for band in book.rules_for("t").bands] == [Fraction(1, 2)]
    assert [band.factor for band in book.rules_for("u").bands] == [Fraction(4, 5)]
    assert (book.rules_for("t").percent, book.rules_for("u").percent) == (90, None)


def test_an_empty_rule_of_its_own_frees_a_tenant_from_everybodys(till):
    rule(till, "time_of_day", "*", night("1.5"))
    rule(till, "time_of_day", "t", {"bands": []})
    assert RuleBook.load(till.session, NOW).rules_for("t").bands == ()


def test_a_version_counts_from_its_time_on(till):
    rule(till, "device_factor", "cuda:0 NVIDIA L4", {"factor": "2"})
    rule(till, "device_factor", "cuda:0 NVIDIA L4", {"factor": "2.5"}, days=2)
    found = {d: factor_of(till.session, "cuda:0 NVIDIA L4", at=NOW + d * DAY) for d in (0, 1, 2)}
    assert found == {0: 2, 1: 2, 2: Fraction(5, 2)}
    assert factor_of(till.session, "cpu", at=NOW) == 1
    assert [each.version for each in list_rules(till.session, kind="device_factor")] == [2, 1]


def test_versions_may_not_overlap(till):
    rule(till, "gpu_load", "*", {"steps": []}, days=2)
    for days in (1, 2):
        with pytest.raises(RuleOverlapError):
            rule(till, "gpu_load", "*", {"steps": []}, days=days)
    with pytest.raises(IntegrityError, match="overlaps another version"):
        till.session.execute(
            text(
                "INSERT INTO billing.pricing_rule"
                " (kind, subject, version, effective_from, published_by, body)"
                " VALUES ('gpu_load', '*', 2, :at, 'me', '{}')"
            ),
            {"at": NOW + DAY},
        )


def test_a_rule_may_not_begin_in_the_past(till):
    with pytest.raises(EffectivePastError):
        rule(till, "gpu_load", "*", {"steps": []}, now=NOW + DAY)


@pytest.mark.parametrize(
    ("kind", "subject", "body"),
    [
        ("full_moon", "*", {}),
        ("tenant_override", "*", {"percent": "90"}),
        ("device_factor", "*", {"factor": "2"}),
        ("device_factor", "", {"factor": "2"}),
        ("device_factor", "cpu", {"factor": "0"}),
        ("device_factor", "cpu", {"factor": "-1"}),
        ("device_factor", "cpu\n", {"factor": "1"}),
        ("gpu_load", "*", {"bands": []}),
    ],
)
def test_what_is_no_rule_is_refused(till, kind, subject, body):
    with pytest.raises(InvalidRuleError):
        rule(till, kind, subject, body)


@pytest.mark.parametrize("change", ["DELETE FROM", "TRUNCATE", "UPDATE"])
def test_a_published_rule_never_changes(till, change):
    rule(till, "gpu_load", "*", {"steps": []})
    rest = " SET body = '{}'" if change == "UPDATE" else ""
    with pytest.raises(IntegrityError, match="refuses"):
        till.session.execute(text(f"{change} billing.pricing_rule{rest}"))
