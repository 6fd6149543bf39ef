"""What stands between DeepSeg's logic layer and 3D Slicer."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("DeepSegLogic") is None:  # a source checkout under "Additional module paths"
    sys.path.append(str(Path(__file__).resolve().parents[2]))
