"""Values on a command line as Hydra's grammar reads them: quotes and lists.

https://hydra.cc/docs/advanced/override_grammar/basic/
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


def is_quoted(value: str) -> bool:
    """Whether a value is one quoted text, and not a text that happens to hold quotes."""
    return _QUOTED.fullmatch(value) is not None


def quoted(text: str) -> str:
    """Quote a text, so that it is taken as it is."""
    # Hydra unescapes backslashes only before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text) + "'"


def unquoted(value: str) -> str:
    """Return the text of a quoted value, and any other as it is."""
    if not is_quoted(value):
        return value
    mark = value[0]
    return re.sub(rf"(\\*)({mark}|$)", lambda m: m[1][: len(m[1]) // 2] + m[2], value[1:-1])


def is_list(value: str) -> bool:
    """Whether a value is a list in brackets."""
    return value[:1] == "[" and value[-1:] == "]" and len(value) > 1


def listed(text: str) -> list[str]:
    """Split at the commas that are neither within quotes nor in an entry in brackets; without empty entries."""
    found, rest = [], text.strip()
    while rest:
        start = _QUOTED.match(rest)
        end = start.end() if start and rest[start.end() :].lstrip()[:1] in ("", ",") else 0
        if rest[0] == "[" and not start:
            end = rest.find("]") + 1
        comma = rest.find(",", end)
        entry, rest = (rest, "") if comma < 0 else (rest[:comma], rest[comma + 1 :].lstrip())
        if entry.strip():
            found.append(entry.strip())
    return found
