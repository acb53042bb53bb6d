"""Pictures in pages: without loss, windows where they gained and lost the most, and never more than the page allows."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from made_up import noisy, psnr
from made_up import pictures as made_pictures
from multiblock.page import hot_spots, pictures, viewer


def pixels_of(uri: str) -> np.ndarray:
    """The pixels of a data URI."""
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))).convert("RGB"))


def look(count: int = 1, size=(96, 128), side: int = 32) -> list[pictures.Shown]:
    labels = ["input", "one", "two", "three", "target"]
    return [
        pictures.look(f"i{n}", labels, lambda n=n: tuple(made_pictures(*size, n)), True, side) for n in range(count)
    ]


def test_pictures_are_kept_without_loss():
    for pixels in (noisy(picture(40, 30), 30, 1), np.zeros((1, 1, 3), np.uint8), picture(7, 90)):
        assert np.array_equal(pixels_of(pictures.webp(pixels)), pixels)


def test_windows_of_the_largest_gain_and_loss_are_those_of_all_windows():
    rng = np.random.default_rng(5)
    before, after, target = (rng.integers(0, 255, (20, 26, 3), dtype=np.uint8) for _ in range(3))
    fallen = {
        (x, y): np.mean((before[y : y + 7, x : x + 7].astype(float) - target[y : y + 7, x : x + 7]) ** 2)
        - np.mean((after[y : y + 7, x : x + 7].astype(float) - target[y : y + 7, x : x + 7]) ** 2)
        for y in range(14)
        for x in range(20)
    }
    gain, loss = hot_spots.gain_and_loss(before, after, target, 7)
    assert (gain.x, gain.y) == max(fallen, key=fallen.get) and gain.what == "largest gain"
    assert (loss.x, loss.y) == min(fallen, key=fallen.get) and loss.what == "largest loss"
    crop = (slice(gain.y, gain.y + 7), slice(gain.x, gain.x + 7))
    assert gain.change == pytest.approx(psnr(after[crop], target[crop]) - psnr(before[crop], target[crop]), abs=1e-3)


def test_where_nothing_is_lost_it_is_said():
    target = picture(40, 40)
    gain, least = hot_spots.gain_and_loss(noisy(target, 20, 1), noisy(target, 2, 2), target, 16)
    assert gain.what == "largest gain" and least.what == "error fell least" and least.change > 0
    rose, loss = hot_spots.gain_and_loss(noisy(target, 2, 2), noisy(target, 20, 1), target, 16)
    assert rose.what == "error rose least" and rose.change < 0 and loss.what == "largest loss"


def test_equal_pictures_have_no_gain_in_decibels():
    target = picture(30, 30)
    gain, loss = hot_spots.gain_and_loss(target, target, target, 64)
    assert gain.change is None and loss.change is None and (gain.width, gain.height) == (30, 30)


def test_what_fits_is_shown_whole_and_the_made_up_loss_is_found():
    (cut,) = viewer.written(look(), 10_000_000)
    assert (cut["width"], cut["height"], cut["title"]) == (128, 96, "i0")
    for shown, pixels in zip(cut["pictures"], made_pictures(96, 128, 0), strict=True):
        assert np.array_equal(pixels_of(shown["src"]), pixels) and shown["sum"] == pixels.sum()
    gain, loss = cut["places"]
    assert gain["what"] == "largest gain" and gain["change"] > 5
    # Noise was added to the lower right quarter of a side.
    assert loss["what"] == "largest loss" and loss["x"] >= 96 - 32 and loss["y"] >= 72 - 32 and loss["change"] < 0


@pytest.mark.parametrize("budget", [2_600_000, 3_400_000])
def test_windows_are_cut_so_that_they_fit(budget):
    images = look(2, (300, 360))
    parts = viewer.written(images, budget)
    taken = sum(len(shown["src"]) for part in parts for shown in part["pictures"])
    assert 0.75 * budget < taken <= budget
    for part in parts:
        whole = made_pictures(300, 360, int(part["name"][1:]))
        crop = (slice(part["y"], part["y"] + part["height"]), slice(part["x"], part["x"] + part["width"]))
        for shown, pixels in zip(part["pictures"], whole, strict=True):
            assert np.array_equal(pixels_of(shown["src"]), pixels[crop])
        for place in part["places"]:
            assert place["x"] >= 0 and place["x"] + place["width"] <= part["width"]
            assert place["y"] >= 0 and place["y"] + place["height"] <= part["height"]
    # Each image's gain and loss can be seen in one of its windows.
    for image in images:
        seen = {place["what"] for part in parts if part["name"] == image.name for place in part["places"]}
        assert seen == {"largest gain", "largest loss"}


def test_of_too_many_images_those_are_left_that_changed_most():
    images = look(6, (200, 240))
    parts = viewer.written(images, 900_000)
    names = {part["name"] for part in parts}
    assert 0 < len(names) < 6
    most = sorted(images, key=lambda image: -max(abs(place.change) for place in image.places))
    assert names == {image.name for image in most[: len(names)]}


def test_at_most_two_windows_are_those_of_the_largest_gain_and_loss_of_all():
    images = look(3, (300, 300))
    parts = viewer.written(images, 500_000, most=2)
    gains = {image.name: image.places[0].change for image in images}
    losses = {image.name: image.places[1].change for image in images}
    assert [part["name"] for part in parts] == [max(gains, key=gains.get), min(losses, key=losses.get)]
    assert sum(len(shown["src"]) for part in parts for shown in part["pictures"]) <= 500_000


def test_a_side_that_the_format_cannot_have_is_cut():
    long = (np.zeros((170, 16_500, 3), np.uint8), np.zeros((170, 16_500, 3), np.uint8))
    image = pictures.look("long", ["a", "b"], lambda: long, False, 32)
    (cut,) = viewer.written([image], 10_000_000)
    assert 16_000 < cut["width"] <= 16_383


def test_no_image_and_no_room():
    assert viewer.written([], 1000) == [] and viewer.written([], 1000, most=2) == []


def test_cells_are_means_to_the_last_row(monkeypatch):
    plane = np.arange(7 * 10, dtype=float).reshape(7, 10)
    found = hot_spots.cells(plane, 3)
    assert found.shape == (3, 4)
    assert found[0, 0] == plane[:3, :3].mean() and found[2, 3] == plane[6:, 9:].mean()
    one, other = picture(70, 40), picture(70, 40, seed=1)
    whole = hot_spots.squared_error(one, other)
    monkeypatch.setattr(hot_spots, "_STRIP", 16)
    for step in (1, 3, 20):
        assert hot_spots.error_in_cells(one, other, step) == pytest.approx(hot_spots.cells(whole, step))


def test_places_of_very_large_images_are_found_nearly_as_well(monkeypatch):
    before, *_, after, target = made_pictures(200, 260, 1)
    exact = hot_spots.gain_and_loss(before, after, target, 32)
    monkeypatch.setattr(hot_spots, "FINE", 5_000)
    for rough, fine in zip(hot_spots.gain_and_loss(before, after, target, 32), exact, strict=True):
        crop = (slice(rough.y, rough.y + 32), slice(rough.x, rough.x + 32))
        assert target[crop].shape == (32, 32, 3)
        change = psnr(after[crop], target[crop]) - psnr(before[crop], target[crop])
        assert change == pytest.approx(fine.change, abs=1) and rough.what == fine.what


def test_of_many_images_those_with_the_largest_changes_have_maps(monkeypatch):
    images = look(4)
    monkeypatch.setattr(pictures, "MOST", 2)
    chosen = sorted(images, key=lambda image: -max(abs(place.change) for place in image.places))[:2]
    assert {found["name"] for found in pictures.maps(images)} == {image.name for image in chosen}


def test_error_maps_are_of_the_errors():
    (found,) = pictures.maps(look())
    before, after, change = (pixels_of(shown["src"]).astype(int) for shown in found["maps"])
    assert before.mean() > 1.5 * after[:72].mean()
    corner, rest = change[-16:, -24:].mean(axis=(0, 1)), change[:60, :80].mean(axis=(0, 1))
    assert corner[0] > corner[2] and rest[2] > rest[0]  # orange where it got worse, blue elsewhere
    assert 50 < found["better"] < 100
