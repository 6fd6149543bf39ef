"""Files read in a process of their own: if a library crashes on one, the user gets an error and the program goes on.

The readers of :mod:`DeepSegLogic.io`, for the command line, cohorts and the page. Arrays come through shared memory;
nothing is pickled. The process may use the free memory, and for each file no more time than :data:`PATIENCE_S`.
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
from . import ProcessLink, WorkerClient

PATIENCE_S = 600.0
"""Seconds that one file may take, or one folder of DICOM slices."""

READER = "DeepSegLogic.worker.isolated_reader"
"""The module that the process serves."""

_GRACE_S = 0.5  # until a cancelled reader is killed: libraries do not check
_CRASHED = ("internal.crash", "resource.killed")  # see DeepSegLogic.worker.error_mapping


class IsolatedReader:
    """One process that reads files one after the other, for several files: its start takes longer than most.

    Args:
        cancel: see :mod:`DeepSegLogic.util.progress`.

    The methods raise InputError as the readers do, or if the process crashed or took too long; ResourceError if there
    is not enough memory; and Cancelled.
    """

    def __init__(self, cancel: Cancel = never_cancel) -> None:
        self._cancel = cancel
        self._client = WorkerClient(lambda: ProcessLink(handlers=READER), grace=_GRACE_S)

    def __enter__(self) -> IsolatedReader:
        self._client.start()  # while the caller does something else
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def volume(self, path: Path | str) -> Volume:
        """As :func:`DeepSegLogic.io.read.read_volume`."""
        volume: Volume = self._read("read_volume", path)
        return volume

    def label_map(self, path: Path | str, source: Path | str | None = None) -> LabelMap:
        """As :func:`DeepSegLogic.io.read.read_label_map`."""
        label_map: LabelMap = self._read("read_label_map", path, source="" if source is None else str(source))
        return label_map

    def scene_or_volume(self, path: Path | str, scratch: Path | None = None) -> SlicerScene:
        """A scene, or a volume as a scene without a segmentation.

        Args:
            path: ``.mrb``, or what :meth:`volume` takes.
            scratch: where to unpack; all files are removed again.
        """
        if Path(path).suffix.lower() != SUFFIX:
            return SlicerScene(self.volume(path))
        fields = self._read("read_slicer_scene", path, scratch)
        return SlicerScene(**{**fields, "ignored": set(fields["ignored"])})

    def _read(self, request: str, path: Path | str, scratch: Path | None = None, **more: Any) -> Any:
        must_exist(Path(path).expanduser())  # which needs no process
        end, cancel = time.monotonic() + PATIENCE_S, self._cancel
        with temporary_folder(scratch) as folder:  # also removes what a crash leaves behind
            try:
                return self._client.call(
                    request,
                    path=str(path),
                    scratch=str(folder),
                    cancel=lambda: cancel() or time.monotonic() > end,
                    **more,
                )
            except Cancelled as error:
                if cancel():
                    raise
                raise _refused(path, f"took longer to read than {PATIENCE_S / 60:.0f} minutes") from error
            except DeepSegError as error:
                if error.code not in _CRASHED:
                    raise
                raise _refused(path, f"made its reader crash ({error.message.rstrip('.')})") from error


def read_volume(path: Path | str, *, cancel: Cancel = never_cancel) -> Volume:
    """One volume, see :meth:`IsolatedReader.volume`."""
    must_exist(Path(path).expanduser())
    with IsolatedReader(cancel) as reader:
        return reader.volume(path)


def read_label_map(path: Path | str, source: Path | str | None = None, *, cancel: Cancel = never_cancel) -> LabelMap:
    """One label map, see :meth:`IsolatedReader.label_map`."""
    must_exist(Path(path).expanduser())
    with IsolatedReader(cancel) as reader:
        return reader.label_map(path, source)


def read_scene_or_volume(
    path: Path | str, scratch: Path | None = None, *, cancel: Cancel = never_cancel
) -> SlicerScene:
    """One scene or volume, see :meth:`IsolatedReader.scene_or_volume`."""
    must_exist(Path(path).expanduser())
    with IsolatedReader(cancel) as reader:
        return reader.scene_or_volume(path, scratch)


def _refused(path: Path | str, what: str) -> InputError:
    return InputError(f"{path} {what}.", "The file is damaged: copy or export it again.", code="input.crash")
