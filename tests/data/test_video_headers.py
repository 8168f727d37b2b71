"""Films that are cut short, in every format."""

from __future__ import annotations

import av
import pytest

from agnn_lit.data.video_file import VideoFile
from tests.data.videos import picture, write_video


@pytest.mark.parametrize(
    ("suffix", "codec", "more"),
    [
        ("mkv", "libx264", {}),
        ("webm", "libvpx-vp9", {}),
        ("avi", "mpeg4", {}),
        ("mp4", "libx264", {"movflags": "+faststart"}),
        ("mov", "libx264", {"movflags": "+faststart"}),
    ],
)
@pytest.mark.parametrize("share", [0.8, 0.9, 0.99])
def test_a_film_that_is_cut_is_found_in_every_format(tmp_path, suffix, codec, more, share):
    path = write_video(tmp_path / f"a.{suffix}", codec, frames=40, **more)
    assert VideoFile(path).faults == []
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert any("cut short" in fault for fault in VideoFile(path).faults)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("tail", [bytes(5000), b"SEFT" * 900, b"\xff" * 3000])
def test_data_after_the_end_of_a_film_is_no_fault(tmp_path, suffix, tail):
    path = write_video(tmp_path / f"a.{suffix}", "mpeg4" if suffix == "avi" else "libx264")
    path.write_bytes(path.read_bytes() + tail)
    video = VideoFile(path)
    assert len(video) == 12
    assert not any("cut short" in fault for fault in video.faults)


def test_a_live_recording_states_no_length(tmp_path):
    path = tmp_path / "a.webm"
    with path.open("wb") as file, av.open(file, "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for t in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t), format="rgb24")))
        container.mux(stream.encode())
    assert VideoFile(path).faults == []
