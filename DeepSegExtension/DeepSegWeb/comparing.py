"""The page's comparisons of the result with what is uploaded: a reference, or an earlier scan."""

from __future__ import annotations

import asyncio
from pathlib import Path

from DeepSegLogic.util.errors import InputError, UsageError
from DeepSegLogic.worker.isolated import read_label_map, read_scene_or_volume

from .exporting import SCENE_FORMAT
from .transfers import Transfers


class Comparing:
    """Takes uploaded segmentations; each method returns when the comparison is done, or failed.

    Args:
        state: of the page.
        work: the session and its scene.
        transfers: has the folder for what is read and written.
        wait: returns when the session's task has ended.
    """

    def __init__(self, state, work, transfers: Transfers, wait):
        self._state, self._work, self._transfers, self._wait = state, work, transfers, wait

    async def with_reference(self, source: Path) -> None:
        """Compare with a reference segmentation of the same scan."""
        reference = await asyncio.to_thread(read_label_map, source)
        with self._state:
            self._state.alert = None
            self._work.session.compare(reference, self._work.labelMap())
        await self._wait()

    async def with_earlier(self, source: Path) -> None:
        """Compare with a scene, or a segmentation, of an earlier scan."""
        volume = None
        if source.suffix.lower() == f".{SCENE_FORMAT}":
            opened = await asyncio.to_thread(read_scene_or_volume, source, self._transfers.folder)
            volume, earlier = opened.volume, opened.label_map
            if earlier is None:
                raise InputError(
                    f"{source.name} has no segmentation.", "Segment the earlier scan first.", code="input.scene"
                )
        else:
            earlier = await asyncio.to_thread(read_label_map, source)
        with self._state:
            self._state.alert = None
            days, folder = self._days(), self._transfers.empty("follow-up")
            self._work.session.compare_with_earlier(earlier, volume, folder, days, self._work.labelMap())
        await self._wait()

    def _days(self) -> float | None:
        try:
            return float(self._state.days) if self._state.days else None
        except ValueError as error:
            raise UsageError("The days between the scans are not a number.", "Correct them.") from error
