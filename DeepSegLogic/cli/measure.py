"""``deepseg measure``: volumes, distances, contact and size of structures; features; body composition."""

from __future__ import annotations

from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..util.words import place_text
from .checks import before_reading
from .console import Console
from .options import ImageOfLabels, Json, Labels, Quiet, given_path, output_folder, split
from .placed import placed_labels

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.volume import Volume


def measure(
    labels: Labels,
    distance: Annotated[
        str,
        typer.Option(metavar="A,B", help="Smallest distance of two structures: names, titles or label values."),
    ] = "",
    contact: Annotated[str, typer.Option(metavar="A,B", help="Area of A's surface that touches B.")] = "",
    encasement: Annotated[
        str, typer.Option(metavar="TUMOR,VESSEL", help="Largest angle of a vessel that a tumor touches.")
    ] = "",
    within_mm: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="MM",
            help="With --contact or --encasement: what counts as touching; 0 for a shared boundary.",
        ),
    ] = 0.0,
    distance_map: Annotated[
        str, typer.Option(metavar="A,B", help="Distance to B at each point of A's surface; in colors with --vtp.")
    ] = "",
    vtp: Annotated[Path | None, given_path("FILE", "With --distance-map: a .vtp file to write it to.")] = None,
    diameters: Annotated[str, typer.Option(metavar="NAME", help="Longest diameter, and the longest across it.")] = "",
    thickness: Annotated[str, typer.Option(metavar="NAME", help="Thickness, as distributed over the surface.")] = "",
    vessel: Annotated[str, typer.Option(metavar="NAME", help="Diameters of a vessel along its center line.")] = "",
    features: Annotated[
        bool, typer.Option("--features", help="First-order and shape features of each structure (IBSI); needs --image.")
    ] = False,
    body_composition: Annotated[
        bool, typer.Option("--body-composition", help="Fat, muscle and bone, in total and per vertebra; needs --image.")
    ] = False,
    image: ImageOfLabels = None,
    vertebrae: Annotated[
        Path | None, given_path("LABELS", "With --body-composition: label map with the vertebrae, if it is another.")
    ] = None,
    output: Annotated[Path, output_folder("For features.csv and body_composition.csv.")] = Path("measured"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure structures of a segmentation. Without options: volumes, and with --image the mean HU. Points are RAS in
    mm."""
    from ..util.errors import UsageError

    given = _given(distance=distance, contact=contact, encasement=encasement, distance_map=distance_map)
    pairs = {name: _two(text, name.replace("_", "-")) for name, text in given}
    singles = dict(_given(diameters=diameters, thickness=thickness, vessel=vessel))
    in_image = features or body_composition
    if in_image and image is None:
        raise UsageError("Features and body composition need the CT that was segmented.", "Give --image.")
    _check_both("--vtp", vtp, "--distance-map", distance_map)
    _check_both("--vertebrae", vertebrae, "--body-composition", body_composition)
    console = Console(quiet, as_json)
    if vtp is not None:
        from ..planning.distance_maps import check_vtp

        check_vtp(vtp)
    before_reading(labels, image, vertebrae, folder=output if in_image else None, file=vtp)
    with console.working():
        label_map, volume = placed_labels(console, labels, image)
        found = _on_surfaces(label_map, pairs, singles, within_mm, vtp)
        if image is not None and volume is None and (in_image or not found):
            label_map, volume = _with_image(console, label_map, image)
        if volume is not None and in_image:
            _in_image(console, label_map, image, volume, output, features, body_composition, vertebrae)
        if not (found or in_image):
            _volumes(console, label_map, volume)
    _tell(console, found, {s.name: s.title or s.name for s in label_map.structures})


def _check_both(option: str, value: Path | None, needed: str, given: object) -> None:
    """Check that an option is not given without the one that it belongs to."""
    from ..util.errors import UsageError

    if value is not None and not given:
        raise UsageError(f"{option} is given without {needed}.", "Give both.", code="usage.option")


def _on_surfaces(
    label_map: LabelMap,
    pairs: dict[str, tuple[str, str]],
    singles: dict[str, str],
    within_mm: float,
    vtp: Path | None,
) -> list[Any]:
    """What is measured of closed surfaces: of pairs of structures, then of single ones, each by its option."""
    from .. import planning

    found: list[Any] = []
    if "distance" in pairs:
        found.append(planning.distance(label_map, *pairs["distance"]))
    if "contact" in pairs:
        found.append(planning.contact(label_map, *pairs["contact"], within_mm))
    if "encasement" in pairs:
        found.append(planning.encasement(label_map, *pairs["encasement"], within_mm))
    if "distance_map" in pairs:
        mapped = planning.distance_map(label_map, *pairs["distance_map"])
        if vtp is not None:
            planning.write_distance_map(mapped, vtp)
        found.append(mapped)
    measures = {
        "diameters": planning.diameters,
        "thickness": planning.thickness,
        "vessel": planning.vessel_diameters,
    }
    return found + [measures[option](label_map, name) for option, name in singles.items()]


def _tell(console: Console, found: list[Any], titles: dict[str, str]) -> None:
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.warning(note)
    for one in found:
        console.say(_sentence(one, titles))
        console.event("result", measure=type(one).__name__.lower(), **_numbers(one))
    console.say("Research use only.")


def _numbers(found: Any) -> dict[str, Any]:
    from ..planning.evaluation import as_json

    return as_json(found)


def _with_image(console: Console, label_map: LabelMap, image: Path) -> tuple[LabelMap, Volume]:
    from ..data.label_grid import placed_on
    from ..worker.isolated import read_volume

    volume = read_volume(image, cancel=console.cancelled)
    return placed_on(volume, label_map), volume


def _volumes(console: Console, label_map: LabelMap, volume: Volume | None) -> None:
    from ..review.measurements import measure as measured
    from .measures_table import table_of

    rows = measured(label_map, volume)
    console.show(table_of(rows))
    console.event("result", measure="volumes", structures=[row.as_json() for row in rows])


def _in_image(
    console: Console,
    label_map: LabelMap,
    image: Path | None,
    volume: Volume,
    output: Path,
    features: bool,
    body_composition: bool,
    vertebrae: Path | None,
) -> None:
    """Write what is measured of the voxels in the CT."""
    from ..data.label_grid import placed_on
    from ..review.body_composition import body_composition as composed
    from ..review.body_composition import write_body_composition
    from ..review.features import features as found_in
    from ..review.features import write_features
    from ..util.atomic_write import atomic_folder
    from ..worker.isolated import read_label_map

    with atomic_folder(output) as folder:
        if features:
            rows = found_in(label_map, volume, progress=console.progress, cancel=console.cancelled)
            write_features(rows, folder / "features.csv")
            console.event("result", measure="features", structures=[asdict(row) for row in rows])
        if body_composition:
            spine = vertebrae and placed_on(volume, read_label_map(vertebrae, image, cancel=console.cancelled))
            tissues = composed(label_map, volume, spine or None)
            write_body_composition(tissues, folder / "body_composition.csv")
            for one in tissues:
                console.say(one.sentence)
            console.event("result", measure="body_composition", tissues=[asdict(one) for one in tissues])
    console.say(f"Written to {output}.")


def _sentence(found: Any, titles: dict[str, str]) -> str:
    from ..planning import Contact, Distance, DistanceMap, Encasement, Thickness, VesselDiameters

    if isinstance(found, Distance):
        a, b = (place_text(place, 1) for place in found.points_ras)
        return f"{titles[found.one]} to {titles[found.other]}: {found.distance_mm:.1f} mm, from ({a}) to ({b})."
    if isinstance(found, Thickness):
        range_ = f"5 to 95 % of the surface: {found.thin_mm:.1f} to {found.thick_mm:.1f} mm"
        return f"{titles[found.structure]}: median thickness {found.median_mm:.1f} mm; {range_}."
    if isinstance(found, VesselDiameters):
        range_ = f"{found.smallest_mm:.1f} to {found.largest_mm:.1f} mm, median {found.median_mm:.1f} mm"
        return f"{titles[found.structure]}: diameter {range_}, along {found.length_mm:.0f} mm."
    if isinstance(found, DistanceMap):
        shares = accumulate(band.percent for band in found.bands)
        parts = [f"{s:.1f} % within {b.to_mm:g} mm" for b, s in zip(found.bands, shares, strict=True) if b.to_mm]
        return f"{titles[found.one]} to {titles[found.other]}: {', '.join(parts)}."
    if isinstance(found, Contact):
        near = f"within {found.within_mm:g} mm of" if found.within_mm else "touching"
        area = f"{found.area_mm2:.0f} mm² {near} {titles[found.other]}"
        return f"{titles[found.one]}: {area}, {found.percent:.1f} % of its surface."
    if isinstance(found, Encasement):
        return f"{titles[found.tumor]} encases {found.degrees:.0f}° of {titles[found.vessel]}."
    across = f"across it {found.perpendicular_mm:.1f} mm"
    return f"{titles[found.structure]}: longest diameter {found.longest_mm:.1f} mm, {across}."


def _given(**options: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in options.items() if text]


def _two(text: str, option: str) -> tuple[str, str]:
    from ..util.errors import UsageError

    names = split(text) or []
    if len(names) != 2:
        raise UsageError(
            f"--{option} {text!r} does not name two structures.", f"Write it as --{option} liver,portal_vein."
        )
    return names[0], names[1]
