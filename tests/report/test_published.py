"""Published numbers, as they are printed."""

from __future__ import annotations

import math

from agnn_lit.report.published import published_tables


def test_published_numbers_are_consistent() -> None:
    tables = {t.id: t for t in published_tables()}
    assert len(tables) == 6
    for table in tables.values():
        top = 100 if table.unit == "per cent" else 1
        for name, values in table.rows.items():
            assert len(values) == len(table.columns), name
            assert all(v is None or 0 <= v <= top for v in values), name
    off = []
    for name, (mean, *categories) in tables["paper-youtube-objects"].rows.items():
        numbers = [v for v in categories if v is not None]
        assert len(numbers) == 10
        if not math.isclose(sum(numbers) / 10, mean or 0, abs_tol=0.1):
            off.append(name)
    assert off == ["PDB", "AGNN"]  # as the table's note says
    assert tables["benchmark-davis16"].split == len(published_tables()[0].sequences or ()) == 20
