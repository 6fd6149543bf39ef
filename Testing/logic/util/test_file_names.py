"""Names of files against what Microsoft's "Naming Files, Paths, and Namespaces" reserves for Windows."""

import ntpath
import sys

import pytest

from DeepSegLogic.util.file_names import is_device, is_file_name, is_windows_name, kept_name, safe_name

PORTS = [f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\N{SUPERSCRIPT ONE}²³"]
DEVICES = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *PORTS]


@pytest.mark.parametrize("ending", ["", ".nii", ".tar.gz", " .nii", "."])
@pytest.mark.parametrize("name", DEVICES)
def test_devices_of_windows_are_no_names_of_files(name, ending):
    for written in (name + ending, name.lower() + ending):
        assert is_device(written) and not is_windows_name(written) and not is_file_name(written)
        assert is_windows_name(kept_name(written)) and is_windows_name(safe_name(written))


@pytest.mark.parametrize("name", ["liver.nii.gz", "console.txt", "com10", "lpt.nii", "nul_1", "a con", "conin"])
def test_names_that_only_look_like_devices_are_kept(name):
    assert not is_device(name) and is_windows_name(name) and kept_name(name) == name


@pytest.mark.parametrize("name", ["a:b.json", 'a"b', "a<b", "a>b", "a|b", "a?b", "a*b", "a.", "a "])
def test_what_windows_does_not_allow(name):
    assert not is_windows_name(name)
    assert is_windows_name(kept_name(name)) and is_windows_name(safe_name(name))


@pytest.mark.parametrize("length", range(114, 124))
def test_a_name_that_is_cut_ends_as_a_name_does(length):
    for made in (safe_name("a" * length + ".b.nii"), kept_name("x" * 9 + "." * 9 + "a" * length)):
        assert is_windows_name(made), made


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python does not know it yet")
@pytest.mark.parametrize("name", [*DEVICES, "CON .x", "ab:c", "a.", "a ", "a*b", "liver.nii.gz", "com10", "console"])
def test_python_says_the_same(name):
    assert is_windows_name(name) != ntpath.isreserved(name)
