"""J, F and T of whole videos as a torchmetrics metric, for the validation of any LightningModule.

The only module of this folder that imports torch; import it by its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from agnn_lit.metrics import statistics
from agnn_lit.metrics.protocols import Protocol, get_protocol
from agnn_lit.metrics.region import Mask
from agnn_lit.metrics.sequence import score_sequence


class VideoScores(Metric):
    """Mean J, F and T over videos, of all processes that validate together.

    Each process may have another number of videos, also none. Only three numbers a video are kept. Nothing is added
    to the ``state_dict`` of a module that holds the metric. Example::

        class MyModule(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.scores = VideoScores("davis2016")

            def validation_step(self, video, batch_idx):
                masks = self.predict(video.frames) > 0.5  # (N, H, W)
                self.scores.update(video.name, video.frame_names, masks, video.annotations)

            def on_validation_epoch_end(self):
                means = self.scores.compute()  # synchronises the processes
                self.log_dict({f"val/{name}": value for name, value in means.items()})
                self.scores.reset()

    Args:
        protocol: which frames count and how, one of the options of ``protocol`` or its name. Where it tells objects
            apart, masks hold object ids and the means are over objects.

    Raises:
        ConfigError: no protocol has this name.
    """

    is_differentiable = False
    full_state_update = False

    J: list[Tensor]
    F: list[Tensor]
    T: list[Tensor]

    def __init__(self, protocol: Protocol | str = "simple") -> None:
        super().__init__()
        self.protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
        for name in ("J", "F", "T"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @property
    def dtype(self) -> torch.dtype:
        """Type of the scores, also in a process without videos: double precision wherever the device has it."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def update(
        self,
        name: str,
        frames: Sequence[str],
        predictions: Iterable[Mask | Tensor | None],
        annotations: Iterable[Mask | Tensor | None],
    ) -> None:
        """Score one whole video; its masks are read one by one and not kept.

        Arguments and errors are those of :func:`~agnn_lit.metrics.sequence.score_sequence`. Foreground is any value
        > 0, so threshold probabilities first. A protocol may count T for videos of some names only.
        """
        for score in score_sequence(name, frames, _arrays(predictions), _arrays(annotations), self.protocol):
            for state, value in ((self.J, score.J_mean), (self.F, score.F_mean), (self.T, score.T)):
                state.append(torch.tensor([value], dtype=self.dtype, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the means over videos as ``{"J": …, "F": …, "T": …}``; NaN where no video has the score."""
        return {name: self._mean(getattr(self, name)) for name in ("J", "F", "T")}

    def _mean(self, values: list[Tensor] | Tensor) -> Tensor:
        """Mean of the values, NaN left out."""
        values = dim_zero_cat(values) if len(values) else torch.zeros(0)
        return torch.tensor(statistics.mean(values.cpu().numpy()), dtype=self.dtype, device=self.device)


def _arrays(masks: Iterable[Mask | Tensor | None]) -> Iterator[Mask | None]:
    for mask in masks:
        yield np.asarray(mask.detach().cpu()) if isinstance(mask, Tensor) else mask
