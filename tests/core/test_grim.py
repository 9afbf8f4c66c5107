from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from minchange_eval.core.grim import ROUNDINGS, by_one_rule, grim, grim_mean, rule_words

MODES = {"half up": ROUND_HALF_UP, "half even": ROUND_HALF_EVEN, "truncation": ROUND_DOWN}


def printed(share: Fraction, decimals: int, rule: str) -> Decimal:
    """What decimal arithmetic prints; exact enough for n below a thousand."""
    percent = Decimal(100 * share.numerator) / Decimal(share.denominator)
    return percent.quantize(Decimal(1).scaleb(-decimals), MODES[rule])


def slow(value: Decimal, n: int, decimals: int) -> tuple[set[int], set[str]]:
    """Every k by trying all."""
    fits = [(k, rule) for k in range(n + 1) for rule in ROUNDINGS if printed(Fraction(k, n), decimals, rule) == value]
    return {k for k, _ in fits}, {rule for _, rule in fits}


@given(st.integers(1, 300), st.integers(0, 2), st.data())
@settings(max_examples=150, deadline=None)
def test_the_test_agrees_with_trying_every_k(n: int, decimals: int, data: st.DataObject) -> None:
    value = Decimal(data.draw(st.integers(0, 100 * 10**decimals))).scaleb(-decimals)
    assume(n < 100 * 10**decimals)
    result = grim(value, n, decimals)
    hits, rules = slow(value, n, decimals)
    assert set(result.hits) == hits
    assert set(result.roundings) == rules
    no_power = 3 * n >= 2 * 100 * 10**decimals
    assert result.verdict == ("no power" if no_power else "attainable" if hits else "not attainable")


@given(st.integers(1, 10_000), st.integers(0, 3), st.sampled_from(ROUNDINGS), st.data())
@settings(max_examples=150, deadline=None)
def test_no_share_that_was_printed_by_any_rule_is_called_not_attainable(
    n: int, decimals: int, rule: str, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, n))
    result = grim(printed(Fraction(k, n), decimals, rule), n, decimals)
    assert result.verdict != "not attainable"
    assert rule in result.roundings
    assert result.verdict == "no power" or k in result.hits


@pytest.mark.parametrize(("n", "decimals"), [(100, 0), (1000, 1), (1500, 1), (10_000, 2)])
def test_with_as_many_items_as_printable_values_every_value_can_be_so_the_test_has_no_power(
    n: int, decimals: int
) -> None:
    assert grim(Decimal(33), n, decimals).verdict == "no power"
    assert grim(Decimal(33), n, decimals).power == 0
    assert grim(Decimal(33), n, decimals).power_by_one_rule == 0
    assert grim(Decimal(33), 100 * 10**decimals - 1, decimals).power_by_one_rule > 0
    shares = {printed(Fraction(k, n), decimals, "half up") for k in range(n + 1)}
    assert len(shares) == 100 * 10**decimals + 1


@pytest.mark.parametrize(
    ("n", "decimals"), [(1, 0), (37, 1), (40, 1), (60, 0), (66, 0), (67, 0), (80, 0), (99, 0), (600, 1), (579, 1)]
)
def test_power_is_the_share_of_printable_values_that_no_k_is_printed_as(n: int, decimals: int) -> None:
    by_rule = {rule: {printed(Fraction(k, n), decimals, rule) for k in range(n + 1)} for rule in ROUNDINGS}
    values = 100 * 10**decimals + 1
    result = grim(Decimal("50"), n, decimals)
    assert result.power == pytest.approx(1 - len(set().union(*by_rule.values())) / values)
    assert result.power_by_one_rule == pytest.approx(1 - len(by_rule["half up"]) / values)
    assert result.power_by_one_rule == pytest.approx(1 - len(by_rule["truncation"]) / values)
    assert (result.verdict == "no power") == (result.power == 0)


def test_a_row_that_tells_its_rule_gives_power_where_a_value_alone_has_none() -> None:
    alone = grim(Decimal("0.4"), 700, 1)  # 3 of 700 are 0.429, 2 are 0.286
    rounded, cut = grim(Decimal("0.9"), 700, 1), grim(Decimal("0.8"), 700, 1)  # 6 of 700 are 0.857
    assert [one.verdict for one in (alone, rounded, cut)] == ["no power"] * 3
    row = by_one_rule([alone, rounded, rounded, cut])
    assert [one.verdict for one in row] == ["attainable", "attainable", "attainable", "not attainable"]
    assert {one.power for one in row} == {alone.power_by_one_rule}
    assert by_one_rule([alone]) == (alone,)


def test_halves_tell_the_two_ways_of_rounding_apart() -> None:
    assert grim(Decimal("12.5"), 8, 1).roundings == ROUNDINGS
    assert grim(Decimal("13"), 8, 0).roundings == ("half up",)
    assert grim(Decimal("12"), 8, 0).roundings == ("half even", "truncation")


@pytest.mark.parametrize(
    ("value", "n", "decimals", "verdict", "rule"),
    [
        ("95.4", 579, 1, "not attainable", ""),  # VisMin, zero-shot Idefics2, object
        ("67.6", 579, 1, "not attainable", ""),
        ("7.8", 622, 1, "attainable", "truncation"),  # LLaVA-1.6, relation
        ("67.53", 579, 2, "attainable", "any"),  # CLIP ViT-B/32
        ("8.2", 622, 1, "attainable", "rounded"),
        ("85.71", 13, 2, "not attainable", ""),  # MED, Object as released
        ("85.71", 14, 2, "attainable", "any"),
        ("53.84", 13, 2, "attainable", "truncation"),
        ("44.27", 1500, 2, "attainable", "rounded"),  # SPEC's notebook
        ("42.5", 1500, 1, "no power", "any"),  # SPEC's Table 2
    ],
)
def test_published_numbers_worked_by_hand(value: str, n: int, decimals: int, verdict: str, rule: str) -> None:
    result = grim(Decimal(value), n, decimals)
    assert (result.verdict, rule_words(result.roundings)) == (verdict, rule)


def slow_means(sizes: list[int]) -> set[Fraction]:
    parts = [[Fraction(k, n) for k in range(n + 1)] for n in sizes]
    return {sum(shares, Fraction()) / len(sizes) for shares in product(*parts)}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 1), st.data())
@example([2, 3], 1, None)
@settings(max_examples=80, deadline=None)
def test_a_mean_is_tested_against_every_sum_of_shares(
    sizes: list[int], decimals: int, data: st.DataObject | None
) -> None:
    whole = data.draw(st.integers(0, 100 * 10**decimals)) if data else 417
    value = Decimal(whole).scaleb(-decimals)
    can_be = {rule for mean in slow_means(sizes) for rule in ROUNDINGS if printed(mean, decimals, rule) == value}
    result = grim_mean(value, sizes, decimals)
    if result.verdict == "no power":
        assert "half up" in can_be
    else:
        assert set(result.roundings) == can_be
        assert (result.verdict == "attainable") == bool(can_be)


def test_a_mean_over_many_subsets_has_no_power_away_from_the_ends_and_some_at_them() -> None:
    types = [13, 16, 13, 14, 16, 16, 18, 12, 19, 14, 14]
    assert grim_mean(Decimal("51.32"), types, 2).verdict == "no power"
    assert grim_mean(Decimal("99.96"), types, 2).verdict == "not attainable"  # one miss of 19 is 99.52
    assert grim_mean(Decimal("99.52"), types, 2).verdict == "attainable"
    vismin = [579] * 3 + [294] * 3 + [622] * 3 + [589] * 3  # too many sums to list: some are fixed
    assert grim_mean(Decimal("41.15"), vismin, 2).verdict == "no power"


def test_a_row_is_rounded_or_truncated_but_not_both() -> None:
    seven_13ths, two_thirds, half = (
        grim(Decimal(value), n, 2) for value, n in (("53.84", 13), ("66.67", 3), ("50.00", 2))
    )
    assert [one.verdict for one in by_one_rule([seven_13ths, half])] == ["attainable", "attainable"]
    assert [one.roundings for one in by_one_rule([seven_13ths, half])] == [("truncation",), ("truncation",)]
    assert [one.verdict for one in by_one_rule([seven_13ths, two_thirds])] == ["not attainable", "attainable"]
    assert [rule_words(one.roundings) for one in by_one_rule([two_thirds, half])] == ["rounded", "rounded"]
    assert by_one_rule([]) == ()


def test_no_power_stays_so_in_a_row_and_what_cannot_be_stays_so() -> None:
    row = [grim(Decimal("42.5"), 1500, 1), grim(Decimal("95.4"), 579, 1), grim(Decimal("93.0"), 579, 1)]
    assert [one.verdict for one in by_one_rule(row)] == ["no power", "not attainable", "attainable"]


@pytest.mark.parametrize(
    ("value", "n", "decimals"),
    [("100.1", 10, 1), ("-1", 10, 1), ("50", 0, 1), ("50", 10, -1), ("50.55", 10, 1), ("NaN", 10, 1)],
)
def test_what_is_no_printed_percentage_of_a_number_of_items_is_an_error(value: str, n: int, decimals: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        grim(Decimal(value), n, decimals)
    with pytest.raises(ValueError, match="expected"):
        grim_mean(Decimal(value), [n, n], decimals)


def test_a_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected n"):
        grim_mean(Decimal(50), [], 1)
