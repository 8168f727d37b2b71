"""A package of somebody's own parts, written into a folder for tests."""

from __future__ import annotations

from pathlib import Path

PARTS = '''
"""Parts of my own: an encoder, a gate, a data set, a loss, a CRF backend and a protocol."""

import numpy as np
import torch
from torch import nn

from agnn_lit.config import register
from agnn_lit.metrics.protocols import Protocol


@register("backbone.name", "my_encoder", strides=(8,), pretrained=False, batch_norm_of_one=True)
class MyEncoder(nn.Sequential):
    def __init__(self, channels, stride=8, loop_reduction=None):
        super().__init__(nn.Conv2d(3, channels, 9, stride=stride, padding=4), nn.ReLU())


@register("model.gate", "my_gate")
class MyGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, m):
        return torch.sigmoid(self.weight) * m


class MyVideo:
    """A bright square that wanders over noise."""

    def __init__(self, number):
        self.name, self.size, self.number = f"square-{number}", (32, 48), number

    def __len__(self):
        return 5

    def frame_name(self, index):
        return f"{index:05d}"

    def _place(self, index):
        return 2 + (3 * index + self.number) % 16, 4 + (5 * index + self.number) % 28

    def mask(self, index):
        found = np.zeros(self.size, np.uint8)
        y, x = self._place(index)
        found[y : y + 12, x : x + 14] = 1
        return found

    objects = mask

    def frame(self, index):
        noise = np.random.default_rng(index).integers(0, 60, (*self.size, 3), np.uint8)
        return np.where(self.mask(index)[..., None] > 0, 220, noise).astype(np.uint8)


@register("data.name", "my_videos", protocol="my_protocol")
def my_videos(cfg, split):
    return [MyVideo(n) for n in (range(6) if split == "train" else range(6, 8))]


@register("loss.name", "my_loss")
def my_loss(cfg):
    return lambda logits, target: nn.functional.binary_cross_entropy_with_logits(logits, target)


@register("crf.backend", "my_crf")
def my_crf(probability, frame, cfg):
    return (probability + (frame.mean(axis=2) > 128)).astype(np.float32) / 2


register("protocol", "my_protocol")(Protocol("my_protocol", radius=1, stability="overlap"))
'''

#: Settings of a run of seconds with all of these parts.
WORDS = (
    "plugins=[my_pkg.parts]",
    "backbone.name=my_encoder",
    "model.gate=my_gate",
    "data=plugin",
    "data.name=my_videos",
    "loss.name=my_loss",
    "model.channels=16",
    "model.rounds=1",
    "clips.size=[32,48]",
    "clips.workers=1",
    "clips.val_share=0.2",
    "optim=adamw",
    "optim.lr=0.02",
    "clips.clips_per_video=16",
    "clips.batch_size=4",
    "clips.scale=[1.0,1.0]",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "trainer.progress=false",
    "logger=none",
)


def write_package(folder: Path) -> None:
    """Write the package ``my_pkg`` into a folder."""
    (folder / "my_pkg").mkdir(parents=True)
    (folder / "my_pkg" / "__init__.py").touch()
    (folder / "my_pkg" / "parts.py").write_text(PARTS)
