"""What can stand in a scene: COCO's names, how they are written, which sprite draws them and how they rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rest(StrEnum):
    """How an object is drawn, which decides the scenes that it may be in."""

    STANDS = "stands"  # from the side, on its feet or base: any scene
    LIES = "lies"  # at a slant or from above: surfaces seen from above, never upright on the ground
    FLIES = "flies"  # in the air: the open sky, or a surface seen from above


class Home(StrEnum):
    """Where an object is at home, which decides the backgrounds that a person would accept for it."""

    INDOORS = "indoors"
    OUTDOORS = "outdoors"
    ANYWHERE = "anywhere"


@dataclass(frozen=True)
class Category:
    """One kind of object.

    Attributes:
        name: COCO's name, singular.
        plural: as in "three knives", "two pairs of scissors".
        kind: what it is a kind of, for questions and for choosing what looks alike.
        home: where it belongs.
        rest: how it is drawn.
        unit: what a single one is counted in: a `pair` of scissors; empty for most.
        said: how texts write the name.
    """

    name: str
    plural: str
    kind: str
    home: Home
    rest: Rest
    unit: str
    said: str

    @property
    def sprite(self) -> str:
        return self.name.replace(" ", "_")

    @property
    def single(self) -> str:
        """`cat`, `pair of scissors`."""
        return f"{self.unit} of {self.said}" if self.unit else self.said

    @property
    def a_name(self) -> str:
        """`an elephant`, `a pair of scissors`."""
        return with_article(self.single)

    @property
    def verb(self) -> str:
        """`is`, but the scissors `are`."""
        return "are" if self.name == "scissors" else "is"

    def counted(self, count: int) -> str:
        """`no sheep`, `one sheep`, `two pairs of scissors`, for 0 to 9."""
        return f"{NUMBERS[count]} {self.single if count == 1 else self.plural}"


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def with_article(words: str) -> str:
    """`a` or `an` before words, by the sound of the categories and colours used here.

    >>> with_article("umbrella"), with_article("blue car")
    ('an umbrella', 'a blue car')
    """
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


_HOMES = {
    "vehicle": Home.OUTDOORS,
    "street thing": Home.OUTDOORS,
    "animal": Home.OUTDOORS,
    "person": Home.ANYWHERE,
    "bag": Home.ANYWHERE,
    "accessory": Home.ANYWHERE,
    "toy": Home.ANYWHERE,
}


def _category(
    name: str, kind: str, rest: Rest = Rest.STANDS, *, plural: str = "", unit: str = "", home: Home | None = None
) -> Category:
    said = "TV" if name == "tv" else name
    many = plural or (f"{unit}s of {said}" if unit else f"{said}s")
    return Category(name, many, kind, home or _HOMES.get(kind, Home.INDOORS), rest, unit, said)


_ALL = (
    _category("person", "person", plural="people"),
    _category("bicycle", "vehicle"),
    _category("car", "vehicle"),
    _category("motorcycle", "vehicle"),
    _category("airplane", "vehicle", Rest.FLIES),
    _category("bus", "vehicle", plural="buses"),
    _category("train", "vehicle"),
    _category("truck", "vehicle"),
    _category("boat", "vehicle"),
    _category("traffic light", "street thing"),
    _category("bird", "animal", home=Home.ANYWHERE),
    _category("cat", "animal", home=Home.ANYWHERE),
    _category("dog", "animal", home=Home.ANYWHERE),
    _category("horse", "animal"),
    _category("sheep", "animal", plural="sheep"),
    _category("cow", "animal"),
    _category("elephant", "animal"),
    _category("zebra", "animal"),
    _category("giraffe", "animal"),
    _category("backpack", "bag"),
    _category("umbrella", "accessory", Rest.LIES),
    _category("handbag", "bag"),
    _category("suitcase", "bag", Rest.LIES),
    _category("frisbee", "toy", Rest.LIES),
    _category("sports ball", "toy"),
    _category("kite", "toy", Rest.FLIES),
    _category("skateboard", "toy", Rest.LIES),
    _category("bottle", "tableware"),
    _category("wine glass", "tableware", plural="wine glasses"),
    _category("cup", "tableware"),
    _category("knife", "tool", Rest.LIES, plural="knives"),
    _category("spoon", "tool", Rest.LIES),
    _category("banana", "fruit"),
    _category("apple", "fruit"),
    _category("sandwich", "food", plural="sandwiches"),
    _category("orange", "fruit"),
    _category("broccoli", "vegetable", Rest.LIES, unit="head"),
    _category("carrot", "vegetable", Rest.LIES),
    _category("hot dog", "food", Rest.LIES),
    _category("pizza", "food", Rest.LIES),
    _category("donut", "food", Rest.LIES),
    _category("cake", "food"),
    _category("chair", "furniture"),
    _category("couch", "furniture", plural="couches"),
    _category("potted plant", "furniture", home=Home.ANYWHERE),
    _category("bed", "furniture"),
    _category("toilet", "furniture"),
    _category("tv", "device"),
    _category("laptop", "device"),
    _category("mouse", "device", Rest.LIES, plural="mice"),
    _category("cell phone", "device", Rest.LIES),
    _category("keyboard", "device", Rest.LIES),
    _category("book", "household thing"),
    _category("clock", "household thing"),
    _category("vase", "household thing"),
    _category("scissors", "tool", Rest.LIES, unit="pair"),
    _category("teddy bear", "toy"),
    _category("toothbrush", "tool", Rest.LIES, plural="toothbrushes"),
)

CATEGORY: dict[str, Category] = {category.name: category for category in _ALL}
CATEGORIES: tuple[str, ...] = tuple(CATEGORY)

# In the suite, and in no training recipe: what a model can do with these it has not memorised.
HELD_OUT: tuple[str, ...] = ("sheep", "boat", "suitcase", "clock", "pizza")
TRAIN_CATEGORIES: tuple[str, ...] = tuple(name for name in CATEGORIES if name not in HELD_OUT)
