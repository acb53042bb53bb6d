"""PSNR under the conventions of the field, beside other implementations of each."""

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from conftest import picture
from multiblock.cli import main
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.inference import conventions
from test_evaluation import folders, soften  # noqa: F401


def gray(image: np.ndarray) -> np.ndarray:
    """Pillow's, which has OpenCV's weights, and rounds."""
    return np.asarray(Image.fromarray(image).convert("L")).astype(float)


def by_others(image: np.ndarray, reference: np.ndarray, scale: int) -> list[float]:
    """PSNRs of 8-bit images in the order of the table."""

    def cut(pixels: np.ndarray, border: int) -> np.ndarray:
        return pixels[border:-border, border:-border] if border else pixels

    def psnr(of, border: int) -> float:
        return peak_signal_noise_ratio(of(cut(reference, border)), of(cut(image, border)), data_range=255)

    def luma(pixels: np.ndarray) -> np.ndarray:
        return rgb2ycbcr(pixels)[..., 0]

    plain = [psnr(lambda pixels: pixels, border) for border in (6 + scale, 0, 0)]
    return [psnr(luma, scale), psnr(luma, 0), psnr(gray, scale), *plain, plain[-1], psnr(luma, scale)]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_each_is_that_of_another_implementation(scale):
    reference, image = picture(seed=1), soften(picture(seed=1))
    errors: conventions.Errors = {}
    for aliased in (False, True):
        made = {"input": reference / 255, "network": image / 255}
        conventions.add(errors, scale, aliased, reference / 255, made)
    found = [one.psnr(errors[one]["network"]) for one in conventions.CONVENTIONS]
    assert found == pytest.approx(by_others(image, reference, scale), abs=0.02)  # Pillow's weights have 16 bits
    assert all(np.isinf(one.psnr(errors[one]["input"])) for one in conventions.CONVENTIONS)


def test_a_mean_over_pixels_is_not_one_over_images():
    pooled = next(one for one in conventions.CONVENTIONS if one.pooled)
    apart = next(one for one in conventions.CONVENTIONS if one.peak == 1 and not one.pooled)
    assert apart.psnr([1e-2, 1e-4]) == pytest.approx(30)
    assert pooled.psnr([1e-2, 1e-4]) == pytest.approx(-10 * np.log10(5.05e-3))


def test_shrinking_without_antialiasing_has_the_weights_of_a_cubic_with_three_quarters():
    """Halfway between pixels they are -3/32, 19/32, 19/32, -3/32; MATLAB's widened kernel takes eight."""
    pixels = picture(24, 28, seed=3)
    weights = np.array([-3, 19, 19, -3]) / 32
    padded = np.pad(pixels.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = sum(weight * padded[tap : tap + 24 : 2] for tap, weight in enumerate(weights))
    both = sum(weight * rows[:, tap : tap + 28 : 2] for tap, weight in enumerate(weights))
    found = conventions.shrink_aliased(pixels, 2)
    assert np.abs(found - both.clip(0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("size", "value", "says"), [((16, 40), 0.5, "40 x 16 pixels; a border of 8"), ((40, 40), np.nan, "not finite")]
)
def test_what_has_no_psnr_is_an_error(size, value, says):
    reference, errors = np.full((*size, 3), 0.25), {}
    with pytest.raises(UserError, match=says):
        conventions.add(errors, 2, False, reference, {"input": reference, "network": np.full_like(reference, value)})
    assert not errors


class TestCommand:
    """``multiblock evaluate --explain``."""

    def explain(self, folder, *more: str) -> int:
        words = [str(folder / "w.safetensors"), "--hr", str(folder / "hr"), "--device", "cpu", *more]
        return main(["evaluate", *words])

    def test_the_nearest_is_named(self, folders, capsys):  # noqa: F811
        pairs = ("--lr", str(folders / "lr"))
        assert self.explain(folders, *pairs, "--explain") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 + len(conventions.CONVENTIONS) - 1, "LR that is given was shrunk already"
        figure = lines[4].split("border 1")[1].split()[1]
        assert "OpenCV" in lines[4]
        assert self.explain(folders, *pairs, "--explain", figure) == 0
        assert f"the paper's {figure[:-1]}" in (said := capsys.readouterr().out) and "as: Y of OpenCV" in said
        assert self.explain(folders, *pairs, "--explain", "60") == 0
        assert "the paper's 60.0 dB is none of these" in capsys.readouterr().out

    def test_lr_is_made_in_both_ways(self, folders, capsys):  # noqa: F811
        assert self.explain(folders, "--scale", "2", "--explain") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 + len(conventions.CONVENTIONS) and "without antialiasing" in lines[-1]

    def test_what_does_not_go_together_is_refused(self, folders, capsys):  # noqa: F811
        assert self.explain(folders, "--scale", "2", "--explain", "--border", "4") == 1
        assert "--border: does not go with --explain" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            self.explain(folders, "--explain", "3400")
        assert "allowed is a PSNR in dB from 5 to 100" in capsys.readouterr().err

    def test_an_image_that_cannot_be_read_is_named(self, folders, capsys):  # noqa: F811
        images.write(folders / "hr" / "small.png", picture(12, 60))
        (folders / "hr" / "b.png").write_text("no picture")
        assert self.explain(folders, "--scale", "2", "--explain") == 1
        printed = capsys.readouterr()
        assert "PSNR in dB of 1 image " in printed.out
        assert "hr/b.png: cannot be read" in printed.err and "hr/small.png: found 60 x 12 pixels" in printed.err
