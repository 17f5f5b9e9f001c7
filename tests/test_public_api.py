import subprocess
import sys

import pytest

import talking_points

# Changing this list is a decision about other people's programs: say so in CHANGELOG.md.
PUBLIC_NAMES = [
    "Describer",
    "FoundPoint",
    "Localizer",
    "PhotoCache",
    "PhotoPoint",
    "PointDescriptor",
    "PointLocalizer",
    "RoundTrip",
    "SampledText",
    "Sampling",
    "TalkingPoints",
    "Verdict",
    "__version__",
    "check_points",
    "coco_to_photo",
    "letterbox",
    "open_photo",
    "photo_to_coco",
    "photo_to_scaled",
    "photo_to_square",
    "photo_to_supervision",
    "photo_to_unit",
    "scaled_to_photo",
    "square_to_photo",
    "supervision_to_photo",
    "unit_to_photo",
]


def test_public_names():
    assert talking_points.__all__ == PUBLIC_NAMES == sorted(PUBLIC_NAMES)


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_each_name_can_be_imported_and_explains_itself(name):
    value = getattr(talking_points, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__


def test_names_are_listed_by_dir():
    assert set(PUBLIC_NAMES) <= set(dir(talking_points))


def test_other_names_are_an_error():
    with pytest.raises(AttributeError, match="no attribute 'Descriptor'"):
        talking_points.Descriptor  # noqa: B018
    with pytest.raises(ImportError):
        from talking_points import nothing_of_the_kind  # noqa: F401


def loaded_after(program: str) -> set[str]:
    """Top-level modules that a fresh Python holds after running `program`."""
    program += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "transformers", "numpy", "PIL", "matplotlib", "cv2"}
    assert not loaded_after("import talking_points") & heavy


def test_points_and_photos_need_no_torch():
    program = "from talking_points import open_photo, photo_to_square, Describer, Localizer"
    assert not loaded_after(program) & {"torch", "transformers", "matplotlib", "supervision"}
