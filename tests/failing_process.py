"""`tocsin run SERVICE`, but that it ends where it is told to: python failing_process.py run SERVICE

The file INSTANCE.point in the folder FAILING_POINTS names a point, and how often it is to be passed before.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tocsin.evaluator.activator.main import run_activator
from tocsin.evaluator.detector.main import run_detector

SERVICES = {"detector": run_detector, "activator": run_activator}


def main() -> int:
    folder, instance = Path(os.environ["FAILING_POINTS"]), os.environ["TOCSIN_INSTANCE"]
    told = folder / f"{instance}.point"

    def at(point: str) -> None:
        try:
            wanted, left = told.read_text().split()
            if wanted != point:
                return
            if int(left):
                told.write_text(f"{wanted} {int(left) - 1}")
                return
            told.unlink()
        except FileNotFoundError:
            return
        (folder / f"{instance}.ended").write_text(point)
        os.kill(os.getpid(), signal.SIGKILL)

    return SERVICES[sys.argv[2]](at)


if __name__ == "__main__":
    sys.exit(main())
