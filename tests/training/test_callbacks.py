from __future__ import annotations

from types import SimpleNamespace

import torch

from agnn_lit.training.callbacks import EpochLines


def trainer(epoch: int, **metrics: float) -> SimpleNamespace:
    values = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(current_epoch=epoch, max_epochs=3, is_global_zero=True, callback_metrics=values)


def test_lines_show_what_was_logged_and_do_not_flood(capsys):
    lines = EpochLines(seconds=3600)
    lines.on_train_epoch_end(trainer(0, train_loss=0.5, val_J=0.25), None)
    lines.on_train_epoch_end(trainer(1, train_loss=0.4), None)
    lines.on_train_epoch_end(trainer(2, train_loss=0.3), None)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed] == ["epoch 1/3", "epoch 3/3"]  # the last one always
    assert "train/loss 0.500  val/J 0.250" in printed[0]
