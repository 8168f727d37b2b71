"""Every command in the documents: its target or script exists, and its settings compose and pass the checks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from agnn_lit import config
from agnn_lit.commands.command_line import quote_text
from agnn_lit.shared import runs

config.register_schemas()
runs.register_resolvers()

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = sorted(
    {
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "experiments").glob("*/README.md"),
    }
)
#: What a make target runs with ARGS.
TARGETS = {
    "train": "train",
    "sweep": "train",
    "eval": "evaluate",
    "predict": "predict",
    "report": "report",
    "benchmark": "benchmark",
}


def commands() -> list[tuple[str, str]]:
    """Name of the document, and command, for each line of each shell block; continued lines are joined."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(document.relative_to(ROOT).as_posix(), line.split("  #")[0].strip()) for line in lines]
    return [(name, line) for name, line in found if line and not line.startswith("#")]


def first_value(override: Override) -> str:
    value = override.value()
    if not override.is_sweep_override():
        return override.input_line or ""
    first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_iterator())
    return f"{override.key_or_group}={first}"


def check_settings(command: str, settings: list[str]) -> None:
    """Compose settings as the command would, with the first value of what is swept or searched."""
    swept = bool({"-m", "--multirun"} & set(settings))
    settings = [s for s in settings if s not in ("-m", "--multirun")]
    settings = quote_text(settings, config.SCHEMAS[command], swept=swept)
    swept = [first_value(override) for override in OverridesParser.create().parse_overrides(settings)]
    with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
        cfg = config.typed(compose(command, overrides=swept), config.SCHEMAS[command])
    if command == "train" and cfg.run is None:
        config.check_train(cfg)


# What a plugin registers is known once it is imported: tests/test_documents.py runs these commands.
@pytest.mark.parametrize(
    ("document", "line"), [command for command in commands() if "plugins=[my_pkg" not in command[1]]
)
def test_command(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGNN_DAVIS_ROOT", "/data/DAVIS")
    words = shlex.split(line)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    program, rest = words[0].rpartition("/")[2], words[1:]
    if program == "make":
        target = rest[0]
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{document}: no target {target}"
        given = next((w.partition("=")[2] for w in rest if w.startswith("ARGS=")), "")
        if target in TARGETS:
            experiments = [f"experiment={w[4:]}" for w in rest if w.startswith("EXP=") and target == "sweep"]
            check_settings(TARGETS[target], [*experiments, *shlex.split(given)])
    elif program.startswith("agnn-"):
        check_settings(program.removeprefix("agnn-"), rest)
    elif program in ("python", "python3"):
        assert (ROOT / rest[0]).is_file(), f"{document}: no file {rest[0]}"
    else:
        assert program in ("pre-commit", "git", "cd", "pip", "wandb"), f"{document}: unknown command {line}"


def test_there_are_commands() -> None:
    assert {"make demo", "make test"} <= {line for _, line in commands()}
