"""Weights that come with the package, by name: ``pretrained`` is the default one, ``pretrained/NAME`` any."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.config.registry import ConfigError, not_one_of

#: Folder of the weights files.
FOLDER = Path(__file__).parent
#: The file that ``pretrained`` alone stands for.
DEFAULT = "agnn_lite0_davis16"
_WORD = "pretrained"


def names() -> list[str]:
    """Names of the weights in the package, without suffix."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def locate(key: str, given: str) -> Path:
    """Return the file that a setting names: weights of the package, or else the path itself.

    Args:
        key: the setting, for error messages.
        given: ``pretrained``, ``pretrained/NAME`` (a path there needs a suffix), or a path.

    Raises:
        ConfigError: the package has no such weights.
    """
    first, slash, name = given.partition("/")
    if first != _WORD or "." in name or "/" in name or bool(slash) is not bool(name):
        return Path(given)
    found = names()
    if not found:
        raise ConfigError(
            f"{key}={given}: this installation of agnn_lit has no pretrained weights; give the file of a trained "
            f"model, such as {key}=runs/agnn/default/checkpoints/best.ckpt"
        )
    if (name or DEFAULT) not in found:
        raise ConfigError(not_one_of(key, given, tuple(f"{_WORD}/{one}" for one in found)))
    return FOLDER / f"{name or DEFAULT}.safetensors"


def is_packaged(file: Path) -> bool:
    """Whether a file belongs to the package's weights."""
    return file.parent == FOLDER


def title(file: Path) -> str:
    """Return ``pretrained/NAME`` for weights of the package, else the path."""
    return f"{_WORD}/{file.stem}" if is_packaged(file) else str(file)
