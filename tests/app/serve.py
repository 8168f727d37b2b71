"""agnn-app with a slow network: python -m tests.app.serve FILE SETTING …; each encoding adds a byte to FILE."""

import sys
import time
from pathlib import Path

from agnn_lit.commands.app import main
from agnn_lit.inference import video

if __name__ == "__main__":
    counted = Path(sys.argv.pop(1))
    encode = video._encode

    def slow(*given: object) -> None:
        time.sleep(0.3)
        with counted.open("ab") as file:
            file.write(b".")
        encode(*given)

    video._encode = slow
    main()
