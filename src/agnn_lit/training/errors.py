"""What ends a run before its time, said so that people know what to do."""

from __future__ import annotations

import re

from agnn_lit.config import ConfigError, TrainConfig
from agnn_lit.data.video import DataError
from agnn_lit.shared.runs import Run, RunError


def for_people(error: BaseException, cfg: TrainConfig) -> BaseException:
    """Return what to raise for an error of training: what it means, where that is known, else the error itself."""
    if isinstance(error, DataError):  # from a loader process it comes with the whole of its traceback
        said = str(error).strip().splitlines()[-1]
        return DataError(said.removeprefix(f"{DataError.__module__}.DataError: "))
    if isinstance(error, ValueError) and str(error).startswith("loss.eta=literal"):
        return RunError(str(error))
    if isinstance(error, RuntimeError) and re.search("Connection (closed|reset) by peer|remote process", str(error)):
        return RunError("another process of this run has ended, and so does this one; that one's message says why")
    return RunError(_memory_advice(cfg, error)) if _is_out_of_memory(error) else error


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed; torch has a type for it on GPUs only."""
    return isinstance(error, (MemoryError, RuntimeError)) and bool(
        re.search("out of memory|not enough memory|can't allocate memory", str(error), re.IGNORECASE)
    )


def _memory_advice(cfg: TrainConfig, error: BaseException) -> str:
    """Say which settings take less memory, and by how much: activations grow with clips, frames and pixels alike."""
    m, c = cfg.model, cfg.clips
    height, width = c.size
    settings = [
        (c.batch_size > 1, f"clips.batch_size={c.batch_size // 2}", f"{c.batch_size // 2 / c.batch_size:.0%}"),
        (cfg.trainer.precision == "32-true", "precision=bf16", "about half"),
        (
            m.rounds > 1 and not m.checkpoint_rounds,
            "model.checkpoint_rounds=true",
            f"1/{m.rounds} of the graph's part",
        ),
        (m.frames > 2, f"model.frames={m.frames - 1}", f"{(m.frames - 1) / m.frames:.0%}"),
        (True, f"clips.size=[{height * 7 // 10},{width * 7 // 10}]", "49%"),
    ]
    lines = [f"  {setting:32} {share} of the activations" for useful, setting, share in settings if useful]
    accumulate = f"trainer.accumulate={2 * cfg.trainer.accumulate}"
    return (
        f"out of memory at clips.batch_size={c.batch_size}, model.frames={m.frames}, clips.size={list(c.size)}: "
        f"{str(error).splitlines()[0]}\nEach of these takes less:\n"
        + "\n".join(lines)
        + f"\n{accumulate} makes up for half the clips a step"
    )


def check_last(run: Run) -> None:
    """Raise ConfigError when the checkpoint to continue from is not whole, or not of a training run."""
    import torch

    try:
        content = torch.load(run.last, map_location="cpu", weights_only=True, mmap=True)
        missing = {"state_dict", "optimizer_states", "loops", "hyper_parameters"} - content.keys()
    except Exception as error:  # torch.load raises whatever a torn file leads its unpickler into
        raise ConfigError(
            f"{run.last}: cannot be continued from ({str(error).splitlines()[0]}); put a whole one in its place, "
            "or train anew with overwrite=true"
        ) from error
    if missing:
        raise ConfigError(f"{run.last}: cannot be continued from, it has no {', '.join(sorted(missing))}")
