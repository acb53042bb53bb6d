"""Weights under the authors' names: theirs become ours with nothing left over, and ours theirs, to the last bit."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import published as facts
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.export import authors, card
from multiblock.model import chain as chains
from multiblock.model import published, state_dict
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.networks.family import rename
from multiblock.plan import Block

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
LARGE = {"drln": "drln_x2", "rcan": "rcan_x4"}
"""Of 15 and 35 million parameters; other scales of them are among the cases."""

CASES = [
    (key, NETWORKS[match[1]], int(match[2] or 2))
    for key in facts.PUBLISHED
    if key not in ("drln_x4", "rcan_x2", *LARGE.values()) and (match := re.match(r"(.*?)(?:_x(\d).*)?$", key))
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
    chain, form = published.import_weights(tmp_path / "w.pth", network, {"scale": scale})
    kept = sorted(float(value.double().sum()) for value in chain.blocks["1"].state_dict().values() if value.any())
    used = [name for name in given if rename(name.removeprefix("module."), form, scale)]
    assert len(used) == len(kept)
    assert kept == pytest.approx(sorted(float(given[name].double().sum()) for name in used))


def test_the_multi_scale_file_serves_every_scale(tmp_path):
    torch.save(values("carn"), tmp_path / "carn.pth")
    for scale in (2, 3, 4):
        chain, _ = published.import_weights(tmp_path / "carn.pth", "carn", {"scale": scale})
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
        published.import_weights(tmp_path / "w.pth", "imdn", {"scale": 3})
    assert str(tmp_path / "w.pth") in str(error.value)


@pytest.mark.parametrize(
    ("key", "network", "scale", "says"),
    [
        ("carn_m", "carn", 2, "it is carn_m x2 or x3 or x4; import it with --as carn_m --scale 2"),
        ("carn_m_x3", "carn", 3, "it is carn_m x3; import it with --as carn_m --scale 3"),
        (
            "imdn_rtc_x2",
            "imdn_rtc",
            3,
            "is not imdn_rtc x3 as Zheng222/IMDN, IMDN_RTC publishes it: it is imdn_rtc x2;",
        ),
        ("pan_x3", "pan", 4, "it is pan x2 or x3;"),
        ("imdn_x3", "srresnet", 4, "it is imdn x3;"),
    ],
)
def test_another_known_network_or_scale_is_recognised(key, network, scale, says, tmp_path):
    torch.save(values(key), tmp_path / "w.pth")
    with pytest.raises(UserError, match=re.escape(says)):
        published.import_weights(tmp_path / "w.pth", network, {"scale": scale})


@pytest.mark.parametrize("content", [{}, {"state_dict": {"a": 1}}, [1, 2]])
def test_a_file_without_weights(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth: holds no weights"):
        published.import_weights(tmp_path / "w.pth", "imdn", {})


# -- The way back ------------------------------------------------------------------------------------------------------

KEYS = {
    "imdn": "imdn_x3",
    "imdn_rtc": "imdn_rtc_x2",
    "pan": "pan_x4",
    "carn": "carn_x2",
    "carn_m": "carn_m_x3",
    "drln_distilled": "drln_dw_x3",
    "sa_rcan_1": "sa_rcan_pairs_x2",
    "sa_rcan_2": "sa_rcan_inside_x4",
    "srresnet": "srresnet_x4_sgrvinod",
    "srresnet, another form": "srresnet_x4_lornatang",
}


def imported(key: str, tmp_path: Path) -> tuple[Chain, dict[str, torch.Tensor]]:
    """A chain of a published file whose values all differ, and what the file holds."""
    given = values(key)
    torch.save(given, tmp_path / "w.pth")
    network = next(name for name in sorted(NETWORKS, key=len, reverse=True) if key.startswith(name))
    scale = next((int(part[1]) for part in key.split("_") if part[0] == "x" and part[1:].isdigit()), 2)
    chain, _ = published.import_weights(tmp_path / "w.pth", NETWORKS[network], {"scale": scale})
    return chain, {name.removeprefix(facts.PREFIXES.get(key, "")): value for name, value in given.items()}


@pytest.mark.parametrize(
    "key", [*KEYS.values(), *(pytest.param(key, marks=pytest.mark.slow, id=key) for key in LARGE.values())]
)  # the large ones: 15 and 35 million parameters
def test_what_was_imported_is_written_as_it_was(key, tmp_path):
    chain, given = imported(key, tmp_path)
    made = authors.to_authors(chain, tmp_path / "w.pth")
    # Layers that the authors' network holds and never runs have their shape, and are empty.
    assert set(made.filled) == (facts.drln_dw_dead() if key == "drln_dw_x3" else set())
    assert {name: value.shape for name, value in made.tensors.items()} == {k: v.shape for k, v in given.items()}
    for name, value in made.tensors.items():
        assert not value.any() if name in made.filled else torch.equal(value, given[name]), name


@pytest.mark.parametrize("key", ["carn", "carn_m"])
def test_of_a_file_of_all_scales_one_is_written(key, tmp_path):
    chain, given = imported(key, tmp_path)
    made = authors.to_authors(chain, tmp_path / "w.pth").tensors
    assert {name: value.shape for name, value in made.items()} == facts.PUBLISHED[f"{key}_x2"]()
    for name, value in made.items():
        assert torch.equal(value, given[name.replace("upsample.up.", "upsample.up2.")])


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_the_command_writes_what_import_reads(ending, tmp_path, capsys):
    torch.manual_seed(0)
    Chain.build([zoo.sample("carn", scale=3)], [True]).save(tmp_path / "ours.safetensors")
    out = tmp_path / f"theirs.{ending}"
    assert main(["export", str(tmp_path / "ours.safetensors"), "--form", "authors", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: block 1, carn x3" in said and "nmhkahn/CARN-pytorch" in said
    found = load_file(out) if ending == "safetensors" else torch.load(out, weights_only=True)
    assert set(found) == set(facts.PUBLISHED["carn_x3"]())
    assert main(["import", str(out), "--as", "carn", "--scale", "3", "-o", str(tmp_path / "again.safetensors")]) == 0
    assert "programs that know that network load it" in out.with_suffix(".md").read_text()
    again, ours = load_file(tmp_path / "again.safetensors"), load_file(tmp_path / "ours.safetensors")
    assert again.keys() == ours.keys() and all(torch.equal(again[name], ours[name]) for name in ours)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (zoo.sample("sa_rcan_2"), "This one is sa_rcan_2 of the SR-ResUNet study"),
        (zoo.sample("imdn", channels=16), "This one is imdn with options of its own"),
    ],
)
def test_the_card_of_a_network_that_no_other_program_knows_says_so(block, says):
    text = card.use_of_authors("someone/code", block)
    assert says in text and "programs that know the published networks alone do not load it" in text


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (zoo.sample("mcan", channels=4, residual_blocks=1), "the authors of mcan have published no weights"),
        (zoo.sample("carn", slope=0.1, channels=8), "slope is 0.1, and 0.0 in the authors' code"),
        (zoo.sample("carn", dilations=[1, 2, 1], channels=8), "dilations is (1, 2, 1), and (1,) in the authors' code"),
        (zoo.sample("carn", mean_shift=False, channels=8), "mean_shift is False, and True in the authors' code"),
        (zoo.sample("drln_lite1"), "as_coded is False, and True in the authors' code"),
        (zoo.sample("imdn", passes=2, channels=8), "passes is 2, and 1 in the authors' code"),
        (zoo.sample("pan_split", channels=8), "split is True, and False in the authors' code"),
        (
            zoo.sample("rcan", channels=16, groups=2, blocks=1, self_attention="in_blocks"),
            "it has no name for body.0.0.layers.4.theta",
        ),
        (zoo.sample("sa_rcan_3", channels=16, groups=2, blocks=1), "pool is True, and False in the authors' code"),
        (zoo.sample("srresnet", channels=8, blocks=1), "is not zero, and the authors' network has no such parameter"),
    ],
    ids=lambda value: value.network if isinstance(value, Block) else None,
)
def test_what_the_authors_names_cannot_say_is_refused(block, says, tmp_path, capsys):
    Chain.build([block], [True]).save(tmp_path / "w.safetensors")
    out = tmp_path / "out.pth"
    assert main(["export", str(tmp_path / "w.safetensors"), "--form", "authors", "-o", str(out)]) == 1
    assert says in capsys.readouterr().err and not out.exists()


def test_of_several_blocks_one_has_to_be_named(tmp_path, capsys):
    small = Block(network="mcan", options={"channels": 4, "residual_blocks": 1})
    first = zoo.sample("pan", scale=2, channels=8, blocks=1, up_channels=4)
    Chain.build([first, small], [True, True]).save(tmp_path / "w.safetensors")
    command = ["export", str(tmp_path / "w.safetensors"), "--form", "authors", "-o", str(tmp_path / "pan.pth")]
    assert main(command) == 1
    assert "holds blocks 1 (pan), 2 (mcan); authors know single networks, so --block" in capsys.readouterr().err
    assert main([*command, "--block", "3"]) == 1
    assert "holds blocks 1 to 2, and no block 3" in capsys.readouterr().err
    assert main([*command, "--block", "1"]) == 0
    found, ours = state_dict.read(tmp_path / "pan.pth"), chains.load(tmp_path / "w.safetensors").blocks["1"]
    assert torch.equal(found["conv_first.weight"], ours.head.weight)


@pytest.mark.parametrize(
    ("file", "network", "scale"), [("IMDN_x3.pth", "imdn", 3), ("PANx4_DF2K.pth", "pan", 4)], ids=["imdn", "pan"]
)
def test_published_files_come_back(file, network, scale, reference_data):
    source = reference_data.parent / "weights" / file
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    chain, _ = published.import_weights(source, network, {"scale": scale})
    made, given = authors.to_authors(chain, source).tensors, state_dict.read(source)
    assert made.keys() == given.keys() and all(torch.equal(made[name], given[name]) for name in given)
