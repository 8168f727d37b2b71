from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from agnn_lit.config import ConfigError, check_train
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.shared.runs import Run
from agnn_lit.training import module
from agnn_lit.training.callbacks import AveragedWeights, EpochLines
from agnn_lit.training.fit import train
from tests.configs import train_config


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


def state(run: Run, part: str = "state_dict", name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)[part]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_averaged_weights_are_their_formula_and_are_what_is_validated_and_loaded(trained, tmp_path, monkeypatch):
    """The training itself is that of the run without an average."""
    steps: list[dict[str, torch.Tensor]] = []
    validated: list[dict[str, torch.Tensor]] = []
    update, predict_masks = AveragedWeights.on_train_batch_end, module.predict_masks

    def recording(self, trainer, pl_module, *args):
        steps.append({k: v.clone() for k, v in pl_module.state_dict().items()})
        update(self, trainer, pl_module, *args)

    def predicting(model, *args):
        validated.append({f"model.{k}": v.clone() for k, v in model.state_dict().items()})
        return predict_masks(model, *args)

    monkeypatch.setattr(AveragedWeights, "on_train_batch_end", recording)
    monkeypatch.setattr(module, "predict_masks", predicting)
    run = Run(tmp_path / "run")
    train(train_config("trainer.ema=0.3"), run)
    assert same(state(run, "current_model_state"), state(trained))
    assert same(steps[-1], state(trained))

    assert len(steps) == 8
    average = {name: value.double() for name, value in steps[0].items()}
    for t, weights in enumerate(steps[1:], start=1):
        decay = min(0.3, (1 + t) / (10 + t))
        for name, value in weights.items():
            whole = not value.is_floating_point()
            average[name] = value if whole else decay * average[name] + (1 - decay) * value
    kept = state(run)
    assert kept.keys() == average.keys()
    for name, value in kept.items():
        torch.testing.assert_close(value.double(), average[name].double(), rtol=1e-5, atol=1e-8)
    assert not same(kept, steps[-1])
    assert any(name.endswith("running_mean") for name in kept)

    assert len(validated) == 4  # two videos after each of two epochs
    assert same(validated[0], validated[1])
    assert same(validated[2], kept)
    assert same(validated[3], kept)
    assert not same(validated[0], kept)
    loaded = load_checkpoint(run.last)[1].state_dict()
    assert same({f"model.{name}": value for name, value in loaded.items()}, kept)
    assert any(same(state(run, name="best"), average) for average in validated)


def test_without_a_decay_there_is_no_average(trained):
    content = torch.load(trained.last, weights_only=True)
    assert not {"current_model_state", "averaging_state"} & content.keys()
    assert not any("Averaged" in name for name in content["callbacks"])


@pytest.mark.parametrize("decay", ["0", "1", "1.5", "-0.1"])
def test_a_decay_is_between_0_and_1(decay):
    with pytest.raises(ConfigError, match=r"trainer\.ema=.*: must lie in \(0, 1\)"):
        check_train(train_config(f"trainer.ema={decay}"))
