import numpy as np
import pytest

from talking_points.dataset.looks import BACKGROUND, PartColours, _line_through, dominant_colour, look_at
from talking_points.dataset.places import mirror_words
from talking_points.dataset.scene import SceneObject, make_scene
from talking_points.dataset.scene_edits import mirror


def test_dominant_colour(person):
    named = {part.name: dominant_colour(person, [k]) for k, part in enumerate(person.parts)}
    assert named["shirt"] == "red"
    assert named["jeans"] == "dark blue"
    assert named["shoe"] == "black"
    assert named["bag"] == "green"
    # The jeans are larger than the bag: together they are what the jeans are.
    assert dominant_colour(person, [3, 5]) == "dark blue"


def test_neighbours_and_their_directions(person):
    hem = look_at(person, (30.5, 59.5))
    assert hem.colour == "red"
    assert person.parts[hem.neighbour].name == "jeans"
    assert (hem.neighbour_direction, hem.touching) == ("below", True)
    assert not look_at(person, (30.5, 56.5)).touching
    side = look_at(person, (21.5, 80.5))
    assert (side.neighbour, side.neighbour_direction) == (BACKGROUND, "left")
    inner = look_at(person, (30.5, 40.5))
    assert (inner.neighbour, inner.neighbour_direction, inner.touching) == (None, None, False)


def textured(pattern):
    photo = np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)
    return make_scene(photo, np.ones(pattern.shape, np.int16), ["hood"], [0], ["car"], source="drawn", photo_id="1")


def test_texture_and_lines():
    flat = np.full((100, 100), 120)
    assert look_at(textured(flat), (50.5, 50.5)).texture == "smooth"
    step = flat.copy()
    step[:, 50:] = 200
    look = look_at(textured(step), (50.5, 50.5))
    # An edge is no texture.
    assert (look.texture, look.line) == (None, "vertical")
    assert look_at(textured(step.T.copy()), (50.5, 50.5)).line == "horizontal"
    y, x = np.mgrid[:100, :100]
    squares = textured(flat + 40 * ((x // 2 + y // 2) % 2))
    assert (look_at(squares, (50.5, 50.5)).texture, look_at(squares, (50.5, 50.5)).line) == ("textured", None)
    # What changes little by little is shading: 4 levels a pixel are a spread of 6, and no roughness at all.
    assert look_at(textured(20 + 2 * x), (50.5, 50.5)).texture == "smooth"
    assert look_at(textured(np.minimum(255, 8 * np.abs(x - 40))), (55.5, 50.5)).texture is None
    spot = flat.copy()
    spot[40:60, 40:60] = 180
    assert look_at(textured(spot), (50.5, 50.5)).shade == "brighter"


def test_looking_at_the_background_is_an_error(person):
    with pytest.raises(ValueError, match="on the background"):
        look_at(person, (1.5, 1.5))


@pytest.mark.parametrize("name", ["person", "car"])
def test_a_mirrored_photo_has_the_mirrored_look(name, request):
    scene = request.getfixturevalue(name)
    flipped = mirror(scene)
    width = scene.size_wh[0]
    rows, columns = np.nonzero(scene.part_map)
    for row, column in list(zip(rows, columns, strict=True))[::23]:
        here = look_at(scene, (column + 0.5, row + 0.5))
        there = look_at(flipped, (width - column - 0.5, row + 0.5))
        assert here.colour == there.colour
        assert (here.texture, here.shade, here.line) == (there.texture, there.shade, there.line)
        assert (here.neighbour, here.touching) == (there.neighbour, there.touching)
        direction = here.neighbour_direction
        assert there.neighbour_direction == (None if direction is None else mirror_words(direction))


# --- what most pixels of a part have ---------------------------------------------------------------------------------

RED, BLUE, WHITE = (200, 25, 35), (40, 90, 180), (255, 255, 255)


def parts(photo, part_map, count=1):
    return make_scene(
        photo.astype(np.uint8),
        part_map.astype(np.int16),
        [f"part {k}" for k in range(count)],
        [0] * count,
        ["thing"],
        source="drawn",
        photo_id="1",
    )


@pytest.mark.parametrize(("height", "name"), [(79, "red"), (80, "blue")])
def test_of_a_part_of_80_rows_every_second_row_is_read(height, name):
    # Even rows: six blue, four red; odd rows: ten red. All rows together are red.
    photo = np.full((height + 10, 20, 3), 255)
    photo[5 : 5 + height, 5:15] = RED
    photo[5 : 5 + height : 2, 5:11] = BLUE
    part_map = np.zeros(photo.shape[:2])
    part_map[5 : 5 + height, 5:15] = 1
    assert dominant_colour(parts(photo, part_map), [0]) == name


def test_rows_left_out_count_all_the_same():
    # 80x10 of blue, read every second row, beside 30x20 of red: 800 to 600 and not 400 to 600.
    photo, part_map = np.full((90, 40, 3), 255), np.zeros((90, 40))
    photo[2:82, 2:12], part_map[2:82, 2:12] = BLUE, 1
    photo[2:32, 14:34], part_map[2:32, 14:34] = RED, 2
    assert dominant_colour(parts(photo, part_map, 2), [0, 1]) == "blue"
    # What is in its box and not in the part is not counted.
    photo[2:82, 12:14] = RED
    photo[2:82, 3:12] = RED
    part_map[2:82, 3:12] = 0
    assert dominant_colour(parts(photo, part_map, 2), [0]) == "blue"


# --- the window -------------------------------------------------------------------------------------------------------


def painted(size_wh, inside, outside=RED):
    """A photo that is all one part, red, and `outside` where `inside` says so of x and y from its middle pixel."""
    width, height = size_wh
    y, x = np.mgrid[:height, :width]
    mask = inside(x - width // 2, y - height // 2)
    return parts(np.where(mask[..., None], outside, RED), np.ones((height, width)))


def middle_look(scene):
    width, height = scene.size_wh
    return look_at(scene, (width // 2 + 0.5, height // 2 + 0.5))


@pytest.mark.parametrize(
    ("size_wh", "inside", "second"),
    [
        # A side of 100: sigma is 1.5, not 1.4, and 4 px are looked at. Two columns away and farther are 0.306 of the
        # window; rows from two above on 0.956 of it and from one above on 0.847: 0.293 and 0.260, and 0.28 is enough.
        ((100, 60), lambda x, y: (abs(x) >= 2) & (y >= -2), "white"),
        ((60, 100), lambda x, y: (abs(x) >= 2) & (y >= -2), "white"),
        ((100, 60), lambda x, y: (abs(x) >= 2) & (y >= -1), None),
        # A side of 200: sigma 2.8. From the second column to the right on there is 0.295 of the window, and from the
        # fourth row above on 0.948 of that: 0.279.
        ((200, 100), lambda x, y: x >= 2, "white"),
        ((100, 200), lambda x, y: x >= 2, "white"),
        ((200, 100), lambda x, y: (x >= 2) & (y >= -4), None),
        ((200, 100), lambda x, y: x >= 3, None),  # 0.184
    ],
)
def test_a_second_colour_has_a_share_of_the_window(size_wh, inside, second):
    look = middle_look(painted(size_wh, inside, WHITE))
    assert (look.colour, look.second_colour) == ("red", second)
    assert (look.texture == "patterned") == (second is not None)


def test_the_window_ends_at_the_photo_s_border():
    # Half of a window: of the wide one the column at the border is 1 of 1 + 0.801 + 0.411 + 0.135 + 0.029, 0.421, and
    # white has the rest. The colour is that of the narrow one, of sigma 1: 1 of 1 + 0.607 + 0.135 + 0.011, 0.570.
    for size_wh, points in (
        ((100, 60), [(0.0, 30.0), (100.0, 30.0), (99.5, 0.0), (0.5, 60.0)]),
        ((60, 100), [(0.0, 50.0), (60.0, 50.0), (59.5, 0.0), (0.5, 100.0)]),
    ):
        width, height = size_wh
        scene = painted(size_wh, lambda x, y, w=width: (x > -(w // 2)) & (x < w - 1 - w // 2), WHITE)
        for point in points:
            look = look_at(scene, point)
            assert (look.colour, look.second_colour) == ("red", "white")
        scene = painted(size_wh, lambda x, y, h=height: (y > -(h // 2)) & (y < h - 1 - h // 2), WHITE)
        for point in [(width / 2, 0.0), (width / 2, float(height)), (0.0, 0.0), (float(width), float(height))]:
            look = look_at(scene, point)
            assert (look.colour, look.second_colour) == ("red", "white")


def test_only_the_part_itself_is_looked_at():
    # A red part one column wide between two white ones.
    photo, part_map = np.full((60, 100, 3), 255), np.ones((60, 100))
    photo[:, 50], part_map[:, 50], part_map[:, 51:] = RED, 2, 3
    look = look_at(parts(photo, part_map, 3), (50.5, 30.5))
    assert (look.colour, look.second_colour, look.texture, look.shade) == ("red", None, "smooth", None)


def grays(size_wh, inside, level, background=100):
    width, height = size_wh
    y, x = np.mgrid[:height, :width]
    mask = inside(x - width // 2, y - height // 2)
    return parts(
        np.repeat(np.where(mask, level, background)[..., None], 3, axis=2),
        np.ones((height, width)),
    )


@pytest.mark.parametrize(
    ("step", "texture", "line"),
    [
        # Columns from the first to the right on are 0.367 of the window: the spread is sqrt(0.367 * 0.633) = 0.482 of
        # the step. From 9 on it is not smooth, from 12 on it has a line.
        (18, "smooth", None),  # 8.7
        (19, None, None),  # 9.2
        (24, None, None),  # 11.6
        (25, None, "vertical"),  # 12.05
        (80, None, "vertical"),
    ],
)
def test_texture_and_line_go_by_the_spread_of_lightness(step, texture, line):
    look = middle_look(grays((100, 60), lambda x, y: x >= 1, 100 + step))
    assert (look.texture, look.line, look.second_colour) == (texture, line, None)


def test_how_far_the_window_reaches():
    # Sigma 1.5 and 2.5 times that, rounded up: 4 px. A column there weighs exp(-16 / 4.5) = 0.029 of the middle one's,
    # one at 5 px 0.004; two of those would be 0.2% of a window and make a spread of 11.
    for size_wh in ((100, 60), (60, 100)):
        assert middle_look(grays(size_wh, lambda x, y: abs(x) == 4, 255, 0)).texture is None
        assert middle_look(grays(size_wh, lambda x, y: abs(x) > 4, 255, 0)).texture == "smooth"
        assert middle_look(grays(size_wh, lambda x, y: abs(y) == 4, 255, 0)).texture is None
        assert middle_look(grays(size_wh, lambda x, y: abs(y) > 4, 255, 0)).texture == "smooth"


@pytest.mark.parametrize(("green", "second"), [((72, 175, 72), "green"), ((72, 155, 72), None)])
def test_two_hues_that_are_about_as_bright_are_no_pattern(green, second):
    # Brightness 0.299 R + 0.587 G + 0.114 B: the red is 69.6, the greens 132.5 and 120.7, steps of 63 and 51. Beside an
    # edge, a Gaussian of sigma 1 is off by 0.31 of the step at the first pixel and 0.07 at the next, on either side; of
    # that the window's standard deviation is 0.21 of the step: 13.2 and 10.7, and it takes 12.
    photo = np.where((np.arange(100) > 50)[None, :, None], green, (168, 26, 36)) + np.zeros((60, 1, 1))
    look = look_at(parts(photo, np.ones((60, 100))), (50.5, 30.5))
    assert (look.colour, look.second_colour) == ("red", second)


@pytest.mark.parametrize(
    ("one", "other"),
    [((200, 25, 35), (92, 16, 24)), ((0, 0, 0), (255, 255, 255)), ((0, 0, 0), (120, 120, 120))],
    ids=["red and dark red", "black and white", "black and gray"],
)
def test_two_shades_of_one_hue_are_no_pattern(one, other):
    photo = np.where((np.arange(100) > 50)[None, :, None], other, one) + np.zeros((60, 1, 1))
    look = look_at(parts(photo, np.ones((60, 100))), (50.5, 30.5))
    assert (look.second_colour, look.texture, look.line) == (None, None, "vertical")


@pytest.mark.parametrize(("level", "shade"), [(123, "brighter"), (122, None), (77, "darker"), (78, None), (100, None)])
def test_shade_is_against_the_rest_of_the_part(level, shade):
    # Of 10,000 pixels of 100 the window's 81 differ: they are all but 0.8% of the step from the mean, which must be
    # more than 22: 22.8 and 21.8.
    look = middle_look(grays((100, 100), lambda x, y: (abs(x) <= 4) & (abs(y) <= 4), level))
    assert look.shade == shade


def test_shade_is_not_against_other_parts():
    photo, part_map = np.full((100, 100, 3), 100), np.ones((100, 100))
    photo[:, 60:], part_map[:, 60:] = 255, 2
    # A second part within the first one's box, too.
    photo[:30, :30], part_map[:30, :30] = 0, 2
    assert look_at(parts(photo, part_map, 2), (45.5, 70.5)).shade is None
    assert look_at(parts(photo, part_map, 2), (80.5, 70.5)).shade == "brighter"


@pytest.mark.parametrize(("height", "shade"), [(79, None), (80, "brighter")])
def test_of_80_rows_every_second_is_read_for_the_shade_too(height, shade):
    # Even rows are 100, odd ones 148. The window has as many of both, give or take one: its mean is 124.
    photo, part_map = np.zeros((100, 60, 3)), np.zeros((100, 60))
    photo[10 : 10 + height], part_map[10 : 10 + height] = 148, 1
    photo[10 : 10 + height : 2] = 100
    assert look_at(parts(photo, part_map), (30.5, 50.5)).shade == shade


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("across", "down", "line"),
    [
        # Within 22.5 degrees of an axis; the tangent of that is 0.414.
        (100, 0, "vertical"),
        (100, 41, "vertical"),
        (100, 42, "diagonal"),
        (100, 100, "diagonal"),
        (42, 100, "diagonal"),
        (41, 100, "horizontal"),
        (-41, 100, "horizontal"),
        (-100, 42, "diagonal"),
    ],
)
def test_a_line_lies_across_the_steepest_way(across, down, line):
    lightness = np.array([[0, 0, 0], [0, 0, across], [0, down, 0]], dtype=np.float32)
    assert _line_through(lightness, np.ones((3, 3))) == line


def two_cells(left, right):
    """The line of a 3x4 window whose inner cells weigh this much: one brighter to the right, the other downward."""
    lightness, weights = np.zeros((3, 4), np.float32), np.ones((3, 4))
    lightness[1, 2] = lightness[2, 2] = 20
    weights[1, 1:3] = left, right
    return _line_through(lightness, weights)


def test_one_direction_must_dominate():
    # Of 5 to 1 the difference is 4/6 of the whole, of 4 to 1 3/5; 0.62 is needed.
    assert two_cells(5, 1) == "vertical"
    assert two_cells(4, 1) is None
    assert two_cells(1, 4) is None
    assert two_cells(1, 5) == "horizontal"


@pytest.mark.parametrize(("degrees", "line"), [(50, "diagonal"), (55, None)])
def test_two_slanting_directions(degrees, line):
    # Of two equally strong ways at this angle cos(angle) of the whole is common: 0.643 and 0.574.
    lightness = np.zeros((3, 4), np.float32)
    lightness[1, 2] = 20
    lightness[1, 3], lightness[2, 2] = 20 * np.cos(np.radians(degrees)), 20 * np.sin(np.radians(degrees))
    assert _line_through(lightness, np.ones((3, 4))) == line


def test_the_border_of_a_part_is_no_line():
    lightness = np.array([[0, 0, 0], [0, 0, 100], [0, 0, 0]], dtype=np.float32)
    for row, column in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)):
        weights = np.ones((3, 3))
        weights[row, column] = 0
        assert _line_through(lightness, weights) is None
    weights = np.ones((3, 3))
    weights[::2, ::2] = 0
    assert _line_through(lightness, weights) == "vertical"
    assert _line_through(lightness[:, :2], np.ones((3, 2))) is None
    assert _line_through(lightness[:2], np.ones((2, 3))) is None
    assert _line_through(np.zeros((3, 3), np.float32), np.ones((3, 3))) is None


# --- neighbours -------------------------------------------------------------------------------------------------------


def beside(*offsets, side=41):
    """What is next to the middle of a part whose only holes, of background, are at these (dx, dy)."""
    part_map = np.ones((side, side))
    for dx, dy in offsets:
        part_map[side // 2 + dy, side // 2 + dx] = 0
    look = middle_look(parts(np.full((side, side, 3), 100), part_map))
    assert look.neighbour in (None, BACKGROUND)
    return look.neighbour_direction


def test_a_sliver_is_no_neighbour():
    # A pixel pulls by 1 / (squared distance + 2): 1/3 beside the point, 1/4 at its corner; half is needed.
    assert beside((0, 1)) is None
    assert beside((-1, 1), (1, 1)) == "below"
    assert beside((0, 1), (1, 2)) is None  # 1/3 + 1/7
    assert beside((0, 1), (0, 2)) == "below"  # 1/3 + 1/6


ONE_SIDE = ((-1, 0), (-1, -1), (-1, 1))


@pytest.mark.parametrize(
    ("direction", "holes"),
    [
        ("left", ONE_SIDE),
        ("right", [(-dx, dy) for dx, dy in ONE_SIDE]),
        ("above", [(dy, dx) for dx, dy in ONE_SIDE]),
        ("below", [(dy, -dx) for dx, dy in ONE_SIDE]),
        ("above left", [(-1, -1), (-1, 0), (0, -1)]),
        ("above right", [(1, -1), (1, 0), (0, -1)]),
        ("below left", [(-1, 1), (-1, 0), (0, 1)]),
        ("below right", [(1, 1), (1, 0), (0, 1)]),
        # Pulled 7/12 down and 1/4 to the side, 0.43 of it; the other way round; and with a pixel two below more, 11/12
        # down, 0.27 of it.
        ("below right", [(0, 1), (1, 1)]),
        ("below right", [(1, 0), (1, 1)]),
        ("below", [(0, 1), (1, 1), (0, 2)]),
        ("right", [(1, 0), (1, 1), (2, 0)]),
    ],
)
def test_directions_by_hand(direction, holes):
    assert beside(*holes) == direction


def test_what_is_on_several_sides_has_no_direction():
    # Left: 1/3 + 1/4 + 1/4 = 5/6; right: 1/3. The pull is 1/2 of a sum of 7/6: 0.43, and 0.35 is needed.
    both = (*ONE_SIDE, (1, 0))
    assert beside(*both) == "left"
    assert beside(*both, (0, 3), (0, -3)) == "left"  # 1/2 of 7/6 + 2/11: 0.371
    assert beside(*both, (0, 2), (0, -2)) is None  # 1/2 of 7/6 + 1/3: 0.333
    # The disc ends at 3 px: all four there are counted, 0.327; pixels a little farther are not.
    assert beside(*both, (0, 3), (0, -3), (3, 0), (-3, 0)) is None
    farther = [(dx * x, dy * y) for x, y in ((3, 2), (2, 3)) for dx in (-1, 1) for dy in (-1, 1)]
    assert beside(*both, *farther) == "left"


@pytest.mark.parametrize(
    ("size_wh", "distance", "found", "touching"),
    [
        # The radius is 3.5% of the long side, rounded, and 3 at least; a straight border 3 px away pulls by 0.45 within
        # 4 px and by 0.93 within 5. It touches up to 1.5 px and a 320th of the long side.
        ((41, 30), 2, True, False),
        ((41, 30), 3, False, False),
        ((119, 60), 3, False, False),  # 4.17
        ((60, 119), 3, False, False),
        ((130, 60), 3, True, False),  # 4.55
        ((60, 130), 3, True, False),
        ((120, 60), 2, True, False),  # 1.875
        ((159, 60), 2, True, False),  # 1.997
        ((160, 60), 2, True, True),  # 2
        ((60, 160), 2, True, True),
        ((160, 60), 1, True, True),
    ],
)
@pytest.mark.parametrize("way", ["above", "below", "left", "right"])
def test_how_near_a_neighbour_must_be(size_wh, distance, found, touching, way):
    width, height = size_wh
    y, x = np.mgrid[:height, :width]
    from_middle = {"above": height // 2 - y, "below": y - height // 2, "left": width // 2 - x, "right": x - width // 2}
    part_map = np.where(from_middle[way] >= distance, 2, 1)
    look = middle_look(parts(np.full((height, width, 3), 100), part_map, 2))
    assert (look.neighbour, look.neighbour_direction) == ((1, way) if found else (None, None))
    assert look.touching == touching


def test_the_neighbour_with_the_strongest_pull_is_named():
    # Three pixels of the background at the left, 5/6; of another part one more at the right, 5/6 + 1/6.
    part_map = np.ones((41, 41))
    for dx, dy in ONE_SIDE:
        part_map[20 + dy, 20 + dx], part_map[20 + dy, 20 - dx] = 0, 2
    part_map[20, 22] = 2
    part_map[0:4, 0:4] = 2  # a part of fewer than 12 pixels would be dropped
    look = middle_look(parts(np.full((41, 41, 3), 100), part_map, 2))
    assert (look.neighbour, look.neighbour_direction) == (1, "right")
    part_map[20, 22] = 1
    part_map[20, 18] = 0
    look = middle_look(parts(np.full((41, 41, 3), 100), part_map, 2))
    assert (look.neighbour, look.neighbour_direction) == (BACKGROUND, "left")


def test_the_photo_s_border_is_no_neighbour():
    scene = parts(np.full((41, 61, 3), 100), np.ones((41, 61)))
    for x in (0.0, 30.0, 61.0):
        for y in (0.0, 20.0, 41.0):
            assert look_at(scene, (x, y)).neighbour is None


def test_a_neighbour_at_the_photo_s_border():
    # A frame of background one pixel wide around the part: beside the corner pixel it is above and to the left.
    part_map = np.zeros((41, 61))
    part_map[1:-1, 1:-1] = 1
    scene = parts(np.full((41, 61, 3), 100), part_map)
    named = [
        ((1.5, 1.5), "above left"),
        ((59.5, 1.5), "above right"),
        ((1.5, 39.5), "below left"),
        ((59.5, 39.5), "below right"),
        ((30.5, 1.5), "above"),
        ((30.5, 39.5), "below"),
        ((1.5, 20.5), "left"),
        ((59.5, 20.5), "right"),
    ]
    # What is unlabelled at the border is where the photo ends: 1.2% of 61 pixels are 0.7, the outermost one alone.
    part_map = np.zeros((41, 61))
    part_map[3:-3, 3:-3] = 1
    inner = parts(np.full((41, 61, 3), 100), part_map)
    for (x, y), direction in named:
        assert look_at(scene, (x, y)).neighbour_direction is None
        moved = (min(max(x, 3.5), 57.5), min(max(y, 3.5), 37.5))
        assert look_at(inner, moved).neighbour_direction == direction


def test_the_point_s_own_side_of_a_line_of_pixels():
    # (21.0, 20.99) is in column 21 and row 20: pixels are cut off, not rounded.
    part_map = np.ones((41, 41))
    part_map[:, :20] = 2
    scene = parts(np.full((41, 41, 3), 100), part_map, 2)
    assert look_at(scene, (20.9, 20.9)).touching
    assert look_at(scene, (19.99, 20.9)).neighbour == 0


def gap_scene(outlined=True):
    """A red part of 60x60 on white, whose outline took in a white gap of 8x8, 1.8% of it; and a blue button."""
    photo, part_map = np.full((100, 100, 3), 255), np.zeros((100, 100), np.int16)
    photo[20:80, 20:80], part_map[20:80, 20:80] = RED, 1
    photo[46:54, 46:54] = 255
    photo[30:38, 30:38] = (40, 90, 180)
    thing = SceneObject(name="horse", outlined=outlined)
    return make_scene(photo.astype(np.uint8), part_map, ["leg"], [0], [thing], source="drawn", photo_id="1")


def test_a_gap_in_an_outline_is_foreign_and_a_detail_is_not():
    colours = PartColours(gap_scene())
    assert colours.is_foreign(0, 50.5, 50.5)
    # As rare, and nowhere around the object.
    assert not colours.is_foreign(0, 34.5, 34.5)
    assert not colours.is_foreign(0, 60.5, 60.5)
    # Of an object without outline nobody knows what is around it.
    assert not PartColours(gap_scene(outlined=False)).is_foreign(0, 50.5, 50.5)


def test_what_is_rare_and_what_is_frequent():
    # White is 8 of 100 columns of the part: 8% is not rare any more, 7% is; and 15% of what is around is not frequent.
    for columns, foreign in ((7, True), (8, False)):
        photo, part_map = np.full((140, 140, 3), 255), np.zeros((140, 140), np.int16)
        photo[20:120, 20:120], part_map[20:120, 20:120] = RED, 1
        photo[20:120, 60 : 60 + columns] = 255
        scene = make_scene(photo.astype(np.uint8), part_map, ["leg"], [0], ["horse"], source="drawn", photo_id="1")
        assert PartColours(scene).is_foreign(0, 60 + columns / 2, 70.5) == foreign


def test_what_a_part_lies_on_is_not_beside_it():
    part_map = np.zeros((60, 60))
    part_map[10:50, 10:50], part_map[26:34, 26:34] = 1, 2
    assert look_at(parts(np.full((60, 60, 3), 100), part_map, 2), (30.5, 27.5)).neighbour is None
    # One that reaches a pixel further than the other is beside it.
    part_map[9, 30] = 2
    assert look_at(parts(np.full((60, 60, 3), 100), part_map, 2), (30.5, 27.5)).neighbour == 0


def test_what_is_around_an_object_is_looked_at_in_its_own_box():
    # A wide photo, the object at its far right: white around it, and blue only far away at the left.
    photo, part_map = np.full((60, 300, 3), 255), np.zeros((60, 300), np.int16)
    photo[:, :150] = (40, 90, 180)
    photo[10:50, 220:280], part_map[10:50, 220:280] = RED, 1
    photo[26:32, 246:252], photo[26:32, 262:268] = 255, (40, 90, 180)
    scene = make_scene(photo.astype(np.uint8), part_map, ["leg"], [0], ["horse"], source="drawn", photo_id="1")
    assert PartColours(scene).is_foreign(0, 249.5, 29.5)
    assert not PartColours(scene).is_foreign(0, 265.5, 29.5)
    # And a high one.
    high = make_scene(
        np.ascontiguousarray(photo.swapaxes(0, 1)).astype(np.uint8), np.ascontiguousarray(part_map.T), ["leg"], [0],
        ["horse"], source="drawn", photo_id="1",
    )  # fmt: skip
    assert PartColours(high).is_foreign(0, 29.5, 249.5)
    assert not PartColours(high).is_foreign(0, 29.5, 265.5)


def test_a_part_that_ends_where_the_one_around_it_ends_is_on_it():
    part_map = np.zeros((60, 60))
    part_map[10:50, 10:50], part_map[42:50, 42:50] = 1, 2
    assert look_at(parts(np.full((60, 60, 3), 100), part_map, 2), (43.5, 43.5)).neighbour is None
