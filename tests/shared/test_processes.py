from __future__ import annotations

from pathlib import Path

import pytest

from agnn_lit.shared import processes as memory


def test_memory_where_the_system_keeps_no_status_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = memory.peak_memory_mb()
    assert usual > 50
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert memory.peak_memory_mb() == pytest.approx(usual, rel=0.2)
