"""Quotes and lists as Hydra reads them."""

from __future__ import annotations

import pytest

from agnn_lit.shared.overrides import is_list, is_quoted, listed, quoted, unquoted


@pytest.mark.parametrize("text", ["", "a", "it's", 'say "x"', "ends\\", "\\'", "'a' or 'b'", "a\nb", "猫"])
def test_quoting_keeps_every_text(text):
    assert is_quoted(quoted(text))
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [("'a'", True), ('"a b"', True), ("'a", False), ("'a' or 'b'", False), ("a", False), ("'", False)],
)
def test_what_is_quoted(value, expected):
    assert is_quoted(value) == expected


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("a, b ,c", ["a", "b", "c"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("it's,b", ["it's", "b"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("a(1,2)", ["a(1", "2)"]),
        ("/x[1],y", ["/x[1]", "y"]),
        ("'q,b", ["'q", "b"]),
        ("a,,b,", ["a", "b"]),
    ],
)
def test_entries_of_a_list(text, entries):
    assert listed(text) == entries


def test_what_is_a_list():
    assert [is_list(value) for value in ("[]", "[a]", "[a", "a]", "[", "'[a]'")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
