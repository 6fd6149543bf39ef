"""The corrected cases that a model may learn from: images and labels in a private folder of this machine.

::

    <root>/<model>/cases/<digest>/   image.nrrd, labels.seg.nrrd and case.json of one case
    <root>/<model>/next…             the version that is being made, see :mod:`.offer`

The folder is named after the model that was there first: its adapted versions learn from the same cases.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.label_grid import SAME_GRID_MM
from ..data.label_map import LabelMap, only
from ..data.records import on_same_grid
from ..data.volume import Volume, volume_digest
from ..data.volume_checks import reject_unusable
from ..io.patients import patient_key, patient_of
from ..models.files import check_regular, read_json
from ..models.find import find_model
from ..util.atomic_write import atomic_folder, cannot_write
from ..util.disk_space import check_free_space
from ..util.errors import DeepSegError, InputError, ModelError, UsageError
from ..util.file_names import is_file_name
from ..util.given import checks_arguments
from .lineage import check_can_learn, original_of

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..training.dataset import CaseFiles

MOST_CASES = 50
"""Corrected cases of one model."""

NEXT = "next"
"""Folder of a new version, and how the names of what belongs to it begin."""

_OTHER_DISK = "Free some space, or set DEEPSEG_CORRECTIONS to a folder on another disk."
_IMAGE, _LABELS, _FACTS = "image.nrrd", "labels.seg.nrrd", "case.json"


@dataclass(frozen=True)
class CorrectedCase:
    """One corrected case.

    Attributes:
        digest: SHA-256 of the image's voxels and geometry, see :func:`~DeepSegLogic.data.volume.volume_digest`.
        name: of the image, for the user.
        structures: names of those that are right; the others are not learnt from this case.
        created: when it was collected, ISO 8601, UTC.
        folder: of its files.
        patient: key of the patient (:func:`~DeepSegLogic.io.patients.patient_key`); empty if unknown.
        size_bytes: of its files.
        damage: why it cannot be used, in words; empty if it can.
    """

    digest: str
    name: str
    structures: tuple[str, ...]
    created: str
    folder: Path
    patient: str = ""
    size_bytes: int = 0
    damage: str = ""

    @property
    def files(self) -> CaseFiles:
        """The case as trainings take it."""
        from ..training.dataset import CaseFiles

        image, labels = self.folder / _IMAGE, self.folder / _LABELS
        return CaseFiles(self.name, image, labels, None, frozenset(self.structures), patient=self.patient)


class CorrectedCases:
    """The corrected cases of a model. They stay on this machine until they are removed.

    Args:
        model: an installed model or an adapted version of it, or its id.
        root: folder of the cases of all models; by default ``DEEPSEG_CORRECTIONS``, else ``DeepSeg/corrections`` in the
            user's data folder.

    Raises:
        ModelError: there is neither such a model nor a case of it.

    Example:
        >>> from DeepSegLogic import CorrectedCases, read_label_map, read_volume
        >>> cases = CorrectedCases("ct_demo", "my_corrections")
        >>> case = cases.add(read_volume("ct.nrrd"), read_label_map("organs.seg.nrrd"), ["left_lung"])
        >>> [(case.name, case.structures) for case in cases.all()]
        [('ct', ('left_lung',))]
        >>> cases.remove(case.digest)
        >>> cases.all()
        []
    """

    def __init__(self, model: str | ModelCard, root: Path | str | None = None) -> None:
        place = corrections_root(root)
        try:
            self.model = original_of(find_model(model) if isinstance(model, str) else model)
        except ModelError:
            if not (isinstance(model, str) and is_file_name(model) and (place / model).is_dir()):
                raise
            self.model = model  # it was deleted, its cases were not
        self.folder = place / self.model

    def all(self) -> list[CorrectedCase]:
        """All cases, the oldest first; also damaged ones."""
        folders = [p for p in (self.folder / "cases").glob("[!.]*") if p.is_dir() and not p.is_symlink()]
        return sorted(map(_read, folders), key=lambda case: (case.created, case.digest))

    @checks_arguments
    def add(
        self, volume: Volume, label_map: LabelMap, structures: Collection[str] | None = None, patient: str = ""
    ) -> CorrectedCase:
        """Keep a copy of an image and its labels. A case of the same image is replaced.

        Args:
            label_map: corrected, on the volume's grid.
            structures: names or titles of those that are right, also where they are absent; None for all of the label
                map.
            patient: any code of the patient; by default the PatientID of the DICOM series that the volume was read
                from. Only a digest of it is kept.

        Raises:
            InputError: the grids differ, or the image cannot be used.
            UsageError: an unknown structure or none, there are too many cases, or the model is not installed.
            ModelError: the model cannot be trained.
            ResourceError, OutputError: the disk is full, or the folder cannot be written.
        """
        from ..io.write import write_label_map, write_volume

        check_can_learn(find_model(self.model))
        kept = _of_structures(label_map, structures)
        if not on_same_grid(kept, volume, SAME_GRID_MM):
            raise InputError(
                f"The label map is not on the grid of {volume.name}.",
                "Resample the labels to the image's grid (nearest neighbor).",
                code="input.grid",
            )
        reject_unusable(volume)
        digest, place = volume_digest(volume), self._make_private()
        name = digest.removeprefix("sha256:")[:16]
        if not (place / name).exists() and len(self.all()) >= MOST_CASES:
            raise UsageError(
                f"There are {MOST_CASES} corrected cases of {self.model} already.",
                "Remove some of them first.",
                code="usage.too_many_cases",
            )
        labels = sum(one.array.nbytes for one in kept.layers or [kept])
        check_free_space(place, volume.array.nbytes + labels, _OTHER_DISK)
        facts = {
            "name": volume.name,
            "digest": digest,
            "structures": [s.name for s in kept.structures],
            "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "patient": patient_key(patient) or _patient_in(volume.source),
        }
        with atomic_folder(place) as temporary:
            (temporary / name).mkdir(mode=0o700)
            write_volume(volume, temporary / name / _IMAGE)
            write_label_map(kept, temporary / name / _LABELS)
            (temporary / name / _FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")
        return _read(place / name)

    def remove(self, digest: str) -> None:
        """Delete a case, and what an interrupted run prepared of it.

        Args:
            digest: of its image, or how it begins.

        Raises:
            UsageError: there is no such case, there are several, or another program learns from them now.
            OutputError: its files cannot be deleted.
        """
        begin = digest.removeprefix("sha256:").lower()
        found = [case for case in self.all() if begin and case.digest.removeprefix("sha256:").startswith(begin)]
        if len(found) != 1:
            raise UsageError(
                f"There {'are several corrected cases' if found else 'is no corrected case'} of {self.model} with a "
                f"digest that begins with {digest!r}.",
                "Choose a case of the list.",
                code="usage.case",
            )
        with self.exclusively():
            try:
                for folder in (found[0].folder, *self.folder.glob(f"{NEXT}.*")):
                    if folder.is_dir():
                        shutil.rmtree(folder)
            except OSError as error:
                raise cannot_write(found[0].folder, error) from error

    def usable(self) -> list[CorrectedCase]:
        """:meth:`all`, if there are cases and all can be used.

        Raises:
            InputError: there are none, or one is damaged.
        """
        cases = self.all()
        if not cases:
            raise InputError(
                f"There are no corrected cases of {self.model} to learn from.",
                "Correct a result and collect it.",
                code="input.no_cases",
                action="collect_case",
                model=self.model,
            )
        for case in cases:
            if case.damage:
                raise InputError(
                    f"The corrected case {case.name} in {case.folder} cannot be used: {case.damage}.",
                    "Remove it.",
                    code="input.case",
                )
        return cases

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """In the ``with`` block, no other program learns from the cases or removes one.

        Raises:
            UsageError: one does so now.
            OutputError: the folder cannot be written.
        """
        import filelock

        self._make_private()
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(
                f"Another program learns from the corrected cases of {self.model} now.",
                "Wait for it, or stop it.",
                code="usage.busy",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _make_private(self) -> Path:
        place = self.folder / "cases"
        try:
            place.mkdir(parents=True, exist_ok=True)
            for folder in (place, self.folder):
                folder.chmod(0o700)
        except OSError as error:
            raise cannot_write(place, error) from error
        return place


def corrections_root(root: Path | str | None = None) -> Path:
    """The folder of the corrected cases of all models, see :class:`CorrectedCases`."""
    import platformdirs

    chosen = root or os.environ.get("DEEPSEG_CORRECTIONS")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("DeepSeg", False) / "corrections"


def collected_models(root: Path | str | None = None) -> list[str]:
    """Ids of the models that have corrected cases on this machine."""
    return sorted(place.parent.name for place in corrections_root(root).glob("[!.]*/cases") if any(place.iterdir()))


def _patient_in(series: str) -> str:
    """As :func:`~DeepSegLogic.io.patients.patient_of`; empty also if the series is no longer there."""
    with suppress(InputError):
        return patient_of(Path(series)) if series else ""
    return ""


def _of_structures(label_map: LabelMap, structures: Collection[str] | None) -> LabelMap:
    chosen = label_map.structures if structures is None else [label_map.structure(name) for name in structures]
    if not chosen:
        raise UsageError(
            "No structure is said to be right, so there is nothing to learn.",
            "Choose at least one structure.",
            code="usage.structures",
        )
    return replace(only(chosen, label_map), warnings=[])


def _read(folder: Path) -> CorrectedCase:
    size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
    case = CorrectedCase(folder.name, folder.name, (), "", folder, size_bytes=size)
    try:
        check_regular(folder, *(folder / name for name in (_IMAGE, _LABELS, _FACTS)))
        facts = read_json(folder / _FACTS)
        texts = (facts["name"], facts["digest"], facts["created"], facts.get("patient", ""), *facts["structures"])
        if not all(isinstance(text, str) for text in texts) or not facts["structures"]:
            raise ValueError(f"{_FACTS} does not say what it should")
        name, digest, created, patient, *structures = texts
        case = replace(case, name=name, digest=digest, created=created, patient=patient, structures=tuple(structures))
        missing = next((n for n in (_IMAGE, _LABELS) if not (folder / n).is_file()), None)
        return replace(case, damage=f"{missing} is missing" if missing else "")
    except DeepSegError as error:
        return replace(case, damage=error.message.rstrip("."))
    except FileNotFoundError:
        return replace(case, damage=f"{_FACTS} is missing")
    except (OSError, ValueError, LookupError, TypeError) as error:
        return replace(case, damage=str(error))
