"""Several films: which a pattern, a folder or a list stands for, and their names."""

from __future__ import annotations

import pytest
from PIL import Image

from agnn_lit.data.films import find_films
from agnn_lit.data.video import DataError
from tests.data.videos import picture


@pytest.fixture
def clips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.mp4", "a.mov", "notes.md", ".hidden.mp4", "2026/c.mp4", "2026/may/d.MP4"):
        file = tmp_path / "clips" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    shots = tmp_path / "clips" / "shots"
    shots.mkdir()
    Image.fromarray(picture(0)).save(shots / "0.png")
    return tmp_path / "clips"


def names(given):
    return {film.name: str(film.path) for film in find_films(str(given))}


def test_a_folder_of_films_and_of_folders_of_images(clips):
    assert names("clips") == {
        "a.mov": "clips/a.mov",
        "a.mp4": "clips/a.mp4",
        "b": "clips/b.mp4",
        "shots": "clips/shots",
    }


def test_patterns(clips):
    assert names("clips/b*.mp4") == {"b": "clips/b.mp4"}
    assert names("clips/**/*.[mM][pP]4") == {
        "2026/c": "clips/2026/c.mp4",
        "2026/may/d": "clips/2026/may/d.MP4",
        "a": "clips/a.mp4",
        "b": "clips/b.mp4",
    }
    assert names(clips / "2026" / "*" / "*") == {"may/d": str(clips / "2026" / "may" / "d.MP4")}
    (clips / "really[1].mp4").touch()
    assert find_films("clips/really[1].mp4") is None  # a file of this name is no pattern
    with pytest.raises(DataError, match=r"input=clips/\*\.avi: no file matches"):
        find_films("clips/*.avi")


def test_lists(clips):
    (clips.parent / "list.txt").write_text("# films\nclips/b.mp4\n\nclips/2026/c.mp4\n")
    assert names("list.txt") == {"b": "clips/b.mp4", "2026/c": "clips/2026/c.mp4"}
    (clips.parent / "list.txt").write_text("clips/2026/may/d.MP4\ngone.mp4\n")
    assert names("list.txt") == {"clips/2026/may/d": "clips/2026/may/d.MP4", "gone": "gone.mp4"}
    for text, why in (("#\n", "names no film"), ("a.mp4\na.mp4\n", "a.mp4 is listed twice")):
        (clips.parent / "list.txt").write_text(text)
        with pytest.raises(DataError, match=why):
            find_films("list.txt")
    (clips.parent / "list.txt").write_text("Hello,\nthis is a letter.\n")
    with pytest.raises(DataError, match=r"none of its 2 lines is a file or folder; the first is 'Hello,'"):
        find_films("list.txt")
    (clips.parent / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a list"):
        find_films("list.txt")


def test_one_film_is_not_several(clips):
    for given in ("clips/a.mp4", "clips/shots", "clips/gone.mp4", "clips/notes.md"):
        assert find_films(given) is None
    (clips.parent / "empty").mkdir()
    assert find_films("empty") is None
