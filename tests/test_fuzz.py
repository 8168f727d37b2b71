"""What people have that nobody thought of: any bytes, any names, any text.

The same hundred examples each time; ``AGNN_FUZZ=20000 pytest tests/test_fuzz.py`` tries so many new ones.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from agnn_lit.commands.command_line import quote_text
from agnn_lit.config import SCHEMAS, entries
from agnn_lit.data.image_files import file_size
from agnn_lit.metrics.mask_files import listed_names, match_masks
from agnn_lit.metrics.mask_image import Annotations, read_foreground, read_ids
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.shared.overrides import is_list, listed, quoted, unquoted
from agnn_lit.shared.runs import run_name

EXAMPLES = int(os.environ.get("AGNN_FUZZ", "0"))
TRIES = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,  # the same examples in every run of the tests
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

FORMATS = ("PNG", "BMP", "TIFF", "GIF", "PPM", "JPEG", "WEBP")
MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))

#: What a file name may hold on Linux: any bytes but / and NUL.
FILE_NAMES = (
    st.binary(min_size=1, max_size=30)
    .map(lambda b: b.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda b: b not in (b".", b".."))
    .map(os.fsdecode)
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def attempt(call: Callable[[], Any]) -> tuple[Any, str]:
    """Return the result of a call, or None and what it says is wrong with a file."""
    try:
        return call(), ""
    except ScoreError as error:
        return None, str(error)


def saved(folder: Path, values: np.ndarray, mode: str, kind: str) -> Path:
    """Write values as an image of a mode and a format, or skip the example if there is no such thing."""
    grey = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "P":
        image = grey.convert("P")
        image.putpalette([c for k in range(256) for c in (k, 255 - k, 7)])
    elif mode == "1":
        image = Image.fromarray(values > 0)
    elif mode in ("LA", "RGBA"):
        image = grey.convert(mode)
        image.putalpha(Image.fromarray(255 - values))
    else:
        image = grey.convert(mode)
    written = io.BytesIO()
    try:
        image.save(written, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    except (OSError, ValueError, KeyError):
        assume(False)
    file = folder / "mask.png"
    file.write_bytes(written.getvalue())
    return file


@TRIES
@given(
    values=SIZES.flatmap(lambda s: hnp.arrays(np.uint8, s, elements=st.sampled_from([0, 0, 1, 2, 20, 254, 255]))),
    mode=st.sampled_from(MODES),
    kind=st.sampled_from(FORMATS),
)
def test_masks_of_every_mode_and_format(tmp_path, values, mode, kind):
    """Foreground is where a value is above 0, whatever the encoding, or the format is refused by name."""
    file = saved(tmp_path, values, mode, kind)
    found, problem = attempt(lambda: read_foreground(file))
    assert (kind == "JPEG") == ("a JPEG image, which is lossy" in problem)
    if problem:
        return
    if kind == "GIF" and mode not in ("L", "1"):
        return  # its writer numbers colours anew
    if kind == "WEBP" and mode in ("P", "LA"):
        return  # stored as colours, in which no value is 0
    if kind == "PPM" and mode in ("LA", "RGBA"):
        return
    np.testing.assert_array_equal(found > 0, values > 0)
    if kind == "PNG" and mode in ("L", "P"):
        np.testing.assert_array_equal(read_ids(file), values)
        annotations = Annotations([file])
        with_ids = bool(((values > 0) & (values < 255)).any())
        expected = np.where((values == 255) & with_ids, -1, values > 0)
        np.testing.assert_array_equal(annotations.foreground(file), expected)


@TRIES
@example(values=np.zeros((1, 1), np.uint8), mode="1", kind="TIFF", cut=0, changes=[(8, 5)])  # no width: a TypeError
@given(
    values=SIZES.flatmap(lambda s: hnp.arrays(np.uint8, s)),
    mode=st.sampled_from(MODES),
    kind=st.sampled_from(FORMATS),
    cut=st.integers(0, 400),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_errors_that_name_them(tmp_path, values, mode, kind, cut, changes):
    file = saved(tmp_path, values, mode, kind)
    data = bytearray(file.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    file.write_bytes(bytes(data[: len(data) - cut % len(data)]))
    for read in (read_foreground, read_ids, Annotations([file]).foreground, Annotations([file]).ids):
        mask, problem = attempt(lambda read=read: read(file))
        assert str(file) in problem if problem else mask.ndim == 2
    size, problem = file_size(file)
    assert problem is None or str(file) in problem
    assert (size is None) == (problem is not None)


@TRIES
@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_an_error(tmp_path, data):
    file = tmp_path / "list.txt"
    file.write_bytes(data)
    names, problem = attempt(lambda: listed_names(file))
    if problem:
        assert str(file) in problem
        return
    assert len(set(names)) == len(names)
    assert all(name and name == name.strip() for name in names)


@TRIES
@given(
    names=st.lists(
        st.text(
            st.characters(exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"])
        ),
        max_size=6,
    ),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_lists_keep_their_names(tmp_path, names, encoding, newline):
    expected = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    assume(not any("/" in name or name.startswith("\ufeff") for name in expected))
    (tmp_path / "list.txt").write_bytes(newline.join(names).encode(encoding))
    assert listed_names(tmp_path / "list.txt") == expected


@pytest.mark.parametrize("command", SCHEMAS)
@TRIES
@given(data=st.data())
def test_any_name_in_any_text_setting_of_any_command(command, data):
    """As typed, alone, in a list, and in a sweep."""
    texts = [entry for entry in entries(SCHEMAS[command]()) if entry.is_text]
    entry = data.draw(st.sampled_from(texts), label="setting")
    name = data.draw(FILE_NAMES, label="name")
    assume(unquoted(name) == name and name != "null" and not name.startswith("~") and name == name.strip())
    several = entry.kind.startswith("list")
    if entry.kind == "Any" or several:
        assume(not is_list(name))
    (found,) = OverridesParser.create().parse_overrides(quote_text([f"{entry.key}={name}"], SCHEMAS[command]))
    value = found.value()
    assert [str(part) for part in value] == [name] if several else value == name
    if several and "," not in name and name[:1] not in "'\"[":
        words = quote_text([f"+{entry.key}=[x,{name}]"], SCHEMAS[command])
        assert [str(part) for part in OverridesParser.create().parse_overrides(words)[0].value()] == ["x", name]
    if not several and entry.kind != "Any" and "," not in name and name[:1] not in "'\"[" and "(" not in name:
        words = quote_text([f"{entry.key}={name},y"], SCHEMAS[command], swept=True)
        swept = OverridesParser.create().parse_overrides(words)[0].sweep_iterator()
        assert [getattr(part, "text", part) for part in swept] == [name, "y"]


@TRIES
@given(FILE_NAMES)
def test_quoting_and_unquoting_give_the_text_back(name):
    assert unquoted(quoted(name)) == name
    (found,) = OverridesParser.create().parse_overrides([f"x={quoted(name)}"])
    assert found.value() == name
    assert listed(f"{quoted(name)},b") == [quoted(name), "b"]


@TRIES
@given(st.sets(FILE_NAMES, min_size=2, max_size=5))
def test_other_names_give_other_runs(names):
    names = {name for name in names if unquoted(name) == name and not is_list(name)}
    found = {run_name([f"data.root={quoted(name)}"]) for name in names}
    assert len(found) == len(names)
    assert all(name.isascii() and len(name) < 200 for name in found)


@TRIES
@given(
    frames=st.lists(st.sampled_from(["0", "1", "00000", "00001", "2", "a", "v_0", "0_mask"]), unique=True, max_size=6),
    masks=st.lists(
        st.sampled_from(["0", "1", "00000", "00001", "2", "a", "v_0", "v_1", "0_mask", "1_mask"]), unique=True
    ),
)
def test_masks_are_found_by_their_own_name_first(tmp_path, frames, masks):
    folder = tmp_path / "v"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in masks:
        (folder / f"{name}.png").touch()
    found, problem = attempt(lambda: match_masks("v", frames, folder))
    if problem:
        assert "numbered" in problem
        return
    pairs, extra = found
    assert len(pairs) + len(extra) == len(masks)
    assert set(pairs) <= set(frames)
    for name in set(masks) & set(frames):
        assert pairs[name].stem == name
