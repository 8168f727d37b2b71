"""A worker of ``agnn-predict`` for several films: ``python -m agnn_lit.inference.worker run=FOLDER``."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from agnn_lit.inference.films import Work, WorkerProgress, work_of, work_through
from agnn_lit.inference.load import open_trained
from agnn_lit.shared.processes import interrupt, receiving
from agnn_lit.shared.runs import Run


def _with_share(work: Work) -> Work:
    """Limit the CRF's processes to the share of the processors that the launcher gave by OMP_NUM_THREADS."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    if work.cfg.workers is None and share.isdigit():
        work.cfg = replace(work.cfg, workers=max(1, min(8, int(share) - 1)))
    return work


def main() -> None:
    """Predict films until none is left; a signal stops it, and films in work are taken up again later."""
    run = Run(Path(sys.argv[1].removeprefix("run=")))
    try:
        with receiving(interrupt):
            run.update(state="running", error=None)
            work, first = work_of(run.folder)
            work = _with_share(work)
            work_through(work, open_trained(work.checkpoint, work.cfg), first, WorkerProgress(run.folder))
            run.update(state="done")
    except KeyboardInterrupt as error:
        run.update(state="interrupted")
        raise SystemExit(130) from error
    except Exception as error:
        traceback.print_exc()
        run.update(state="failed", error=str(error))
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
