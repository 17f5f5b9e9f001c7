from PIL import Image

from talking_points.dataset.describers.describer import PointTask
from talking_points.dataset.describers.descriptor import DescriptorDescriber
from talking_points.dataset.describers.windows import CUT_SIDE_PX
from talking_points.dataset.grammar import point_facts
from talking_points.dataset.places import DIALECTS
from talking_points.pointing.descriptor import PointDescriptor
from tests.tiny import tiny_network


class FakeDescriber:
    """Says what it was shown."""

    def describe(self, photo, points_px):
        return [f"{photo.width}x{photo.height} at {x:g},{y:g}" for x, y in points_px]


def test_the_whole_photo_or_the_cut_out(person):
    photo = Image.fromarray(person.photo)
    points = [(30.5, 40.5), (21.5, 106.5)]
    tasks = [
        PointTask(record_id="r", facts=point_facts(person, p), dialect=DIALECTS["paper"], relations="", seed=0)
        for p in points
    ]
    of_object = DescriptorDescriber("object", FakeDescriber(), "mini")
    assert of_object.name == "mini"
    assert of_object.describe(lambda: photo, tasks) == ["60x120 at 30.5,40.5", "60x120 at 21.5,106.5"]
    of_point = DescriptorDescriber("local", FakeDescriber(), "mini")
    side, middle = CUT_SIDE_PX, CUT_SIDE_PX / 2
    assert of_point.describe(lambda: photo, tasks) == [f"{side}x{side} at {middle:g},{middle:g}"] * 2


def test_the_point_descriptor_fits(person):
    photo = Image.fromarray(person.photo)
    facts = point_facts(person, (30.5, 40.5))
    task = PointTask(record_id="r", facts=facts, dialect=DIALECTS["paper"], relations="", seed=0)
    model = PointDescriptor(tiny_network())
    for level in ("object", "local"):
        (text,) = DescriptorDescriber(level, model, "tiny").describe(lambda: photo, [task])
        assert isinstance(text, str)
