"""Errors of training, explained with what to do about them."""

from __future__ import annotations

import re

from agnn_lit.config import ConfigError, TrainConfig
from agnn_lit.data.video import DataError
from agnn_lit.shared.runs import Run, RunError


def readable_error(error: BaseException, cfg: TrainConfig) -> BaseException:
    """Return a RunError or DataError that explains an error of training; an unknown error is returned as it is."""
    if isinstance(error, DataError):  # a loader process adds its traceback to the message
        said = str(error).strip().splitlines()[-1]
        return DataError(said.removeprefix(f"{DataError.__module__}.DataError: "))
    if isinstance(error, ValueError) and str(error).startswith("loss.eta=literal"):
        return RunError(str(error))
    if isinstance(error, RuntimeError) and re.search("Connection (closed|reset) by peer|remote process", str(error)):
        return RunError("another process of this run has failed, so this one stops; see that process's message")
    return RunError(_memory_advice(cfg, error)) if _is_out_of_memory(error) else error


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch has its own exception type only on GPUs."""
    return isinstance(error, (MemoryError, RuntimeError)) and bool(
        re.search("out of memory|not enough memory|can't allocate memory", str(error), re.IGNORECASE)
    )


def _memory_advice(cfg: TrainConfig, error: BaseException) -> str:
    """List settings that need less memory, and how much less: activations grow with clips, frames and pixels."""
    m, c = cfg.model, cfg.clips
    height, width = c.size
    settings = [
        (c.batch_size > 1, f"clips.batch_size={c.batch_size // 2}", f"{c.batch_size // 2 / c.batch_size:.0%}"),
        (cfg.trainer.precision == "32-true", "precision=bf16", "about half"),
        (not m.checkpoint_rounds and m.rounds > 1, "model.checkpoint_rounds=true", f"1/{m.rounds} of the graph's part"),
        (m.frames > 2, f"model.frames={m.frames - 1}", f"{(m.frames - 1) / m.frames:.0%}"),
        (True, f"clips.size=[{height * 7 // 10},{width * 7 // 10}]", "49%"),
    ]
    lines = [f"  {setting:32} {share} of the activations" for useful, setting, share in settings if useful]
    accumulate = f"trainer.accumulate={2 * cfg.trainer.accumulate}"
    return (
        f"out of memory at clips.batch_size={c.batch_size}, model.frames={m.frames}, clips.size={list(c.size)}: "
        f"{str(error).splitlines()[0]}\nEach of these settings needs less memory:\n"
        + "\n".join(lines)
        + f"\n{accumulate} keeps the global batch size when clips.batch_size is halved"
    )


def check_last_checkpoint(run: Run) -> None:
    """Raise ConfigError if ``last.ckpt`` is damaged or not a checkpoint of agnn-train."""
    import torch

    try:
        content = torch.load(run.last, map_location="cpu", weights_only=True, mmap=True)
        missing = {"state_dict", "optimizer_states", "loops", "hyper_parameters"} - content.keys()
    except Exception as error:  # on a damaged file torch.load may raise anything
        raise ConfigError(
            f"{run.last}: cannot resume from it ({str(error).splitlines()[0]}); replace the file, or start again with "
            "overwrite=true"
        ) from error
    if missing:
        raise ConfigError(f"{run.last}: cannot resume from it, it has no {', '.join(sorted(missing))}")
