"""The Python client of a server: the same calls as on this machine, with the same results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..util.errors import Cancelled, DeepSegError, UsageError
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .connection import Connection
from .following import follow
from .protocol import VERSION
from .uploads import upload

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.types import Affine
    from ..data.volume import Volume
    from ..models.card import ModelCard
    from ..refinement import Refinement
    from ..refinement.prompts import Prompt
    from ..segmentation import Result
    from ..surfaces import SurfaceSet

_TRIES = 3
_PLENTY = 64 << 20


class Server:
    """A DeepSeg server. Voxels and geometry are sent to it; names and headers of files are not.

    A volume that the server has is not sent again. Each call is a job: it goes on if the connection is lost or this
    program ends, and the same call finds it again.

    Args:
        url: such as ``https://gpu.example:8766``; ``http`` only for this machine, e.g. the end of an ssh tunnel.
        token: of the user, made by ``deepseg tokens add``.
        fingerprint: SHA-256 of the certificate that the server must show; empty if an authority signed it.
        patience_s: how long to try again while the server cannot be reached.

    Example:
        >>> from DeepSegLogic import Server, read_volume
        >>> server = Server("http://127.0.0.1:8766", "the token")
        >>> result = server.segment(read_volume("ct.nrrd"), "ct_demo")  # doctest: +SKIP
    """

    def __init__(self, url: str, token: str, fingerprint: str = "", patience_s: float = 60.0) -> None:
        self.connection = Connection(url, token, fingerprint, patience_s)
        self._checked = False

    def models(self, *, cancel: Cancel = never_cancel, patience_s: float | None = None) -> list[ModelCard]:
        """The models that are installed on the server.

        Args:
            patience_s: for this call, instead of the server's.

        Raises:
            DeepSegError: the server refuses, or cannot be reached.
            Cancelled: ``cancel`` said so.
        """
        from ..models.card import ModelCard

        self._check_version(cancel, patience_s)
        cards = self.connection.ask("GET", "/models", cancel=cancel, patience_s=patience_s)
        try:
            return [ModelCard.from_json(card) for card in cards]
        except (ValueError, TypeError) as error:
            raise DeepSegError(f"The server's list of models cannot be used: {error}.", "Update both sides.") from error

    @checks_arguments
    def segment(
        self,
        volume: Volume,
        model: str,
        *,
        channels: Mapping[str, Volume] | None = None,
        structures: list[str] | None = None,
        quality: str = "standard",
        roi: Any = None,
        force: bool = False,
        keep_probabilities: bool = False,
        uncertainty: bool = False,
        min_piece_ml: float = 0.0,
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
    ) -> Result:
        """:func:`DeepSegLogic.segment` on the server, on a device of its choice.

        Args:
            channels: by the number of the channel.

        Raises:
            DeepSegError: as there; or the server refuses, or cannot be reached.
            Cancelled: the job was stopped.
        """
        from ..inference.presets import quality as quality_named
        from .results import checked_result

        quality_named(quality)  # before anything is sent
        self._check_version()
        others = dict(channels or {})
        request: dict[str, Any] = {
            "request": "segment",
            "volume": self._send(volume, progress, cancel),
            "modality": volume.modality,
            "model": model,
            "channels": {str(n): self._send(other, progress, cancel) for n, other in others.items()},
            "structures": structures,
            "quality": quality,
            "force": force,
            "uncertainty": uncertainty,
            "keep_probabilities": keep_probabilities,
            "min_piece_ml": min_piece_ml,
        }
        if roi is not None and np.ndim(roi) > 1:
            mask = np.ascontiguousarray(np.asarray(roi) != 0, np.uint8)
            request["roi_mask"] = upload(self.connection, mask, volume.ijk_to_ras, progress, cancel)
        elif roi is not None:
            request["roi"] = [float(x) for x in roi]
        with _named(volume):
            value = self._run(request, 40 * volume.array.size + _PLENTY, progress, cancel)
        result = checked_result(value, volume.array.shape, volume.ijk_to_ras)
        result.warnings = list(dict.fromkeys([*volume.warnings, *(_with_name(w, volume) for w in result.warnings)]))
        return result

    @checks_arguments
    def refine(
        self,
        label_map: LabelMap,
        prompts: Sequence[Prompt],
        *,
        volume: Volume,
        model: str | None = None,
        reach: float = 1.0,
        locked: Sequence[str] | None = None,
        add: Sequence[str] = (),
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
    ) -> Refinement:
        """:func:`DeepSegLogic.refine` on the server, which tells no :attr:`regions` of prompts.

        Args:
            model: id of a model that takes prompts; None for the solver.

        Raises:
            DeepSegError, Cancelled: as :meth:`segment`.
        """
        from ..refinement.prompts import prompts_to_json
        from .results import checked_refinement

        self._check_version()
        request = {
            "request": "refine",
            "volume": self._send(volume, progress, cancel),
            "modality": volume.modality,
            "label_map": self._label_map(label_map, progress, cancel),
            "prompts": prompts_to_json(prompts),
            "model": model,
            "reach": reach,
            "locked": None if locked is None else list(locked),
            "add": list(add),
        }
        with _named(volume):
            most = 4 * label_map.array.size * (2 + len(label_map.layers))  # one for a structure that a prompt adds
            value = self._run(request, most + _PLENTY, progress, cancel)
        return checked_refinement(value, label_map, len(prompts))

    @checks_arguments
    def surfaces(
        self,
        label_map: LabelMap,
        structures: Sequence[str] | None = None,
        *,
        smoothing: str = "standard",
        repair_crossings: bool = False,
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
    ) -> SurfaceSet:
        """:func:`DeepSegLogic.make_surfaces` on the server.

        Raises:
            DeepSegError, Cancelled: as :meth:`segment`.
        """
        from ..surfaces.extract import check_smoothing
        from .results import checked_surfaces

        check_smoothing(smoothing)  # before anything is sent
        self._check_version()
        request = {
            "request": "surfaces",
            "label_map": self._label_map(label_map, progress, cancel),
            "structures": None if structures is None else list(structures),
            "smoothing": smoothing,
            **({"repair_crossings": True} if repair_crossings else {}),
        }
        most = 400 * label_map.array.size * max(1, len(label_map.layers))
        return checked_surfaces(self._run(request, most + _PLENTY, progress, cancel))

    def estimate(
        self,
        shape: Sequence[int],
        ijk_to_ras: Affine,
        model: str,
        quality: str = "standard",
        *,
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
    ) -> dict[str, Any]:
        """Time and memory that a run takes on the server, as the worker's ``estimate`` tells them."""
        from .results import not_a_result

        self._check_version()
        matrix = [float(x) for x in np.asarray(ijk_to_ras).ravel()]
        request = {"request": "estimate", "shape": [int(n) for n in shape], "ijk_to_ras": matrix, "model": model}
        value = self._run({**request, "quality": quality}, _PLENTY, progress, cancel)
        if not isinstance(value, dict):
            raise not_a_result()
        return value

    def _run(self, request: dict[str, Any], most: int, progress: Progress, cancel: Cancel) -> Any:
        """The result of a job: found again if it is there already, else begun; deleted when it was fetched."""
        from .results import fetch

        job = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                state = follow(self.connection, job, request, progress, cancel)
                value = fetch(self.connection, job, most) if state["state"] == "done" else None
            except DeepSegError as error:  # fetched and deleted meanwhile by the same call elsewhere; or lost
                if last or error.code not in ("usage.unknown", "usage.no_result", "resource.connection"):
                    raise
                continue
            self._forget(job)
            if state["state"] == "done":
                return value
            if state["state"] == "failed":
                raise state["error"]
        raise Cancelled("The job was cancelled on the server.")

    def _forget(self, job: str) -> None:
        with suppress(DeepSegError):  # it is deleted in time
            self.connection.ask("DELETE", f"/jobs/{job}")

    def _send(self, volume: Volume, progress: Progress, cancel: Cancel) -> str:
        from ..data.volume_checks import reject_unusable

        reject_unusable(volume)  # before it travels
        with _named(volume):
            return upload(self.connection, volume.array, volume.ijk_to_ras, progress, cancel)

    def _label_map(self, label_map: LabelMap, progress: Progress, cancel: Cancel) -> dict[str, Any]:
        structures = [asdict(structure) for structure in label_map.structures]
        name = upload(self.connection, label_map.array, label_map.ijk_to_ras, progress, cancel)
        sent = {"volume": name, "structures": [{**s, "color": list(s["color"])} for s in structures]}
        if label_map.layers:
            sent["layers"] = [self._label_map(layer, progress, cancel) for layer in label_map.layers]
        return sent

    def _check_version(self, cancel: Cancel = never_cancel, patience_s: float | None = None) -> None:
        if self._checked:
            return
        about = self.connection.ask("GET", "/about", cancel=cancel, patience_s=patience_s)
        if not isinstance(about, dict) or about.get("service") != "deepseg":
            raise UsageError(
                f"No DeepSeg server answers at {self.connection.address.url}.", "Check the address.", code="usage.url"
            )
        if about.get("protocol") != VERSION:
            raise UsageError(
                f"The server speaks version {about.get('protocol')} of the protocol, this side version {VERSION}.",
                "Install the same version of DeepSeg on both sides.",
                code="usage.protocol",
            )
        self._checked = True


class _named:
    """In the ``with`` block, errors name the volume, which the server calls "The volume"."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, DeepSegError):
            error.message = _with_name(error.message, self._volume)


def _with_name(sentence: str, volume: Volume) -> str:
    known = sentence.startswith("The volume ")
    return f"{volume.name}{sentence.removeprefix('The volume')}" if known else sentence
