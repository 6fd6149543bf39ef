"""What nnU-Net's ``dataset.json`` says of a data set: channels, structures, and structures that overlap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.dataset_names import DATASET, IGNORE
from ..models.files import read_json
from ..models.nnunet_plan import channels
from ..util.errors import InputError
from .regions import Regions

_HIGHEST = 32767  # of int16, as labels are prepared


def channel_names(data: Path) -> list[str]:
    """Names of the images of each case, such as ``["CT", "PET"]``; none without a ``dataset.json``.

    Args:
        data: a data set, see :func:`~.dataset.find_cases`.

    Raises:
        InputError: the file cannot be used.
    """
    content = _content(data if data.is_dir() else data.parent)
    if content is None or not content.keys() & {"channel_names", "modality"}:
        return []
    try:
        names = channels(content)
    except AttributeError as error:
        raise _wrong(data, '"channel_names" must map each number to a name') from error
    if not names:
        raise _wrong(data, '"channel_names" is empty')
    return names


def label_names(folder: Path) -> tuple[dict[int, str] | None, Regions | None]:
    """Structures by label value, and the regions if there are any; None without a ``dataset.json``.

    Raises:
        InputError: the file cannot be used.
    """
    content = _content(folder)
    return (None, None) if content is None else _names_in(content, folder)


def regions_from(content: object, folder: Path) -> Regions | None:
    """The regions that labels as in ``dataset.json`` are; None if there are none.

    Args:
        folder: where it is written, for a message.

    Raises:
        InputError: they cannot be used.
    """
    if not isinstance(content, dict):
        raise _wrong(folder, "it is no JSON object")
    return _names_in(content, folder)[1]


def _names_in(content: dict[str, Any], folder: Path) -> tuple[dict[int, str], Regions | None]:
    labels = content.get("labels")
    if not isinstance(labels, dict) or not all(map(_is_values, labels.values())):
        raise _wrong(folder, '"labels" must map each name to one whole number, or to a list of several')
    values = {str(name): tuple(v) if isinstance(v, list) else (v,) for name, v in labels.items()}
    inside = {name: own for name, own in values.items() if name not in ("background", IGNORE) and own != (0,)}
    if any(len(own) > 1 for own in inside.values()):
        regions = Regions(inside, _order(folder, content, inside))
        ignored = {own[0]: IGNORE for name, own in values.items() if name == IGNORE}
        return regions.labels() | ignored, regions
    if len({*values.values()}) < len(values):
        raise _wrong(folder, "two names have the same value")
    return {own[0]: name for name, own in values.items() if own != (0,)}, None


def _is_values(value: object) -> bool:
    values = value if isinstance(value, list) and value else [value]
    return all(type(v) is int and 0 <= v <= _HIGHEST for v in values)


def _order(folder: Path, content: dict[str, Any], regions: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    order = content.get("regions_class_order")
    known = {value for values in regions.values() for value in values}
    numbers = [v for v in order if type(v) is int] if isinstance(order, list) else []
    if not isinstance(order, list) or len(order) != len(regions) or len(known.intersection(numbers)) != len(regions):
        raise _wrong(folder, f'"regions_class_order" must list {len(regions)} different labels, one for each region')
    return tuple(numbers)


def _content(folder: Path) -> dict[str, Any] | None:
    path = folder / DATASET
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        return content
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Correct it.", code="input.data") from error


def _wrong(folder: Path, what: str) -> InputError:
    path = (folder if folder.is_dir() else folder.parent) / DATASET
    return InputError(
        f"{path} cannot be used: {what}.",
        'Write {"labels": {"background": 0, "liver": 1, …}} as nnU-Net has it.',
        code="input.data",
    )
