"""``deepseg demo``: from a real CT to organ models, without files of your own."""

from pathlib import Path
from typing import Annotated

from ..models.card import DEMO_MODEL
from .console import Console
from .options import Json, Quiet, output_folder


def demo(
    output: Annotated[Path, output_folder("For the results.")] = Path("demo-output"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment the chest CT of the package slicerio with the bundled model."""
    from .segment import segment_to_folder

    source = demo_ct()
    console = Console(quiet, as_json)
    segment_to_folder(console, source, output, model=DEMO_MODEL, formats=["stl", "glb"])
    console.say(f"Look at {output / 'preview.png'}, or open segmentation.seg.nrrd in 3D Slicer.")
    console.say("`deepseg web` shows the same in the browser: open a CT and press Segment.")


def demo_ct() -> Path:
    """The chest CT in the package slicerio: 128×128×34 voxels of 3×3×10 mm."""
    import slicerio

    return Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"
