"""Zero-shot accuracy: by hand, by an independent loop, ties, bad input, and an example's pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minchange_eval.core.errors import DataError, UsageError
from minchange_eval.core.images import open_image
from minchange_eval.core.statistics import wilson_interval
from minchange_eval.model_adapters.encoder import Encoder, Tokens
from minchange_eval.model_adapters.open_clip_models import OpenClipEncoder, find_weights
from minchange_eval.model_adapters.streaming import BatchTooLargeError
from minchange_eval.trainers.clip.labelled_pictures import open_labelled
from minchange_eval.trainers.clip.zero_shot import TEMPLATES, ZeroShot
from tests.model_adapters.checkpoints import open_clip_folder

EXAMPLE = Path(__file__).parents[3] / "examples" / "draw_labelled_pictures.py"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "deep_blue": (0, 0, 255)}


def write_pictures(root: Path, each: int = 2) -> Path:
    """Folders `red`, `green` and `deep_blue`, with pictures of these colours."""
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.new("RGB", (16, 16 + number), colour).save(root / name / f"{number}.png")
    return root


class ColourEncoder(Encoder):
    """Embeds a picture as its mean colour and a caption as the colours that it names, or as `said` for a name."""

    def __init__(self, said: Mapping[str, Sequence[float]] | None = None) -> None:
        self.model, self.device = torch.nn.Linear(1, 1), torch.device("cpu")
        self.name, self.weights_sha256, self.settings, self.packages = "colours", "", {}, {}
        self._said = said or {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        self.captions: list[str] = []

    def prepare_image(self, picture: Image.Image) -> dict[str, torch.Tensor]:
        return {"image": torch.from_numpy(np.asarray(picture).mean(axis=(0, 1)) / 255).float()}

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        self.captions += captions
        named = [next(value for name, value in self._said.items() if name in caption) for caption in captions]
        return Tokens({"text": torch.tensor(named).float()}, (False,) * len(captions))

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        assert not self.model.training
        return inputs["image"]

    def encode_texts(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return inputs["text"]


def test_every_picture_that_is_nearest_to_its_own_class_is_a_hit(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    found = ZeroShot(str(write_pictures(tmp_path)))(encoder)
    assert (found.accuracy, found.n, found.classes, found.ties, found.unscored) == (1, 6, 3, 0, 0)
    assert found.chance == 1 / 3
    assert found.low <= wilson_interval(6, 6).low < found.high == 1
    assert encoder.model.training


def test_a_tie_for_the_first_place_is_a_miss_and_counted(tmp_path: Path) -> None:
    constant = ColourEncoder(dict.fromkeys(("red", "green", "blue"), (1, 1, 1)))
    found = ZeroShot(str(write_pictures(tmp_path)))(constant)
    assert (found.accuracy, found.ties) == (0, 6)


def test_a_score_that_is_not_finite_is_a_miss_and_counted(tmp_path: Path) -> None:
    broken = ColourEncoder({"red": (float("nan"), 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)})
    found = ZeroShot(str(write_pictures(tmp_path)))(broken)
    assert (found.accuracy, found.unscored) == (0, 6)
    assert str(found).endswith("of 3 classes, 6 unscored")


def test_each_caption_is_encoded_once_and_says_the_name_without_underscores(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    ZeroShot(str(write_pictures(tmp_path)))(encoder)
    assert sorted(encoder.captions) == sorted(
        template.format(name) for name in ("red", "green", "deep blue") for template in TEMPLATES
    )


class SmallMemory(ColourEncoder):
    """Takes batches of so many rows; a training leaves an accelerator less memory than an evaluation has alone."""

    def __init__(self, most_rows: int) -> None:
        super().__init__()
        self._most_rows = most_rows

    def encode_images(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if len(inputs["image"]) > self._most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_images(inputs)


def test_a_batch_that_does_not_fit_beside_the_training_is_halved(tmp_path: Path) -> None:
    zero_shot = ZeroShot(str(write_pictures(tmp_path)))
    assert zero_shot(SmallMemory(3)) == zero_shot(ColourEncoder())
    with pytest.raises(BatchTooLargeError, match="zero-shot evaluation: out of memory in a forward of batch size 1"):
        zero_shot(SmallMemory(0))


def test_a_clip_classifies_as_a_plain_loop_over_its_pictures_does(tmp_path: Path) -> None:
    folder = open_clip_folder(tmp_path / "model")
    encoder = OpenClipEncoder(find_weights(str(folder), None, None), torch.device("cpu"), "fp32")
    shades = np.random.default_rng(0)
    for name in ("cat", "dog", "bus"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(6):
            pixels = shades.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    pictures = open_labelled(str(tmp_path / "pictures"))
    hits = 0
    with torch.no_grad():
        for image, label in zip(pictures.images, pictures.labels, strict=True):
            seen = encoder.encode_images({"image": encoder.prepare_image(open_image(image))["image"][None]})[0]
            cosines = []
            for name in pictures.classes:
                texts = encoder.encode_texts(encoder.tokenize([template.format(name) for template in TEMPLATES]).inputs)
                mean = torch.nn.functional.normalize(texts, dim=-1).mean(0)
                cosines.append(float(torch.nn.functional.cosine_similarity(seen, mean, dim=0)))
            hits += cosines.index(max(cosines)) == label
    assert ZeroShot(pictures, batch_size=4)(encoder).accuracy == hits / 18


def test_a_table_gives_what_its_pictures_in_folders_give(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "pictures")
    lines = [f"{path},{path.parent.name.replace('_', ' ')}" for path in sorted(root.rglob("*.png"))]
    (tmp_path / "table.csv").write_text("\n".join(["image,label", *lines]))
    table, folders = open_labelled(str(tmp_path / "table.csv")), open_labelled(str(root))
    assert (table.classes, table.labels, table.fingerprint) == (folders.classes, folders.labels, folders.fingerprint)


def test_a_second_look_decodes_no_picture(tmp_path: Path) -> None:
    zero_shot = ZeroShot(str(write_pictures(tmp_path)))
    first = zero_shot(ColourEncoder())
    for picture in tmp_path.rglob("*.png"):
        picture.unlink()
    assert zero_shot(ColourEncoder()) == first


def test_what_is_no_set_of_labelled_pictures_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder with a folder of pictures for each class"):
        open_labelled("store:spec_mini")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cat: expected pictures .* found none"):
        open_labelled(str(tmp_path / "one"))
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "cat" / "0.png")
    with pytest.raises(UsageError, match="expected at least two classes to tell apart, got 1"):
        open_labelled(str(tmp_path / "one"))
    table = tmp_path / "table.tsv"
    table.write_text("image\tclass\n")
    with pytest.raises(UsageError, match="expected the columns image and label, got image, class"):
        open_labelled(str(table))
    table.write_text("image\tlabel\none/cat/0.png\tcat\none/cat/0.png\t\n")
    with pytest.raises(DataError, match="line 3: expected an image and a label"):
        open_labelled(str(table))
    table.write_text("image\tlabel\none/cat/0.png\tcat\nnone.png\tdog\n")
    with pytest.raises(DataError, match=r"none\.png: cannot be read \(No such file"):
        open_labelled(str(table))


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "red" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"image 0\.png"):
        ZeroShot(str(tmp_path))(ColourEncoder())


def test_the_bundled_model_knows_what_the_example_draws_and_not_what_was_held_out(tmp_path: Path) -> None:
    encoder = OpenClipEncoder(find_weights("minchange-tiny", None, None), torch.device("cpu"), "fp32")
    found = {}
    for which, each in (("trained", 2), ("held-out", 10)):
        command = [sys.executable, str(EXAMPLE), "--output", str(tmp_path / which), "--categories", which]
        subprocess.run([*command, "--each", str(each)], check=True, capture_output=True, timeout=120)
        found[which] = ZeroShot(str(tmp_path / which))(encoder)
    assert found["trained"].classes == 53
    assert found["trained"].accuracy > 0.9
    assert found["held-out"].low < found["held-out"].chance < 0.5
