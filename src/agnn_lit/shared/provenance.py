"""What a run is on disk: its folder's name, its state, where it came from, and how it is resumed.

A run folder holds ``config.yaml`` (resolved), ``status.json``, ``metrics.csv``, ``checkpoints/best.ckpt``
and ``checkpoints/last.ckpt``, ``overlays/`` (validation frames), ``wandb/`` and ``evaluations/``.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = ("agnn-lit", "torch", "torchvision", "pytorch-lightning", "hydra-core", "wandb", "numpy")


def git_revision() -> str:
    """Revision of the checkout that the code runs from, ``+changes`` when it is not clean; else ``unknown``."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout

    try:
        if not git("ls-files", Path(__file__).name).strip():
            return "unknown"  # installed inside somebody else's repository
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
