"""Commands through their entry points: in a process of their own, or in this one, which saves the imports."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

#: Seconds after which what a test waits for counts as stuck; on a free machine it takes a fraction of that.
PATIENCE = 300.0


def run_python(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with ``cwd`` as its working folder and ``env`` added to its environment."""
    call, env = [sys.executable, *words], {**os.environ, **env}
    return subprocess.run(call, capture_output=True, text=True, cwd=cwd, env=env, timeout=PATIENCE, check=False)


def run_command(command: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``agnn-<command>`` in a process of its own, with ``cwd`` as its working folder."""
    return run_python("-m", f"agnn_lit.{command}", *words, cwd=cwd)


def call_command(command: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call the entry point of ``agnn-<command>`` in this process, with ``cwd`` as its working folder.

    An error that the command does not turn into a sentence is raised, where a process would print a traceback.
    """
    main = import_module(f"agnn_lit.commands.{command}").main
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [f"agnn-{command}", *words])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess([command, *words], code, out.getvalue(), err.getvalue())


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until ``condition()`` is true. The process that is to make it so, where given, must not end before."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            assert condition(), f"ended with code {process.returncode} before: {process.communicate()}"
            return
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
