"""Files read in a process of their own: if a library crashes on one, the user gets an error and the program goes on.

The readers of :mod:`DeepSegLogic.io`, for the command line, cohorts and the page. Arrays come through shared memory;
nothing is pickled. The process may use the free memory, and no more time than :data:`PATIENCE_S`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..io.files import must_exist
from ..io.slicer_scene import SUFFIX, SlicerScene
from ..util.errors import Cancelled, DeepSegError, InputError
from ..util.progress import Cancel, never_cancel
from ..util.staging import temporary_folder

PATIENCE_S = 600.0
"""Seconds that one file may take, or one folder of DICOM slices."""

READER = "DeepSegLogic.worker.isolated_reader"
"""The module that the process serves."""

_GRACE_S = 0.5  # until a cancelled reader is killed: libraries do not check
_CRASHED = ("internal.crash", "resource.killed")  # see DeepSegLogic.worker.error_mapping


def read_volume(path: Path | str, *, cancel: Cancel = never_cancel) -> Volume:
    """As :func:`DeepSegLogic.io.read.read_volume`.

    Raises:
        InputError: as there; or the reader crashed, or took too long.
        ResourceError: not enough memory.
        Cancelled: the user cancelled.
    """
    volume: Volume = _read("read_volume", path, cancel)
    return volume


def read_label_map(path: Path | str, source: Path | str | None = None, *, cancel: Cancel = never_cancel) -> LabelMap:
    """As :func:`DeepSegLogic.io.read.read_label_map`; raises as :func:`read_volume`."""
    label_map: LabelMap = _read("read_label_map", path, cancel, source="" if source is None else str(source))
    return label_map


def read_scene_or_volume(
    path: Path | str, scratch: Path | None = None, *, cancel: Cancel = never_cancel
) -> SlicerScene:
    """Read a scene, or a volume as a scene without a segmentation; raises as :func:`read_volume`.

    Args:
        path: ``.mrb``, or what :func:`read_volume` takes.
        scratch: where to unpack; all files are removed again.
    """
    if Path(path).suffix.lower() != SUFFIX:
        return SlicerScene(read_volume(path, cancel=cancel))
    fields = _read("read_slicer_scene", path, cancel, scratch)
    return SlicerScene(**{**fields, "ignored": set(fields["ignored"])})


def _read(request: str, path: Path | str, cancel: Cancel, scratch: Path | None = None, **more: Any) -> Any:
    from . import ProcessLink, WorkerClient

    must_exist(Path(path).expanduser())  # which needs no process

    end = time.monotonic() + PATIENCE_S
    with (
        temporary_folder(scratch) as folder,  # also removes what a crash leaves behind
        WorkerClient(lambda: ProcessLink(handlers=READER), grace=_GRACE_S) as reader,
    ):
        try:
            return reader.call(
                request, path=str(path), scratch=str(folder), cancel=lambda: cancel() or time.monotonic() > end, **more
            )
        except Cancelled as error:
            if cancel():
                raise
            raise _refused(path, f"took longer to read than {PATIENCE_S / 60:.0f} minutes") from error
        except DeepSegError as error:
            if error.code not in _CRASHED:
                raise
            raise _refused(path, f"made its reader crash ({error.message.rstrip('.')})") from error


def _refused(path: Path | str, what: str) -> InputError:
    return InputError(f"{path} {what}.", "The file is damaged: copy or export it again.", code="input.crash")
