"""Losses: their terms and weights, and the network that perceptual ones look through."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from multiblock.errors import UserError
from multiblock.training.feasibility import Feasibility
from multiblock.training.losses import LOSSES
from multiblock.training.objective import Loss, VGG16Features
from test_plan import stage
from test_training import task

SHAPES = {}
for number, (inputs, outputs) in zip(
    (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *((512, 512),) * 5),
    strict=True,
):
    SHAPES[f"features.{number}.weight"] = (outputs, inputs, 3, 3)
    SHAPES[f"features.{number}.bias"] = (outputs,)
SHAPES |= {"classifier.6.weight": (10, 10), "classifier.6.bias": (10,)}


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """A file with torchvision's names, and random values."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "vgg16-397923af.pth"
    torch.save({name: torch.randn(shape) * 0.05 for name, shape in SHAPES.items()}, file)
    return file


def images(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def test_the_features_are_those_of_four_groups(vgg16):
    maps = VGG16Features(vgg16)(images(1))
    assert [tuple(one.shape[1:]) for one in maps] == [(64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)]
    assert all((one >= 0).all() for one in maps)


@pytest.mark.parametrize("term", ["l1", "l2", "content", "style", "ssim", "gradient_difference", "frequency"])
def test_equal_images_cost_nothing_and_others_do(term, vgg16):
    loss = Loss(stage(loss={term: 1.0}, vgg16=str(vgg16)))
    assert loss(images(1), images(1)) == pytest.approx(0, abs=1e-6)
    assert loss(images(1), images(2)) > 0


def directly(term: str, one: np.ndarray, two: np.ndarray) -> float:
    """A term by its formula, in float64."""
    match term:
        case "charbonnier":
            return np.mean(np.sqrt((one - two) ** 2 + 1e-3**2))
        case "psnr":
            return 10 * np.mean([np.log10(np.mean((a - b) ** 2) + 1e-8) for a, b in zip(one, two, strict=True)])
        case "gradient_difference":
            sizes = [[np.abs(np.diff(image, axis=axis)) for image in (one, two)] for axis in (2, 3)]
            return sum(np.mean(np.abs(a - b)) for a, b in sizes)
        case "frequency":
            spectra = [np.abs(np.fft.fft2(image))[..., : image.shape[3] // 2 + 1] for image in (one, two)]
            return np.mean(np.abs(spectra[0] - spectra[1])) / np.sqrt(one.shape[2] * one.shape[3])
        case "ssim":
            known = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
            pairs = zip(one.reshape(-1, *one.shape[2:]), two.reshape(-1, *two.shape[2:]), strict=True)
            return 1 - np.mean([structural_similarity(a, b, **known) for a, b in pairs])
    raise KeyError(term)


BY_FORMULA = ["charbonnier", "psnr", "gradient_difference", "frequency", "ssim"]


@pytest.mark.parametrize("term", BY_FORMULA)
@pytest.mark.parametrize("shape", [(2, 3, 24, 24), (1, 3, 11, 17)])
def test_terms_by_their_formulas(term, shape):
    one, two = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    wanted = directly(term, one.double().numpy(), two.double().numpy())
    for layout in (torch.contiguous_format, torch.channels_last):
        made = LOSSES[term].of(one.to(memory_format=layout), two.to(memory_format=layout))
        assert float(made) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("term", LOSSES)
def test_terms_are_float32_under_autocast_and_their_gradient_is_finite_everywhere(term, vgg16):
    loss = Loss(stage(loss={term: 1.0}, vgg16=str(vgg16) if LOSSES[term].on_features else None))
    for other in (images(1), images(2), torch.zeros(2, 3, 24, 24)):
        output, plain = other.clone().requires_grad_(), float(loss(other, images(1)))
        with torch.autocast("cpu", torch.bfloat16):
            made = loss(output, images(1))
        made.backward()
        assert made.dtype == torch.float32 and output.grad.isfinite().all()
        assert made.item() == pytest.approx(plain, rel=0.05 if LOSSES[term].on_features else 1e-6, abs=1e-6)
    flat = torch.full((2, 3, 24, 24), 0.5, requires_grad=True)
    loss(flat, torch.full((2, 3, 24, 24), 0.5)).backward()
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("term", BY_FORMULA)
def test_their_gradients_are_the_slopes_of_their_formulas(term):
    one, two = (torch.rand(1, 3, 12, 13, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    direction = torch.rand(one.shape, generator=torch.Generator().manual_seed(3)) - 0.5
    output = one.clone().requires_grad_()
    LOSSES[term].of(output, two).backward()
    ends = [directly(term, (one.double() + step * direction).numpy(), two.double().numpy()) for step in (1e-6, -1e-6)]
    assert float((output.grad * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-7)


def test_patches_smaller_than_the_window_of_ssim_are_refused_before_training():
    todo = replace(task(), stages=(stage(patch=10, loss={"ssim": 1.0}),))
    with pytest.raises(UserError, match="loss: ssim: found images of 10 x 10 pixels; allowed are at least 11 x 11"):
        Feasibility().check([todo], ["small"], "runs.default.plan")
    Feasibility().check([replace(todo, stages=(stage(patch=11, loss={"ssim": 1.0}),))], ["small"], "runs.default.plan")


def test_total_variation_is_the_outputs_alone():
    loss = Loss(stage(loss={"tv": 1.0}))
    flat = torch.full((1, 3, 8, 8), 0.3)
    stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(1, 3, 8, 8)
    assert loss(flat, stripes) == 0
    assert loss(stripes, flat) == pytest.approx(1.0)


def test_terms_add_up_with_their_weights(vgg16):
    one, two = images(1), images(2)
    alone = {name: float(Loss(stage(loss={name: 1.0}, vgg16=str(vgg16)))(one, two)) for name in ("l1", "content", "tv")}
    mixed = Loss(stage(loss={"l1": 1.0, "content": 0.1, "tv": 2.0}, vgg16=str(vgg16)))
    assert float(mixed(one, two)) == pytest.approx(alone["l1"] + 0.1 * alone["content"] + 2 * alone["tv"])


def test_the_gradient_reaches_the_image_and_not_vgg16(vgg16):
    output = images(1).requires_grad_()
    loss = Loss(stage(loss={"content": 1.0, "style": 1.0}, vgg16=str(vgg16)))
    loss(output, images(2)).backward()
    assert output.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())
