from __future__ import annotations

from agnn_lit.report.cells import Cell, Column, Table, markdown_table


def test_markdown_escapes_and_groups() -> None:
    table = Table("t", (Column("a|b", False), Column("x", group="G")), ((Cell("p|q"), Cell("1", 1.0, "best")),))
    assert markdown_table(table) == "| a\\|b | G x |\n| --- | ---: |\n| p\\|q | **1** |"
