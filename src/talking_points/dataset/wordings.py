"""Every wording of the rules' grammar, in tables.

Lower-case ASCII. `{point}`, `{object}` and the like are filled in by `synthesis`; no phrase but those of places and
orders names a side, so that a mirrored scene gives the mirrored text.
"""

from __future__ import annotations

from talking_points.dataset.places import AT_EDGE, ORDINALS, Degree

POINT_WORDS = ("point", "point", "keypoint", "spot")
PHOTO_WORDS = ("photo", "image", "picture")
CENTER_WORDS = ("center", "middle")
OWN_SHARE = 0.35
"""How often a side is said to be the object's "own". That of a vehicle always is: people stand before it."""
VEHICLES = frozenset({"airplane", "bicycle", "boat", "bus", "car", "motorcycle", "train", "truck", "van"})
SITUATED = ("situated", "located", "positioned", "found")
NEAR_WORDS = ("near", "close to")
PEOPLE = frozenset((
    "baby", "boy", "child", "cyclist", "girl", "man", "pedestrian", "person", "player", "rider", "woman",
))  # fmt: skip
"""Objects that are spoken of with "who" and "their"."""

ORDER_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("{noun} on the left", "leftmost {noun}", "{noun} to the left"),
    "right": ("{noun} on the right", "rightmost {noun}", "{noun} to the right"),
    "top": ("upper {noun}", "{noun} at the top"),
    "bottom": ("lower {noun}", "{noun} at the bottom"),
    "leftmost": ("leftmost {noun}", "first {noun} from the left", "{noun} farthest to the left"),
    "rightmost": ("rightmost {noun}", "first {noun} from the right", "{noun} farthest to the right"),
    "topmost": ("{noun} at the top", "first {noun} from the top", "{noun} closest to the top"),
    "lowest": ("{noun} at the bottom", "first {noun} from the bottom", "{noun} closest to the bottom"),
    "middle": ("middle {noun}", "{noun} in the middle"),
    "top left": ("upper left {noun}", "{noun} at the top left"),
    "top right": ("upper right {noun}", "{noun} at the top right"),
    "bottom left": ("lower left {noun}", "{noun} at the bottom left"),
    "bottom right": ("lower right {noun}", "{noun} at the bottom right"),
    **{
        f"{ordinal} from the {end}": (
            f"{ordinal} {{noun}} from the {end}",
            f"{{noun}} that is {ordinal} from the {end}",
        )
        for ordinal in ORDINALS[1:]
        for end in ("left", "right", "top", "bottom")
    },
}
"""How a thing is told from others of its kind; the keys are what `relations.order_of` and `object_order_of` return."""
for _order, _side in {
    "left": "left", "leftmost": "left", "right": "right", "rightmost": "right",
    "top": "top", "topmost": "top", "bottom": "bottom", "lowest": "bottom",
}.items():  # fmt: skip
    # Of whole objects only: of a part, the edge could be that of its object.
    ORDER_PHRASES[_order + AT_EDGE] = (*ORDER_PHRASES[_order], f"{{noun}} closest to the {_side} edge")

# "The left shoe" would be the person's own left one. What has no side of its own is told by where it is seen.
PART_ORDER_PHRASES: dict[str, tuple[str, ...]] = {
    **ORDER_PHRASES,
    **{
        side: (
            f"{side}most {{noun}}",
            f"{{noun}} on the {side} as seen in the {{photo}}",
            f"{{noun}} farther to the {side} in the {{photo}}",
        )
        for side in ("left", "right")
    },
}
"""The same for the parts of one object, whose left and right are the picture's unless their name says a side."""
_ENDS = ("left", "right", "top", "bottom", "leftmost", "rightmost", "topmost", "lowest")
FIRST_OR_LAST = frozenset((*_ENDS, *(end + AT_EDGE for end in _ENDS)))
"""Orders that stay true among fewer things: the leftmost car, if it is red, is the leftmost red car."""

OPENINGS = (
    "the {point} is on {object}",
    "the {point} is located on {object}",
    "the {point} lies on {object}",
    "the {point} sits on {object}",
    "this {point} is on {object}",
    "the marked {point} is on {object}",
)
OBJECT_PLACES = {
    "span": (", {who} {span},",),
    "span and place": (
        ", {who} {span} and is {situated} {place},",
        ", {who} {span}, {short_place},",
        ", {place},",
    ),
    "size and place": (", {who} {size} and is {situated} {place},",),
    "place": (", {who} is {situated} {place},", ", {situated} {place},"),
}
PART_CLAUSES = (
    "specifically on {part}",
    "more exactly on {part}",
    "more precisely on {part}",
    "on {part}",
)
PART_SENTENCES = ("it is on {part}", "it lies on {part}", "more exactly, it is on {part}")
PART_PLACES = {
    "span": (", {spanning},",),
    "span and place": (", {spanning} and {situated} {place},", ", {situated} {place},", ", {place},"),
    "place": (", {situated} {place},", ", {place},"),
}
INNER_CLAUSES = (
    ("and within the {noun}, the {point} is {place}", False),
    ("and within the {noun}, it is {place}", False),
    ("and inside the {noun}, the {point} lies {place}", False),
    ("where the {point} is {place}", True),
    ("and the {point} is {situated} {place}", True),
)
"""Clauses for the point in the part, and whether the place must name the part."""
WHOLE_CLAUSES = (
    ("and on the {noun}, the {point} is {place}", False),
    ("where the {point} is {place}", True),
    ("and the {point} is {situated} {place}", True),
    ("and it lies {place}", True),
)
"""The same for an object that is described as a whole."""
BACKWARD_OPENINGS = (
    "the {point} is {place}, on {part}",
    "the {point} is {situated} {place}, on {part}",
    "{place} lies the {point}, on {part}",
)
BACKWARD_OBJECTS = ("this is {object}", "it belongs to {object}", "the {noun} is that of {object}")
LOOK_CLAUSES = (
    "in a region that features {look}",
    "in a region showing {look}",
    "and the area around the {point} shows {look}",
    "surrounded by {look}",
    "on {look}",
)
LOOK_SENTENCES = (
    "the area around the {point} shows {look}",
    "around the {point} there is {look}",
    "the region around it features {look}",
)
SPAN_PHRASES = {
    ("most", "most"): (
        "fills most of the {frame}",
        "takes up most of the {frame}",
    ),
    ("whole", "whole"): ("fills the whole {frame}", "spans the whole width and height of the {frame}"),
    ("part", "most"): ("spans most of the height of the {frame}", "takes up most of the {frame}'s height"),
    ("part", "whole"): (
        "spans the whole height of the {frame}",
        "reaches from the top to the bottom of the {frame}",
    ),
    ("most", "part"): ("spans most of the width of the {frame}", "takes up most of the {frame}'s width"),
    ("whole", "part"): (
        "spans the whole width of the {frame}",
        "reaches across the whole width of the {frame}",
    ),
    ("most", "whole"): ("spans the whole height and most of the width of the {frame}",),
    ("whole", "most"): ("spans the whole width and most of the height of the {frame}",),
}
"""What covers most of a frame, by `relations.extent` across and down."""
PARTICIPLES = {"spans": "spanning", "fills": "filling", "takes": "taking", "reaches": "reaching"}
SIZE_PHRASES = (
    (0.14, "is small"),
    (0.29, "takes up about a quarter of the {frame}'s height"),
    (0.41, "takes up about a third of the {frame}'s height"),
    (0.58, "takes up about half of the {frame}'s height"),
    (1.00, "takes up about two thirds of the {frame}'s height"),
)
"""Sizes of an object that does not span its frame: up to this share of the height, this phrase."""
SMALL_WIDTH = 0.25
"""Nothing that covers more of the width is called small."""

MAX_WORDS = 65
"""Longer texts are written anew, with other wordings; the shortest of eight stays."""

PLACE_PHRASES: dict[tuple[Degree, Degree], tuple[str, ...]] = {
    ("center", "center"): ("at the {center}{of}", "in the {center}{of}"),
    ("center", "slight"): ("slightly {above} the {center}{of}", "just {above} the {center}{of}"),
    ("center", "plain"): ("{above} the {center}{of}", "toward the {level}{of}"),
    ("center", "edge"): ("{near} the {level} edge{of}", "{near} the {center} of the {level} edge{of}"),
    ("slight", "center"): ("slightly to the {side} of the {center}{of}", "just {side} of the {center}{of}"),
    ("slight", "slight"): ("slightly {above} and to the {side} of the {center}{of}",),
    ("slight", "plain"): (
        "{above} and slightly to the {side} of the {center}{of}",
        "toward the {level}{of} and slightly to the {side}",
    ),
    ("slight", "edge"): ("{near} the {level} edge{of}, slightly to the {side}",),
    ("plain", "center"): ("to the {side} of the {center}{of}", "toward the {side} side{of}"),
    ("plain", "slight"): (
        "to the {side} and slightly {above} the {center}{of}",
        "toward the {side}{of} and slightly {above} the {center}",
    ),
    ("plain", "plain"): ("{above} and to the {side} of the {center}{of}", "toward the {upper} {side}{of}"),
    ("plain", "edge"): ("{near} the {level} edge{of}, toward the {side}",),
    ("edge", "center"): ("{near} the {side} edge{of}", "{near} the {center} of the {side} edge{of}"),
    ("edge", "slight"): ("{near} the {side} edge{of}, slightly {above} the {center}",),
    ("edge", "plain"): ("{near} the {side} edge{of}, toward the {level}",),
    ("edge", "edge"): ("{near} the {level} {side} corner{of}", "{near} the {level} and {side} edges{of}"),
}
"""Where a thing is, by `relations.degree` across and down."""
ZONE_PHRASES: dict[tuple[str, str], tuple[str, ...]] = {
    ("center", "center"): ("the {center}",),
    ("center", "inner"): ("the {upper} part", "the {upper} {center}"),
    ("center", "edge"): ("the {level} edge", "the {level}"),
    ("inner", "center"): ("the {side} part", "the {side} side"),
    ("inner", "inner"): ("the {upper} {side} part",),
    ("inner", "edge"): ("the {side} part of the {level} edge",),
    ("edge", "center"): ("the {side} edge", "the {center} of the {side} edge"),
    ("edge", "inner"): ("the {upper} part of the {side} edge",),
    ("edge", "edge"): ("the {level} {side} corner",),
}
"""The same in few words; "inner" is a degree between the center and the edge."""
SHORT_TEXTS = (
    "{zone} of {part} of {object}",
    "on {zone} of {part} of {object}",
    "the {point} at {zone} of {part} of {object}",
)
SHORT_TEXTS_OF_OBJECT = ("{zone} of {object}", "on {zone} of {object}", "the {point} at {zone} of {object}")
SHORT_TEXTS_OF_ONE = ("{zone} of {possessive} {part}", "on {zone} of {possessive} {part}")
WAY_PHRASES = (
    (0.25, "about a quarter of the way"),
    (1 / 3, "about a third of the way"),
    (2 / 3, "about two thirds of the way"),
    (0.75, "about three quarters of the way"),
)
WAY_DOWN = "{way} down from the top"
WAY_IN = "{way} in from the {side}"

SKIN_LOOKS = ("bare skin", "smooth skin")
LOOKS = ("{texture} {colour} {material}", "{colour}, {texture} {material}")
LOOKS_WITHOUT_TEXTURE = ("{colour} {material}",)
LOOKS_WITHOUT_COLOUR = ("{texture} {material}",)
SHADE_PHRASES = {
    "darker": (", darker than most of the {noun}",),
    "brighter": (", brighter than most of the {noun}", ", lighter than most of the {noun}"),
}
LINE_PHRASES = {
    "vertical": (" with a vertical line", " with a vertical edge running through it"),
    "horizontal": (" with a horizontal line", " with a horizontal edge running through it"),
    "diagonal": (" with a diagonal line", " with a diagonal edge running through it"),
}
DIRECTION_PHRASES = {
    "above": ("just above", "directly above it"),
    "below": ("just below", "directly below it"),
    "left": ("just to the left", "on its left"),
    "right": ("just to the right", "on its right"),
    "above left": ("just to the upper left",),
    "above right": ("just to the upper right",),
    "below left": ("just to the lower left",),
    "below right": ("just to the lower right",),
}
TOUCHING_PHRASES = (", at the edge with {neighbour} {direction}", ", touching {neighbour} {direction}")
CLOSE_PHRASES = (", with {neighbour} {direction}", ", close to {neighbour} {direction}")
OUTLINE_PHRASES = (
    ", close to the outline of the {object} {direction}",
    ", with the outline of the {object} {direction}",
)
"""Where the object ends. What is behind it, or in front, has no label, and is not said."""

SKIN_PARTS = frozenset({"arm", "cheek", "chin", "face", "foot", "forehead", "hand", "leg", "legs", "nose", "skin"})
"""Bare skin on a person. Its colour is never said."""
SKIN_COLOURS = frozenset({"beige", "brown", "dark brown", "dark red", "light brown", "orange", "pink", "yellow"})
"""Not said of a person's part that may be bare or covered, such as a knee: they may be the skin's."""
# fmt: off
FABRIC_PARTS = frozenset((
    "blazer", "blouse", "bodysuit", "cape", "cardigan", "coat", "dress", "hoodie", "jacket", "jeans",
    "jumper", "leggings", "pants", "romper", "scarf", "shirt", "shorts", "skirt", "stockings", "suit",
    "sweater", "sweatshirt", "swimwear", "t-shirt", "tie", "tights", "top", "underwear", "vest",
))
TELLING_GARMENTS = frozenset((
    "blazer", "blouse", "cape", "coat", "dress", "jacket", "jeans", "pants", "romper", "shirt", "shorts",
    "skirt", "suit", "sweater", "sweatshirt", "t-shirt",
))
"""A person is told by the largest of these and its colour, a car by the colour of all of the next."""
TELLING_PANELS = frozenset((
    "hood", "front left door", "front right door", "back left door", "back right door", "front bumper",
    "rear bumper", "trunk", "tailgate",
))
TELLING_SHARE = 0.5
"""An object is told by a colour that so much of it has."""
WITHOUT_BORDER = frozenset(("cheek", "chin", "forehead"))
"""Nobody can tell where these begin: a point is never said to be close to one."""
WITHOUT_DETAIL = frozenset(("building", "street", "trees", "plants", "tree"))
"""Nobody tells these by their colour."""
WITHOUT_ARTICLE = frozenset((
    "hips", "shoulders", "trees", "plants",
    "boots", "earrings", "glasses", "gloves", "hair", "jeans", "leggings", "legs", "pants", "sandals",
    "shoes", "shorts", "skin", "sneakers", "socks", "stockings", "sunglasses", "swimwear", "tights",
    "trousers", "underwear",
))
# fmt: on
WORN_PARTS = FABRIC_PARTS | frozenset(
    (
        "accessory",
        "bag",
        "belt",
        "boot",
        "boots",
        "bra",
        "bracelet",
        "earring",
        "earrings",
        "glasses",
        "glove",
        "gloves",
        "hair",
        "hat",
        "helmet",
        "necklace",
        "ring",
        "sandal",
        "sandals",
        "shoe",
        "shoes",
        "sneaker",
        "sneakers",
        "sock",
        "socks",
        "sunglasses",
        "wallet",
        "watch",
    )
)  # fmt: skip
"""A person's parts that are never skin: their colour is said whatever it is."""
MATERIALS = {
    "fabric": FABRIC_PARTS,
    "glass": frozenset({"windshield", "rear window"}),
    "hair": frozenset({"hair"}),
}
"""What parts are made of; all others have "a surface"."""
FURRY_ANIMALS = frozenset({"bear", "cat", "dog", "fox", "lion", "panda", "rabbit", "squirrel", "teddy bear", "tiger"})
BARE_PARTS = frozenset({"eye", "mouth", "nose", "paw", "tongue"})
"""Of a furry animal, these have no fur to speak of."""
