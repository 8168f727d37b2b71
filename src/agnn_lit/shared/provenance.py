"""Where a result comes from: git revision and package versions."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = ("agnn-lit", "torch", "torchvision", "pytorch-lightning", "hydra-core", "wandb", "numpy")


def git_revision() -> str:
    """Git revision of the code, with ``+changes`` if the checkout is not clean; ``unknown`` outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout

    try:
        if not git("ls-files", Path(__file__).name).strip():
            return "unknown"  # installed inside another repository
        return git("rev-parse", "HEAD").strip() + ("+changes" if git("status", "--porcelain").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
