"""Which data an evaluation is of."""

from __future__ import annotations

from dataclasses import replace

from agnn_lit.config import DataConfig, EvaluatedData, SyntheticConfig
from agnn_lit.config.data import ChangedSynthetic
from agnn_lit.inference.evaluation_name import resolve_data


def test_the_share_of_a_training_does_not_limit_a_list_that_is_asked_for():
    trained = DataConfig("davis2016", "/d", "trainval", None, ["bear"], (0.0, 0.5), (0.5, 1.0))
    assert resolve_data(EvaluatedData(), trained, "test") == trained
    asked = resolve_data(EvaluatedData("davis2016", test_split="val"), trained, "test")
    assert (asked.test_split, asked.test_range, asked.sequences) == ("val", None, None)
    half = resolve_data(EvaluatedData(test_split="val", test_range=(0.0, 0.5)), trained, "test")
    assert half.test_range == (0.0, 0.5)


def test_changes_of_generated_videos_are_of_their_settings():
    assert list(ChangedSynthetic.__dataclass_fields__) == list(SyntheticConfig.__dataclass_fields__)
    elsewhere = DataConfig("davis2016", "/d")
    asked = EvaluatedData("synthetic", synthetic=ChangedSynthetic(length=5))
    assert resolve_data(asked, elsewhere, "test") == DataConfig("synthetic", synthetic=SyntheticConfig(length=5))


def test_sequences_of_training_do_not_limit_the_test_list():
    trained = DataConfig("davis2017", "/d", "train", "val", ["bear"])
    assert resolve_data(EvaluatedData(), trained, "test").sequences is None
    assert resolve_data(EvaluatedData(), trained, "train").sequences == ["bear"]
    assert resolve_data(EvaluatedData(sequences=["cows"]), trained, "test").sequences == ["cows"]
    without_list = replace(trained, test_split=None)
    assert resolve_data(EvaluatedData(), without_list, "test").sequences == ["bear"]
