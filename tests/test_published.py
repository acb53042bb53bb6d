"""Weights as their authors publish them load into our networks: every name, and nothing left over."""

import re

import pytest
import torch

import published as facts
from multiblock.errors import UserError
from multiblock.export import authors

NETWORKS = {
    "imdn": "imdn",
    "imdn_rtc": "imdn_rtc",
    "pan": "pan",
    "carn": "carn",
    "carn_m": "carn_m",
    "drln": "drln",
    "drln_dw": "drln_distilled",
    "rcan": "rcan",
    "sa_rcan_pairs": "sa_rcan_1",
    "sa_rcan_inside": "sa_rcan_2",
    "srresnet": "srresnet",
}
CASES = [
    (key, NETWORKS[match[1]], int(match[2] or 2))
    for key in facts.PUBLISHED
    if (match := re.match(r"(.*?)(?:_x(\d).*)?$", key))
]


def values(key: str) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes that are published, and values that differ from one another."""
    torch.manual_seed(0)
    shapes = facts.PUBLISHED[key]()
    # A shape without sides is a count of batches.
    return {
        facts.PREFIXES.get(key, "") + name: torch.rand(shape) if shape else torch.tensor(7)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(("key", "network", "scale"), CASES)
def test_every_name_has_its_place(key, network, scale, tmp_path):
    given = values(key)
    torch.save({facts.NESTED[key]: given} if key in facts.NESTED else given, tmp_path / "w.pth")
    chain, form = authors.import_weights(tmp_path / "w.pth", network, {"scale": scale})
    kept = sorted(float(value.double().sum()) for value in chain.blocks["1"].state_dict().values() if value.any())
    used = [name for name in given if authors.rename(name.removeprefix("module."), form, scale)]
    assert len(used) == len(kept)
    assert kept == pytest.approx(sorted(float(given[name].double().sum()) for name in used))


def test_the_multi_scale_file_serves_every_scale(tmp_path):
    torch.save(values("carn"), tmp_path / "carn.pth")
    for scale in (2, 3, 4):
        chain, _ = authors.import_weights(tmp_path / "carn.pth", "carn", {"scale": scale})
        assert chain(torch.rand(1, 3, 8, 9)).shape == (1, 3, 8 * scale, 9 * scale)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("fea_conv.weight"), "nothing for head.weight"),
        (lambda w: w.update({"extra.weight": torch.zeros(1)}), "it has extra.weight, which has no place here"),
        (lambda w: w.update({"c.0.bias": torch.zeros(3)}), "join.0.bias is (3,) there, and (64,) here"),
    ],
)
def test_what_does_not_fit_is_named(change, says, tmp_path):
    given = {name.removeprefix("module."): value for name, value in values("imdn_x3").items()}
    change(given)
    torch.save(given, tmp_path / "w.pth")
    with pytest.raises(UserError, match=re.escape(says)) as error:
        authors.import_weights(tmp_path / "w.pth", "imdn", {"scale": 3})
    assert str(tmp_path / "w.pth") in str(error.value)


def test_another_scale_does_not_fit(tmp_path):
    torch.save(values("imdn_x3"), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"is not imdn x2 as Zheng222/IMDN, IMDN publishes it: upsampler.0.weight is"):
        authors.import_weights(tmp_path / "w.pth", "imdn", {"scale": 2})


def test_a_pickle_with_code_is_refused(tmp_path):
    torch.save({"model": torch.nn.Conv2d(3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        authors.import_weights(tmp_path / "w.pth", "imdn", {})


@pytest.mark.parametrize("content", [{}, {"state_dict": {"a": 1}}, [1, 2]])
def test_a_file_without_weights(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth: holds no weights"):
        authors.import_weights(tmp_path / "w.pth", "imdn", {})
