"""Where a result comes from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from agnn_lit.shared import provenance


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_is_that_of_the_checkout_that_holds_the_code(tmp_path, monkeypatch):
    code = tmp_path / "code.py"
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance.git_revision() == "unknown", "no repository"
    git(tmp_path, "init", "--quiet")
    assert provenance.git_revision() == "unknown", "a repository of something else"
    code.touch()
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "code")
    assert provenance.git_revision() == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").touch()
    assert provenance.git_revision() == git(tmp_path, "rev-parse", "HEAD") + "+changes"


def test_without_git_the_revision_is_unknown(monkeypatch):
    def no_git(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance.git_revision() == "unknown"


def test_versions_are_those_installed(monkeypatch):
    found = provenance.versions()
    assert found["torch"] == version("torch")
    assert "not installed" not in found.values()
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package",))
    python = ".".join(map(str, sys.version_info[:3]))
    assert provenance.versions() == {"python": python, "no-such-package": "not installed"}
