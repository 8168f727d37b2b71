"""The benchmark of a whole film, small."""

from __future__ import annotations

import pytest

from agnn_lit.benchmarks import video


@pytest.mark.long
def test_every_stage_and_every_refinement_is_timed(monkeypatch):
    monkeypatch.delenv("AGNN_DAVIS_ROOT", raising=False)
    small = video.Workload(footage=(48, 64), length=4)
    result = video.run_video(1, small)
    names = [row["name"] for row in result["rows"]]
    assert [n for n in names if n.startswith("agnn-predict")] == [
        f"agnn-predict, {side}: a frame" for side in ("crf=none", "crf=band", "crf=fast", "pool=1", "overlay=false")
    ]
    assert {"alone, decode: a frame", "alone, graph: a frame", "alone, refine, crf=band: a frame"} <= set(names)
    assert all(row["seconds"] > 0 for row in result["rows"])
    first = result["rows"][0]["seconds"]
    assert result["ratios"]["frames_per_second"] == pytest.approx(1 / first)
    assert set(result["ratios"]) == {
        "frames_per_second",
        "frames_per_second_band",
        "frames_per_second_fast",
        "pool1_over_default",
    }


def test_a_missing_mask_is_an_error(tmp_path):
    small = video.Workload(footage=(48, 64), length=4)
    small.write(tmp_path / "film.mp4")
    run = video.command(tmp_path / "film.mp4", tmp_path / "out", video.Workload(footage=(48, 64), length=5))
    with pytest.raises(RuntimeError, match="4 masks of 5 frames"):
        run()
