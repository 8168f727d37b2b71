"""YouTube-Objects: annotated every tenth frame."""

from __future__ import annotations

from agnn_lit.data.datasets.youtube_objects import index_youtube_objects
from agnn_lit.data.open import check
from tests.data.disk import make_youtube_objects


def test_youtube_objects_annotates_every_tenth_frame(tmp_path):
    videos = index_youtube_objects(make_youtube_objects(tmp_path))
    assert [v.name for v in videos] == ["cat/0001", "dog/0001"]
    assert [i for i in range(11) if videos[0].mask(i) is not None] == [0, 10]
    check(videos, 2)


def test_folders_that_programs_make_are_no_videos(tmp_path):
    root = make_youtube_objects(tmp_path)
    for folder in ("@eaDir", ".ipynb_checkpoints", "cat/.thumbs", "cat/@eaDir"):
        (root / "JPEGImages" / folder).mkdir(parents=True)
    assert [v.name for v in index_youtube_objects(root)] == ["cat/0001", "dog/0001"]
