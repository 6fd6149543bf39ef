"""What can be opened: scenes that were exported here or elsewhere."""

import re
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.logic.io.test_dicom import VOXELS, write_series

from .conftest import DRAWN, start, stop, visit
from .steps import cells, download, take, unzip, volume_of, wait_for_volume, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def scene(browser, server, tmp_path_factory):
    """The demonstration CT with all structures, as the page exports it, and the table that was shown."""
    page = visit(browser, server.url)
    page.get_by_role("button", name="Fast", exact=True).click()
    page.get_by_role("button", name="Segment", exact=True).click()
    page.locator("table").wait_for(timeout=200_000)
    page.get_by_role("button", name="Segment", exact=True).wait_for()
    told = sorted(findings(page))
    page.get_by_role("button", name=f"Ignore: {told[0]}").click()
    page.get_by_title("Show in the views").get_by_text(told[0]).wait_for(state="detached")
    before = volume_of(page, "Spleen")
    page.get_by_role("button", name="Spleen", exact=True).click()
    take(page, "Draw")  # a stray piece, which is found when the scene is opened
    view = page.locator(".layout-grid-item").first.bounding_box()
    x, y = view["x"] + view["width"] / 2 - 0.35 * view["height"], view["y"] + view["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for dx, dy in ((20, 0), (20, 20), (0, 20)):
        page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()
    wait_for_volume(page, "Spleen", lambda ml: ml > before)
    path = tmp_path_factory.mktemp("scene") / "Chest.mrb"
    path.write_bytes(download(page, ["Scene for 3D Slicer"]))
    table = volumes(page)
    page.close()
    return path, table, told[0]


def volumes(page) -> dict[str, list[str]]:
    """Volume and confidence of each structure that was found."""
    table = page.locator("[aria-label='Structures found']")  # it may be on the other tab of the drawer
    return {title: values for _, title, *values in cells(table)}


def findings(page) -> set[str]:
    region = page.get_by_role("region", name="Check these first")
    region.wait_for()
    return set(region.get_by_title("Show in the views").all_inner_texts())


def choose(page, *files) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open file").click()
    chooser.value.set_files(files)


def test_an_exported_scene_comes_back_to_be_corrected_and_exported(browser, scene, tmp_path):
    path, table, ignored = scene
    assert float(table["Left lung"][1]) > 0.5 and len(table) > 3
    server = start(path, tmp_path)
    page = visit(browser, server.url)
    page.locator("table").wait_for()
    page.wait_for_function(DRAWN)
    wait_until(page, lambda: volumes(page) == table)
    wait_until(page, lambda: any("Spleen" in finding for finding in findings(page)))
    assert ignored not in findings(page), "what was ignored is not told again"
    page.get_by_text("CTChest4").first.wait_for()
    before = volume_of(page, "Left lung")
    page.get_by_role("button", name="Left lung", exact=True).click()
    take(page, "Erase")
    axial = page.locator(".layout-grid-item").first.bounding_box()
    x, y = axial["x"] + axial["width"] / 2, axial["y"] + axial["height"] / 2
    page.mouse.move(x - 5, y)
    page.mouse.down()
    page.mouse.move(x + 5, y, steps=4)
    page.mouse.up()
    wait_for_volume(page, "Left lung", lambda ml: ml < before)
    now = volumes(page)
    assert not now["Left lung"][1] and {**now, "Left lung": table["Left lung"]} == table
    page.get_by_role("button", name="Undo", exact=True).click()
    wait_for_volume(page, "Left lung", lambda ml: ml == before)
    assert volumes(page) == table
    rows = download(page, ["Measurements"]).decode()
    line = next(line for line in rows.splitlines() if line.startswith("Left lung,"))
    assert float(line.split(",")[2]) == pytest.approx(before, abs=0.06)
    again = {name.rpartition("/")[2] for name in unzip(download(page, ["Scene for 3D Slicer"])).namelist()}
    assert again == {"CTChest4-deepseg.mrml", "CTChest4 organs.seg.nrrd", "CTChest4.nrrd"}
    page.close()
    stop(server)
    assert not list(tmp_path.glob("deepseg*"))


def test_a_scene_can_be_uploaded_and_a_bad_one_is_told(page, scene, tmp_path):
    path, table, _ = scene
    renamed = tmp_path / "renamed.mrb"
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(renamed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in given.namelist():
            content = given.read(name)
            archive.writestr(name, content.replace(b'name="CTChest4"', b'name="Other name"'))
    choose(page, renamed)
    page.get_by_text("Other name").first.wait_for()
    wait_until(page, lambda: volumes(page) == table)
    bad = tmp_path / "broken.mrb"
    bad.write_bytes(path.read_bytes()[:5000])
    choose(page, bad)
    page.get_by_role("alert").filter(has_text="broken.mrb was not unpacked").wait_for()
    for name, member, sentence in (
        ("slip.mrb", "../../evil.txt", "would be written outside its folder"),
        ("empty.mrb", "scene/readme.txt", "contains no scene"),
        ("view.mrb", "scene/scene.mrml", "contains no volume"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, "<MRML></MRML>")
            if name == "slip.mrb":
                archive.writestr("scene/scene.mrml", "<MRML></MRML>")
        choose(page, tmp_path / name)
        page.get_by_role("alert").filter(has_text=name).filter(has_text=sentence).wait_for()
    assert volumes(page) == table, "what was open before still is"


def test_a_zip_of_a_study_is_opened_and_a_dangerous_one_is_not(page, chest_ct, tmp_path):
    write_series(tmp_path / "slices")
    study = tmp_path / "Study of today.zip"
    with zipfile.ZipFile(study, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((tmp_path / "slices").iterdir()):
            archive.write(file, f"Study/CT/{file.name}")
        archive.writestr("Study/README.txt", "from the portal")
    choose(page, study)
    page.get_by_text(f"{'×'.join(map(str, VOXELS.shape[::-1]))} voxels").wait_for()
    for name, member, content, sentence in (
        ("slip.zip", "../../evil.dcm", b"", "would be written outside its folder"),
        ("bomb.zip", "IM1.dcm", bytes(200 << 20), "like a zip bomb"),
        ("cut.zip", None, b"", "not a complete zip file"),
    ):
        if member is None:
            (tmp_path / name).write_bytes(study.read_bytes()[:2000])
        else:
            with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(member, content)
        choose(page, tmp_path / name)
        page.get_by_role("alert").filter(has_text=name).filter(has_text=sentence).wait_for()
    page.get_by_text(f"{'×'.join(map(str, VOXELS.shape[::-1]))} voxels").wait_for()  # what was open before still is
    choose(page, chest_ct)
    page.get_by_text("128×128×34 voxels").wait_for()


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_header_finds_its_voxels_whatever_their_names(page, chest_ct, tmp_path, ending):
    sitk.WriteImage(sitk.ReadImage(str(chest_ct))[:, :, 4:], str(tmp_path / f"Bäuch CT (1) 患者{ending}"))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    choose(page, *files)
    page.get_by_text("128×128×30 voxels").wait_for()
    page.get_by_role("navigation").get_by_text("Bäuch CT (1) 患者").wait_for()
    choose(page, next(file for file in files if file.suffix == ending))
    page.get_by_role("alert").filter(has_text="Put both files into one folder.").wait_for()
    choose(page, chest_ct)
    page.get_by_text("128×128×34 voxels").wait_for()


def test_a_label_map_of_the_ct_becomes_its_result(page, chest_ct, tmp_path):
    """As most programs write it: NIfTI, with numbers for names. One on other voxels is a volume of its own."""
    image = sitk.ReadImage(str(chest_ct))
    bone = sitk.Cast(image > 200, sitk.sitkUInt8)
    sitk.WriteImage(bone, str(tmp_path / "bone.nii.gz"))
    sitk.WriteImage(bone[:, :, 4:], str(tmp_path / "part.nii.gz"))
    choose(page, tmp_path / "bone.nii.gz")
    wait_until(page, lambda: len(volumes(page)) == 1)
    (values,) = volumes(page).values()
    ml = sitk.GetArrayViewFromImage(bone).sum() * np.prod(image.GetSpacing()) / 1000
    assert float(values[0].removeprefix("≥ ")) == pytest.approx(ml, abs=0.06)
    page.get_by_text("≥: cut by the field of view or the region").wait_for()
    page.get_by_role("tab", name="Segment").click()
    page.get_by_text("128×128×34 voxels").wait_for()
    choose(page, tmp_path / "part.nii.gz")
    page.get_by_text("128×128×30 voxels").wait_for()
    choose(page, chest_ct)
    page.get_by_text("128×128×34 voxels").wait_for()


def test_what_is_no_ct_is_told_once_and_has_no_hu(page, chest_ct, tmp_path):
    """Its label map is a result of as many voxels, so that the tools for corrections are there."""
    image = sitk.ReadImage(str(chest_ct))
    sitk.WriteImage(sitk.Abs(image), str(tmp_path / "mr.nii.gz"))
    sitk.WriteImage(sitk.Cast(image > 200, sitk.sitkUInt8), str(tmp_path / "bone.nii.gz"))
    choose(page, tmp_path / "mr.nii.gz")
    doubt = page.get_by_text("It has no negative values (lowest: 0)")
    doubt.wait_for()
    page.get_by_text("See the warning under Input.").wait_for()
    assert doubt.count() == 1
    choose(page, tmp_path / "bone.nii.gz")
    wait_until(page, lambda: len(volumes(page)) == 1)
    doubt.nth(1).wait_for()  # the warning itself is on the other tab
    page.locator("[aria-label='Structures found']").get_by_role("button").first.click()
    take(page, "Erase")
    page.get_by_label("Limit to grey values").check()
    page.get_by_label("Lowest grey value").fill("-30")
    page.get_by_text("Only voxels from −30 to 250 change.").wait_for()
    assert not page.get_by_label("Limit to HU range").count()
    page.get_by_label("Limit to grey values").uncheck()
    choose(page, chest_ct)
    page.get_by_text("See the warning under Input.").wait_for(state="detached")


def test_of_several_volumes_none_is_opened(page, chest_ct, tmp_path):
    (tmp_path / "other.nii.gz").write_bytes(b"")
    choose(page, chest_ct, tmp_path / "other.nii.gz")
    page.get_by_role("alert").filter(has_text="2 volumes were chosen").wait_for()


def test_what_is_mostly_air_can_be_cropped(browser, chest_ct, tmp_path):
    wide = sitk.ConstantPad(sitk.ReadImage(str(chest_ct)), [100, 100, 0], [100, 100, 0], -1000)
    sitk.WriteImage(wide, str(tmp_path / "wide.nrrd"))
    server = start(tmp_path / "wide.nrrd", tmp_path)
    page = visit(browser, server.url)
    page.get_by_text("328×328×34 voxels").wait_for()
    page.get_by_role("button", name="Crop to body").click()
    page.get_by_role("navigation").get_by_text("wide cropped").wait_for()
    page.get_by_text("328×328×34 voxels").wait_for(state="detached")
    size = re.search(r"(\d+)×(\d+)×34 voxels", page.get_by_text("×34 voxels").inner_text())
    assert all(100 < int(n) <= 150 for n in size.groups())  # the CT itself is 128 wide, and most of it is the body
    page.get_by_role("button", name="Crop to body").wait_for(state="detached")
    page.close()
    stop(server)
