"""An archive (PACS) that speaks DICOMweb: find, fetch and send series, with dicomweb-client."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ...util.atomic_write import atomic_folder
from ...util.errors import DeepSegError, InputError, ResourceError, UsageError
from ...util.packages import can_import, lacks_extra
from ...util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ...util.words import counted
from ..files import is_dicom, must_exist
from .archive_settings import PREFIX, ArchiveSettings, login, must_be_safe

MOST_INSTANCES = 20_000  # or series or studies, in one answer
MOST_BYTES = 32 * 2**30
_TRIES, _WAIT_S = 4, 0.5  # the wait doubles
_BUSY = (408, 429, 500, 502, 503, 504)  # HTTP: worth another try
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
T = TypeVar("T")


@dataclass(frozen=True)
class FoundSeries:
    """A series in the archive. Empty texts and 0 where the archive does not say it."""

    study: str
    series: str
    date: str = ""
    modality: str = ""
    description: str = ""
    images: int = 0


class Archive:
    """A DICOMweb archive.

    Args:
        settings: its address and login.
        timeout_s: how long it may send nothing.

    Raises:
        UsageError: dicomweb-client is not installed, or the settings cannot be used.

    Example:
        >>> from DeepSegLogic.io.dicom.archive_settings import ArchiveSettings
        >>> from DeepSegLogic.io.dicom.web_archive import Archive
        >>> archive = Archive(ArchiveSettings("https://pacs.example/dicom-web"))  # doctest: +SKIP
        >>> found = archive.find(patient="4711", modality="CT")  # doctest: +SKIP
        >>> archive.fetch(found[0].series, "series")  # doctest: +SKIP
    """

    def __init__(self, settings: ArchiveSettings, timeout_s: float = 30.0) -> None:
        if not can_import("dicomweb_client"):
            raise lacks_extra(
                UsageError,
                "An archive needs the package dicomweb-client, which is not installed.",
                "archive",
                code="usage.dependency",
            )
        import requests
        from dicomweb_client import DICOMwebClient

        must_be_safe(settings)
        session = requests.Session()
        session.auth = login(settings)
        session.hooks["response"].append(_must_be_whole)
        if settings.ca_file:
            must_exist(Path(settings.ca_file))
            session.verify, session.trust_env = settings.ca_file, False  # else REQUESTS_CA_BUNDLE would win
        self._host = urlsplit(settings.url).netloc
        self._client = DICOMwebClient(settings.url.rstrip("/"), session=session, timeout=timeout_s)
        self._client.set_http_retry_params(retry=False)  # ours also covers cut connections

    def find(self, *, patient: str = "", study: str = "", modality: str = "") -> list[FoundSeries]:
        """Series of a patient or a study, the newest study first.

        Args:
            patient: the patient's ID.
            study: Study Instance UID.
            modality: e.g. ``"CT"``; empty for all.

        Raises:
            UsageError: neither patient nor study, or the archive refuses the login.
            ResourceError: no connection, or an unknown certificate.
        """
        if not patient and not study:
            raise UsageError("No patient and no study is given.", "Give one of them.", code="usage.archive")
        asked = {"PatientID": patient, "StudyInstanceUID": study and _uid(study)}
        filters = {name: value for name, value in asked.items() if value}
        studies = self._asked(self._client.search_for_studies, search_filters=filters)
        found = []
        for one in sorted(studies, key=lambda s: _text(s, "StudyDate"), reverse=True):
            uid = _uid(_text(one, "StudyInstanceUID"))
            for series in self._asked(self._client.search_for_series, uid):
                kind = _text(series, "Modality")
                if modality in ("", kind):
                    facts = (_text(series, "SeriesInstanceUID"), _text(one, "StudyDate"), kind)
                    count = _text(series, "NumberOfSeriesRelatedInstances")
                    images = int(count) if count.isdecimal() else 0
                    found.append(FoundSeries(uid, *facts, _text(series, "SeriesDescription"), images))
        return found

    def fetch(
        self,
        series: str,
        folder: Path | str,
        *,
        progress: Progress = ignore_progress,
        cancel: Cancel = never_cancel,
    ) -> Path:
        """Fetch a series into a new or empty folder: all of its files, or none.

        Args:
            series: Series Instance UID.

        Returns:
            the folder.

        Raises:
            UsageError: the folder is not empty, or the archive refuses the login.
            InputError: there is no such series, it is too large, or the archive sends something else.
            ResourceError: no connection, or it was lost.
            OutputError: the folder cannot be written.
            Cancelled: ``cancel`` said so.
        """
        folder, series = Path(folder).expanduser(), _uid(series)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not an empty folder.", "Choose another one.", code="usage.archive")
        asked = {"SeriesInstanceUID": series}
        listed = self._asked(self._client.search_for_series, search_filters=asked)
        study = _uid(_text(listed[0], "StudyInstanceUID")) if listed else ""
        found = self._asked(self._client.search_for_instances, study, series) if study else []
        instances = sorted({_uid(_text(one, "SOPInstanceUID")) for one in found})
        if not instances:
            raise InputError(f"The archive has no series {series}.", "Check the UID.", code="input.missing")
        size = 0
        with atomic_folder(folder) as temporary:
            for number, instance in enumerate(instances):
                check(cancel)
                progress("fetch", number / len(instances), f"{number} of {len(instances)}")
                path = temporary / f"{instance}.dcm"
                dataset = self._talk(self._instance, study, series, instance)
                dataset.save_as(path, enforce_file_format=True)  # a full disk is no fault of the archive
                size += path.stat().st_size
                if size > MOST_BYTES:
                    raise InputError(
                        f"The series has more than {MOST_BYTES // 2**30} GB.",
                        "Fetch it another way.",
                        code="input.too_large",
                    )
            check(cancel)
        progress("fetch", 1.0, f"{len(instances)} of {len(instances)}")
        return folder

    def send(
        self, paths: Sequence[Path | str], *, progress: Progress = ignore_progress, cancel: Cancel = never_cancel
    ) -> int:
        """Send DICOM files, one after the other; what the archive already has stays.

        Returns:
            how many were sent.

        Raises:
            InputError: a file is not DICOM, or the archive does not store it; nothing was sent in the first case.
            UsageError, ResourceError, Cancelled: as for :meth:`fetch`; some files may have been sent.
        """
        import pydicom

        files = [Path(path).expanduser() for path in paths]
        for path in files:
            must_exist(path)
            if path.is_dir() or not is_dicom(path):
                raise InputError(f"{path} is not a DICOM file.", "Choose another one.", code="input.dicom")
        for number, path in enumerate(files):
            check(cancel)
            progress("send", number / len(files), path.name)
            dataset = pydicom.dcmread(path, force=True)
            answer = self._talk(self._client.store_instances, [dataset])
            if answer is not None and not answer.get("ReferencedSOPSequence"):  # it lists what is there now
                lacking = [name for name in _UIDS if not dataset.get(name)]
                why = f", which has no {' and no '.join(lacking)}" if lacking else ""
                raise InputError(
                    f"The archive refuses {path}{why}.", "Look into the log of the archive.", code="input.archive"
                )
        progress("send", 1.0, counted(len(files), "file"))
        return len(files)

    def _instance(self, study: str, series: str, instance: str) -> Any:
        """Fetch one instance.

        Raises:
            InputError: it is another one.
        """
        as_stored = (("application/dicom", "*"),)  # not converted to another transfer syntax
        dataset = self._client.retrieve_instance(study, series, instance, media_types=as_stored)
        if (dataset.get("SOPInstanceUID"), dataset.get("SeriesInstanceUID")) != (instance, series):
            raise InputError("The archive sent another image.", "Tell its administrator.", code="input.archive")
        return dataset

    def _asked(self, question: Callable[..., list[dict[str, Any]]], *asked: Any, **more: Any) -> list[Any]:
        """What the archive answers, page by page, as datasets."""
        from pydicom import Dataset

        found: list[dict[str, Any]] = []
        page = self._talk(question, *asked, **more)
        while page and page != found[-len(page) :]:  # an archive without pages gives the same again
            found += page
            if len(found) > MOST_INSTANCES:
                raise InputError(
                    f"The archive lists more than {MOST_INSTANCES} entries.", "Ask for less.", code="input.too_large"
                )
            page = self._talk(question, *asked, **more, offset=len(found))
        try:
            return [Dataset.from_json(item) for item in found]
        except Exception as error:  # pydicom raises whatever its parser meets
            raise self._odd(error) from error

    def _talk(self, call: Callable[..., T], *asked: Any, **more: Any) -> T:
        """Call the archive, again if the connection fails."""
        import requests

        for left in reversed(range(_TRIES)):
            try:
                return call(*asked, **more)
            except requests.exceptions.SSLError as error:
                raise ResourceError(
                    f"The certificate of {self._host} is not trusted.",
                    f"Set {PREFIX}CA_FILE to the certificate of its authority.",
                    code="resource.certificate",
                ) from error
            except requests.HTTPError as error:
                if error.response.status_code not in _BUSY or not left:
                    raise self._refused(error.response.status_code) from error
            except requests.exceptions.InvalidJSONError as error:
                raise self._odd(error) from error
            except (requests.RequestException, EOFError) as error:
                if not left:
                    raise ResourceError(
                        f"The connection to {self._host} failed ({type(error).__name__}).",
                        "Check the address and the network, and try again.",
                        code="resource.archive",
                    ) from error
            except DeepSegError:
                raise
            except Exception as error:  # what the library meets in an answer that is no DICOMweb
                raise self._odd(error) from error
            time.sleep(_WAIT_S * 2 ** (_TRIES - 1 - left))
        raise AssertionError  # the last try returns or raises

    def _refused(self, status: int) -> DeepSegError:
        if status in (401, 403):
            return UsageError(
                f"{self._host} refuses the login (HTTP {status}).",
                f"Check {PREFIX}TOKEN, or {PREFIX}USER and {PREFIX}PASSWORD.",
                code="usage.login",
            )
        return ResourceError(
            f"{self._host} cannot do that (HTTP {status}).", f"Check {PREFIX}URL.", code="resource.archive"
        )

    def _odd(self, error: Exception) -> ResourceError:
        return ResourceError(
            f"{self._host} gave an answer that is not DICOMweb ({type(error).__name__}).",
            f"Check {PREFIX}URL.",
            code="resource.archive",
        )


def _text(found: Any, keyword: str) -> str:
    """A value of an answer as one line."""
    return re.sub(r"[\0-\x1f\x7f]+", " ", str(found.get(keyword) or "")).strip()


def _uid(text: str) -> str:
    """A UID, which also serves as the name of a file."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) or len(text) > 64:
        raise InputError(f"{text[:80]!r} is not a UID.", "Copy it from the list of series.", code="input.uid")
    return text


def _must_be_whole(response: Any, *_: Any, **__: Any) -> None:
    """Check that an answer in parts has its end: where no length is stated, a cut connection looks like one.

    Raises:
        EOFError: it has not.
    """
    kind = response.headers.get("Content-Type", "")
    boundary = re.search(r'boundary="?([^";,]+)', kind)
    if kind.lower().startswith("multipart/") and boundary is not None:
        end = f"--{boundary[1].strip()}--".encode()
        if not response.content.rstrip().endswith(end):
            raise EOFError
