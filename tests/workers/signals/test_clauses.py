"""A clause is an expression over signals, and nothing else that SQL can do."""

from __future__ import annotations

import re

import pytest

from schemas.errors import RecipeError
from workers.signals.clauses import fails, signal_table, used_signals
from workers.signals.names import SIGNALS


@pytest.mark.parametrize(
    ("clause", "names"),
    [
        ("min_side >= 28", {"min_side"}),
        ("MIN_SIDE >= 28 AND NOT blank", {"min_side", "blank"}),
        ("language in ('en', 'de')", {"language"}),
        (
            "chars - answer_chars + 2 * words > length(source)",
            {"chars", "answer_chars", "words", "source"},
        ),
        ("list_contains(formats, 'jpeg')", {"formats"}),
        (
            "case when pictures = 0 then chars > 9 else min_side > 9 end",
            {"pictures", "chars", "min_side"},
        ),
        ("regexp_matches(source, '^ph') -- a note", {"source"}),
    ],
)
def test_what_a_clause_names(clause: str, names: set[str]) -> None:
    assert used_signals(clause) == names


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        ("min_size >= 28", "no signal is named 'min_size'; there are source, turns"),
        ("min_side >=", "syntax error"),
        ("", "names no signal"),
        ("-- a note", "names no signal"),
        ("true", "names no signal"),
        ("true; drop table signals", "syntax error"),
        ("1) from read_csv('/etc/passwd') --", "syntax error"),
        ("(select count(*) from read_text('/etc/passwd')) > 0", "no subquery"),
        ("exists(from glob('/*'))", "no subquery"),
        ("chars > (select 1)", "no subquery"),
        ("count(*) > 3", "count_star"),
        ("max(chars) > 3", "'max'"),
        ("row_number() over () > 3", "no window"),
        ("random() < 0.5", "'random'"),
        ("now() > timestamp '2020-01-01'", "'now'"),
        ("getenv('HOME') = 'x'", "'getenv'"),
        ("age(timestamp '2020-01-01') > to_days(chars)", "'age'"),
        ("chars > 1 and ago(interval 1 day) > date '2020-01-01'", "'ago'"),
        ("language > 3", "Cannot compare"),
        ("chars > ?", "parameter"),
        ("nextval('s') > 0", "nextval"),
        ("read_text('/etc/passwd') = ''", "read_text"),
        ("1 = 1 order by 1", "syntax error"),
    ],
)
def test_what_is_refused(clause: str, told: str) -> None:
    with pytest.raises(ValueError, match="(?i)" + re.escape(told)):
        used_signals(clause)


def test_what_is_unknown_stays() -> None:
    table = signal_table({"min_side": [1, 30, None], "language": ["en", None, "de"]})
    small, english = fails(table, ["min_side >= 28", "language = 'en'"])
    assert small.tolist() == [True, False, False]
    assert english.tolist() == [False, False, True]


def test_a_value_that_a_clause_cannot_take() -> None:
    table = signal_table({"language": ["en"]})
    assert used_signals("cast(language as integer) > 3")
    with pytest.raises(RecipeError, match=r"select.where: .*'en'"):
        fails(table, ["cast(language as integer) > 3"])


def test_every_signal_may_be_named() -> None:
    for name in SIGNALS:
        assert used_signals(f"{name} is not null") == {name}
