"""``agnn-predict`` from footage to masks: what is written, what goes on, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from agnn_lit import pretrained
from agnn_lit.commands.command_line import quote_text
from agnn_lit.commands.predict import main
from agnn_lit.config import ConfigError, ConvertConfig
from agnn_lit.config.inference import PredictConfig
from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from agnn_lit.data.video_file import VideoFile
from agnn_lit.inference.prediction import predict
from agnn_lit.model.conversion import convert
from agnn_lit.shared.pictures import draw_overlay
from tests.command import PATIENCE, call_command, wait_for
from tests.configs import predict_config
from tests.data.videos import picture, turn, write_video
from tests.memory import peak_of_prediction


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


def settings(run, source, out, *overrides):
    return predict_config(run.folder, source, out, *overrides)


def files(folder: Path) -> dict[str, bytes]:
    """All that was written but for predict.json, which holds times."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "predict.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_a_video_gives_masks_soft_maps_and_an_overlay(run, video, tmp_path, capsys):
    out = predict(settings(run, video, tmp_path / "out", "soft=true", "dtype=fp32"))
    masks = sorted((out / "masks").iterdir())
    assert [m.name for m in masks] == [f"{t:05d}.png" for t in range(12)]
    for mask in masks:
        with Image.open(mask) as image, Image.open(out / "soft" / mask.name) as soft:
            assert (image.mode, soft.mode) == ("P", "L")
            assert image.size == soft.size == (64, 48)
            ids, levels = np.asarray(image), np.asarray(soft)
            assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
        assert set(np.unique(ids)) <= {0, 1}
        assert ids[levels > 128].all()
        assert not ids[levels < 127].any()
    with av.open(str(out / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = list(container.decode(stream))
    assert len(frames) == 12
    with Image.open(masks[5]) as image:
        expected = draw_overlay(picture(5), np.asarray(image), None, width=64)
    assert np.abs(frames[5].to_ndarray(format="rgb24").astype(int) - expected).mean() < 15
    record = json.loads((out / "predict.json").read_text())
    assert (record["state"], record["frames"], record["skipped"]) == ("done", 12, {})
    assert record["identity"]["dtype"] == "fp32"
    assert "12 masks and overlay.mp4 in" in capsys.readouterr().out


@pytest.mark.parametrize("extra", [(), ("references=random",), ("scales=[0.5,1]", "flip=true"), ("crf=fast",)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_any_number_of_workers_and_any_interruption_give_the_same_bytes(run, video, tmp_path, extra, batch_size):
    words = ("soft=true", f"batch_size={batch_size}", *extra)
    whole = files(predict(settings(run, video, tmp_path / "whole", "workers=0", *words)))
    assert len(whole) == 25
    out = tmp_path / "again"
    predict(settings(run, video, out, "workers=0", *words))
    for gone in ("masks/00003.png", "soft/00004.png", "masks/00010.png", "masks/00011.png", "overlay.mp4"):
        (out / gone).unlink()
    predict(settings(run, video, out, "workers=0", *words))
    assert files(out) == whole
    if extra == ("crf=fast",) and batch_size == 1:
        assert files(predict(settings(run, video, tmp_path / "two", "workers=2", *words))) == whole


@pytest.mark.long
def test_a_killed_command_goes_on_where_it_stopped(run, tmp_path):
    source = write_video(tmp_path / "long.mp4", frames=60, size=(96, 128))
    whole = files(predict(settings(run, source, tmp_path / "whole", "crf=fast", "workers=0", "threads=1")))
    out = tmp_path / "killed"
    words = [f"input={source}", f"out={out}", f"run={run.folder}", "crf=fast", "workers=1", "threads=1"]
    command = [sys.executable, "-m", "agnn_lit.commands.predict", *words]
    for how, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)):
        before = len(list(out.glob("masks/*.png")))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda until=before + 4: len(list(out.glob("masks/*.png"))) >= until, process)
        os.kill(process.pid, how)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, said
        assert before + 4 <= len(list(out.glob("masks/*.png"))) < 60
        if code == 130:
            assert "repeat the command to continue" in said
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "frames are there from before" in done.stdout
    assert "Traceback" not in done.stderr
    assert files(out) == whole


def test_masks_of_other_settings_are_not_mixed(run, video, tmp_path):
    out = predict(settings(run, video, tmp_path / "out"))
    before = files(out)
    with pytest.raises(ConfigError, match=r"threshold: 0\.5 -> 0\.3[\s\S]*overwrite=true"):
        predict(settings(run, video, out, "threshold=0.3"))
    assert files(out) == before
    predict(settings(run, video, out, "workers=1", "soft=true"))  # what changes no mask may differ
    assert {k: v for k, v in files(out).items() if not k.startswith("soft")} == before
    predict(settings(run, video, out, "threshold=0.3", "overwrite=true"))
    assert json.loads((out / "predict.json").read_text())["identity"]["threshold"] == 0.3


@pytest.mark.parametrize("mine", ["masks/mine.png", "soft/mine.png", "overlay.mp4"])
def test_files_of_others_are_left_alone(run, video, tmp_path, mine):
    path = tmp_path / "foreign" / mine
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="no agnn-predict has written"):
        predict(settings(run, video, tmp_path / "foreign", "overwrite=true"))
    assert path.read_bytes() == b"precious"
    with pytest.raises(ConfigError, match="lies where out="):
        predict(settings(run, write_video(tmp_path / "overlay.mp4"), tmp_path))


def test_other_footage_of_the_same_name_and_size_is_other_footage(run, tmp_path):
    for which in ("a", "b"):
        (tmp_path / which / "frames").mkdir(parents=True)
        for t in range(3):
            Image.fromarray(picture(t + 7 * (which == "b"))).save(tmp_path / which / "frames" / f"{t}.bmp")
    out = predict(settings(run, tmp_path / "a" / "frames", tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"content: \w+ -> \w+"):
        predict(settings(run, tmp_path / "b" / "frames", out))


def test_footage_cut_short_stops_or_is_said(run, tmp_path, capsys):
    source = write_video(tmp_path / "a.mp4", frames=60, movflags="+faststart")
    source.write_bytes(source.read_bytes()[: int(0.6 * source.stat().st_size)])
    with pytest.raises(DataError, match=r"bytes are missing: it has been cut short[\s\S]*on_error=skip"):
        predict(settings(run, source, tmp_path / "out"))
    predict(settings(run, source, tmp_path / "out", "on_error=skip"))
    assert "it has been cut short" in capsys.readouterr().out


def test_frames_too_large_for_a_video_are_refused_before_the_work(run, tmp_path):
    Image.new("RGB", (16390, 4)).save(tmp_path / "wide.png")
    with pytest.raises(ConfigError, match="overlay=false"):
        predict(settings(run, tmp_path / "wide.png", tmp_path / "out"))
    predict(settings(run, tmp_path / "wide.png", tmp_path / "out", "overlay=false"))


@pytest.mark.parametrize("name", ["vidéo (1).mp4", "a=b, c & d.mp4", "it's [x]{y}.mp4", "back\\slash.mp4"])
def test_any_file_name_will_do(run, video, tmp_path, name, monkeypatch):
    shutil.copy(video, tmp_path / name)
    words = [f"input={tmp_path / name}", f"out={tmp_path / 'out'}", f"run={run.folder}", "progress=false"]
    monkeypatch.setattr(sys, "argv", ["agnn-predict", *words])
    main()
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 12


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert quote_text(["out=~/x"], PredictConfig)[0] == "out='/home/me/x'"
    assert quote_text(["out='~/x'"], PredictConfig)[0] == "out='~/x'"
    assert quote_text(["run=null"], PredictConfig)[0] == "run=null"
    assert quote_text(["threshold=0.5"], PredictConfig)[0] == "threshold=0.5"


@pytest.mark.parametrize("frames", [1, 2])
def test_footage_shorter_than_a_graph(run, tmp_path, frames):
    out = predict(settings(run, write_video(tmp_path / "a.mp4", frames=frames), tmp_path / "out"))
    assert len(list((out / "masks").iterdir())) == frames
    with av.open(str(out / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == frames


def test_one_image_of_odd_size(run, tmp_path):
    Image.fromarray(picture(0, 35, 51)).save(tmp_path / "a.png")
    out = predict(settings(run, tmp_path / "a.png", tmp_path / "out"))
    with Image.open(out / "masks" / "a.png") as mask:
        assert mask.size == (51, 35)
    with av.open(str(out / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (52, 36)


def test_images_of_several_sizes(run, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, size in enumerate([(40, 60), (50, 30), (40, 60), (33, 47)]):
        Image.fromarray(picture(t, *size)).save(folder / f"{t}.png")
    out = predict(settings(run, folder, tmp_path / "out", "crf=fast", "workers=0"))
    sizes = []
    for t in range(4):
        with Image.open(out / "masks" / f"{t}.png") as mask:
            sizes.append(mask.size[::-1])
    assert sizes == [(40, 60), (50, 30), (40, 60), (33, 47)]


def test_a_first_image_that_cannot_be_read_is_left_out_like_any_other(run, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for t in range(4):
        Image.fromarray(picture(t, 40, 60)).save(folder / f"{t}.png")
    (folder / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 4 frames cannot be read"):
        predict(settings(run, folder, tmp_path / "out"))
    out = predict(settings(run, folder, tmp_path / "out", "on_error=skip"))
    assert sorted(p.name for p in (out / "masks").iterdir()) == ["1.png", "2.png", "3.png"]


def test_a_picture_that_its_camera_turned_has_a_mask_as_it_is_shown(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, 40, 60)).save(tmp_path / "a.jpg", exif=exif)
    out = predict(settings(run, tmp_path / "a.jpg", tmp_path / "out"))
    with Image.open(out / "masks" / "a.png") as mask:
        assert mask.size == (40, 60)
    assert open_footage(tmp_path / "a.jpg").size == (60, 40)


def test_proposals_that_have_changed_are_other_proposals(run, tmp_path):
    folder, proposals = tmp_path / "frames", tmp_path / "proposals"
    for place in (folder, proposals):
        place.mkdir()
    for t, size in enumerate([(40, 60), (40, 60), (50, 30)]):
        Image.fromarray(picture(t, *size)).save(folder / f"{t}.png")
        Image.fromarray(np.ones(size, np.uint8)).save(proposals / f"{t}.png")
    words = ("instances=masks", f"instances.source='{proposals}'", "instances.agreement=0", "instances.min_length=1")
    out = predict(settings(run, folder, tmp_path / "out", *words))
    with Image.open(out / "masks" / "2.png") as mask:
        assert mask.size == (30, 50), "frames of another size go on, too"
        assert np.asarray(mask).max() > 0
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(proposals / "0.png")
    with pytest.raises(ConfigError, match="proposals"):
        predict(settings(run, folder, tmp_path / "out", *words))


def test_the_overlay_keeps_time_and_orientation(run, tmp_path):
    times = [0, 40, 105, 195, 235, 300, 390, 1000, 1040, 1105, 2000, 2040]
    source = turn(write_video(tmp_path / "a.mp4", times=times), 90)
    out = predict(settings(run, source, tmp_path / "out"))
    with av.open(str(out / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    assert [round(1000 * f.time) for f in frames] == times
    assert (stream.width, stream.height) == (48, 64)
    out = predict(settings(run, source, tmp_path / "none", "overlay=false"))
    assert not (out / "overlay.mp4").exists()


def test_a_full_disk_loses_nothing(run, video, tmp_path, monkeypatch):
    whole = files(predict(settings(run, video, tmp_path / "whole")))
    save, room = Image.Image.save, [5]

    def full(self, path, *rest, **named):
        room[0] -= 1
        if room[0] < 0:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        save(self, path, *rest, **named)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        predict(settings(run, video, tmp_path / "out"))
    monkeypatch.undo()
    assert len(files(tmp_path / "out")) == 5
    assert files(tmp_path / "out").items() <= whole.items()
    assert files(predict(settings(run, video, tmp_path / "out"))) == whole


def test_without_a_checkpoint_the_weights_of_the_package_are_taken(run, video, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    cfg = replace(settings(run, video, tmp_path / "out"), run=None)
    with pytest.raises(ConfigError, match=r"no model given \(run=DIR .* ckpt=FILE\).* has no pretrained weights"):
        predict(cfg)
    convert(ConvertConfig(run=str(run.folder), out=str(tmp_path / f"{pretrained.DEFAULT}.safetensors")))
    predict(cfg)
    assert f"pretrained/{pretrained.DEFAULT} on cpu" in capsys.readouterr().out
    predict(replace(cfg, ckpt="pretrained"))
    assert "12 frames are there from before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "input= is needed"),
        (("input=a.mp4",), "out= is needed"),
        (("input=nowhere.mp4", "out=o", "run={run}"), "input=nowhere.mp4: no such file"),
        (("input=nowhere.mp4", "out=o", "run=nowhere"), "run=nowhere"),
        (("input=nowhere.mp4", "out=o", "run={run}", "dtype=fp8"), "dtype=fp8: must be one of auto, fp32, bf16, fp16"),
        (("input=nowhere.mp4", "out=o", "run={run}", "scales=[]"), "scales="),
    ],
)
def test_wrong_calls_end_with_a_sentence(run, tmp_path, words, message):
    done = call_command("predict", *(word.format(run=run.folder) for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_errors_of_workers_reach_the_caller(run, video, tmp_path):
    """A disk that cannot be written, seen by a process of the CRF."""
    cfg = settings(run, video, tmp_path / "out", "crf=fast", "workers=1")
    mask = predict(cfg) / "masks" / "00003.png"
    mask.unlink()
    mask.mkdir()
    with pytest.raises(OSError, match=r"00003\.png"):
        predict(cfg)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_video(run, tmp_path):
    short, long = (
        peak_of_prediction(run.folder, write_video(tmp_path / f"{n}.mp4", frames=n, size=(240, 320)), tmp_path / str(n))
        for n in (30, 150)
    )
    # 120 frames more would be 28 MB of pixels, and 37 MB of probabilities
    assert long - short < 12


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_a_corrected_frame_is_not_taken_for_done(run, tmp_path, suffix):
    """Frames of one size each; the one that is corrected is neither first, last nor in the middle."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for t in range(6):
        Image.fromarray(picture(t)).save(frames / f"{t}.{suffix}")
    predict(predict_config(run.folder, frames, tmp_path / "out", "overlay=false"))
    corrected = picture(1)
    corrected[20:40, 20:40] = 255
    Image.fromarray(corrected).save(frames / f"1.{suffix}")
    with pytest.raises(ConfigError, match=r"holds masks of other settings:\n  files:"):
        predict(predict_config(run.folder, frames, tmp_path / "out", "overlay=false"))
    predict(predict_config(run.folder, frames, tmp_path / "out", "overlay=false", "overwrite=true"))


@pytest.mark.parametrize("suffix", ["tiff", "webp", "png"])
def test_a_stack_of_pictures_is_predicted_whole(run, tmp_path, suffix):
    pages = [Image.fromarray(picture(t)) for t in range(8)]
    pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:])
    out = predict(predict_config(run.folder, tmp_path / f"a.{suffix}", tmp_path / "out"))
    assert [p.stem for p in sorted((out / "masks").iterdir())] == [f"{i:05d}" for i in range(8)]
    assert len(VideoFile(out / "overlay.mp4")) == 8


def test_the_overlay_keeps_pixels_that_are_not_square(run, tmp_path):
    source = write_video(tmp_path / "a.mp4", "libx264", **{"x264-params": "sar=16/11"})
    out = predict(predict_config(run.folder, source, tmp_path / "out"))
    assert VideoFile(out / "overlay.mp4").pixel_aspect == Fraction(16, 11)


def test_hdr_footage_is_said(run, tmp_path, capsys):
    options = {"x265-params": "transfer=18:colorprim=9:colormatrix=9:log-level=none"}
    source = write_video(tmp_path / "a.mp4", "libx265", pix_fmt="yuv420p10le", **options)
    predict(predict_config(run.folder, source, tmp_path / "out", "overlay=false"))
    assert "note: HDR footage (HLG)" in capsys.readouterr().out
