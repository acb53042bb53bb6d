"""What a weights file says of itself, and what is made of it: input, provenance, code, starts."""

import json
import logging
import re
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from conftest import picture
from multiblock import config
from multiblock.cli import main
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.model import chain, metadata
from multiblock.model.chain import Chain
from multiblock.model.metadata import BICUBIC, VALIDATION_PSNR, Provenance
from multiblock.plan import Block
from multiblock.training.starts import starting_chain
from test_plan import plan

TOY = Block(network="toy", options={"depth": 2, "channels": 4})
IMDN = Block(network="imdn", options={"channels": 8, "modules": 1, "reduction": 4, "scale": 2})
KNOWN = Provenance(
    enlarge=2,
    data="mine",
    scale=2,
    degradation="bicubic",
    plan=("1", "1-2"),
    phase=2,
    seed=3,
    iterations=40,
    psnr=31.25,
    psnr_convention=VALIDATION_PSNR,
    commit="abc-dirty",
)
OWN = """
from torch import nn
from parts import conv
class MyBlock(nn.Module):
    output_layer, receptive_field = "last", 3
    def __init__(self, *, slope: float = 0.1) -> None:
        super().__init__()
        self.last, self.slope = conv(), slope
    def forward(self, x):
        return x + self.slope * self.last(x)
"""
PARTS = "from torch import nn\ndef conv():\n    return nn.Conv2d(3, 3, 3, padding=1)\n"


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "w.safetensors"


def old(file, **changes):
    """The file as an older version wrote it: without input, code, provenance."""
    with safe_open(file, "np") as opened:
        kept = json.loads(opened.metadata()["chain"])
    kept = {key: value for key, value in kept.items() if key not in ("input", "code", "about")} | changes
    save_file(load_file(file), file, metadata={"chain": json.dumps(kept)})


def own(folder, text=OWN, parts=PARTS):
    folder.mkdir(exist_ok=True)
    (folder / "my_block.py").write_text(text)
    (folder / "parts.py").write_text(parts)
    return folder / "my_block.py"


class TestWhatItSays:
    """The metadata go there and back."""

    def test_all_of_it_comes_back(self, weights):
        Chain.build([TOY, TOY], [False, True]).save(weights, about=KNOWN)
        known = metadata.read(weights)
        assert known.about == KNOWN == chain.load(weights).about
        assert (known.blocks, known.clamped, known.first) == ((TOY, TOY), (False, True), 1)
        assert all(known.code) and known.code[0] == known.code[1]
        with safe_open(weights, "np") as opened:
            kept = json.loads(opened.metadata()["chain"])
        assert kept["input"] == {"form": "LR enlarged", "enlarge": 2, "by": BICUBIC}

    def test_a_file_that_is_saved_again_keeps_it(self, weights, tmp_path):
        Chain.build([TOY, TOY], [False, True]).save(weights, about=KNOWN)
        chain.load(weights).save(tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()

    def test_the_bytes_do_not_depend_on_the_order_of_options(self, tmp_path):
        options = {"depth": 2, "channels": 4}
        for name, given in (("a", options), ("b", dict(reversed(options.items())))):
            torch.manual_seed(0)
            Chain.build([Block(network="toy", options=given)], [True]).save(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_a_part_that_begins_later_takes_another_input(self):
        made = Chain.build([TOY, TOY], [True, True])
        made.about = KNOWN
        assert made.part(2, 2).about == replace(KNOWN, enlarge=None) and made.part(1, 1).about == KNOWN

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"enlarge": 0}, "enlarge: found 0"),
            ({"seed": "one"}, "seed: found 'one'"),
            ({"psnr": float("nan")}, "psnr: found nan"),
            ({"psnr_convention": None}, "a figure and its convention go together"),
            ({"plan": [1]}, "plan: found"),
        ],
    )
    def test_it_checks_itself(self, changes, says):
        with pytest.raises(ValueError, match=says):
            replace(KNOWN, **changes)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"input": {"form": "LR enlarged", "enlarge": 2, "by": "lanczos"}}, "which this version cannot make"),
            ({"input": {"form": "LR enlarged", "enlarge": -2, "by": BICUBIC}}, "enlarge: found -2"),
            ({"input": "LR"}, "is damaged"),
            ({"code": []}, "1 blocks and 0 digests of code"),
            ({"about": {"phase": "two"}}, "phase: found 'two'"),
            ({"about": 7}, "is damaged"),
            ({"first": 0}, "begins with block 0"),
        ],
    )
    def test_what_is_damaged_is_named(self, changes, says, weights):
        Chain.build([TOY], [True]).save(weights)
        old(weights, **changes)
        with pytest.raises(UserError, match=says) as error:
            metadata.read(weights)
        assert str(weights) in str(error.value)

    def test_the_digest_of_weights_is_of_the_network_alone(self, weights):
        made = Chain.build([TOY], [True])
        made.save(weights)
        before = metadata.digest_of_weights(weights)
        made.save(weights, about=replace(KNOWN, enlarge=1))
        assert metadata.digest_of_weights(weights) == before
        made.clamped = [False]
        made.save(weights)
        assert metadata.digest_of_weights(weights) != before
        made.clamped = [True]
        next(made.parameters()).data.view(-1)[0] += 1
        made.save(weights)
        assert metadata.digest_of_weights(weights) != before


class TestInput:
    """``upscale`` and ``evaluate`` do with LR what the file says, and ask where it does not."""

    @pytest.fixture
    def run(self, tmp_path, capsys):
        images.write(tmp_path / "a.png", picture(24, 28))

        def upscale(weights, *arguments):
            out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
            done = main(
                ["upscale", str(weights), str(tmp_path / "a.png"), "-o", str(out), "--device", "cpu", *arguments]
            )
            return done, capsys.readouterr().err, images.read(out / "a.png") if done == 0 else None

        return upscale

    def test_a_chain_on_enlarged_lr_gets_it(self, weights, run):
        Chain.build([TOY], [True]).save(weights, about=KNOWN)
        done, _, result = run(weights)
        assert done == 0 and result.shape == (48, 56, 3)
        assert (run(weights, "--enlarge", "2")[2] == result).all()
        for other in ("1", "3"):
            done, said, _ = run(weights, "--enlarge", other)
            assert done == 1 and f"--enlarge: found {other}; {weights} takes LR enlarged x2" in said

    def test_one_on_lr_as_it_is_gets_that(self, weights, run):
        Chain.build([TOY], [True]).save(weights, about=Provenance(enlarge=1))
        assert run(weights)[2].shape == (24, 28, 3)
        assert "takes LR as it is" in run(weights, "--enlarge", "2")[1]

    def test_a_network_that_enlarges_takes_lr_as_it_is(self, weights, run):
        Chain.build([IMDN], [True]).save(weights)
        old(weights)
        assert run(weights)[2].shape == (48, 56, 3)
        assert "takes LR as it is" in run(weights, "--enlarge", "2")[1]

    def test_an_old_file_is_asked_about(self, weights, run):
        Chain.build([TOY], [True]).save(weights)
        old(weights)
        done, said, _ = run(weights)
        assert done == 1 and "does not say whether it takes LR as it is or enlarged; --enlarge" in said
        assert run(weights, "--enlarge", "2")[2].shape == (48, 56, 3)
        assert run(weights, "--enlarge", "1")[2].shape == (24, 28, 3)

    def test_one_that_no_phase_has_trained_takes_what_it_is_given(self, weights, run):
        Chain.build([TOY], [True]).save(weights)
        assert run(weights)[2].shape == (24, 28, 3)
        assert run(weights, "--enlarge", "2")[2].shape == (48, 56, 3)
        chain.load(weights).save(weights)
        assert metadata.read(weights).about == Provenance()

    def test_an_old_file_that_is_saved_again_is_still_asked_about(self, weights, run):
        Chain.build([TOY], [True]).save(weights)
        old(weights)
        chain.load(weights).save(weights)
        assert run(weights)[0] == 1

    @pytest.mark.parametrize(
        ("about", "arguments", "border"),
        [
            (KNOWN, [], 2),
            (KNOWN, ["--scale", "2"], 2),
            (None, ["--scale", "2", "--enlarge", "2"], 2),
            (KNOWN, ["--scale", "3"], "--scale: found 3"),
            (Provenance(stated=False), ["--scale", "2"], "--enlarge 1, 2, 3 or 4 is needed"),
            (Provenance(stated=False), ["--scale", "2", "--enlarge", "2"], 2),
            (None, ["--scale", "2"], 2),
            (None, ["--scale", "2", "--enlarge", "1"], "--scale: found 2"),
            (None, [], "--lr: is missing"),
            (KNOWN, ["--enlarge", "4"], "--enlarge: found 4"),
        ],
    )
    def test_evaluate_too(self, about, arguments, border, weights, tmp_path, capsys):
        Chain.build([TOY], [True]).save(weights, about=about)
        (tmp_path / "hr").mkdir()
        images.write(tmp_path / "hr/a.png", picture())
        done = main(["evaluate", str(weights), "--hr", str(tmp_path / "hr"), "--device", "cpu", *arguments])
        said = capsys.readouterr()
        if isinstance(border, int):
            assert done == 0 and f"border {border}" in said.out
        else:
            assert done == 1 and border in said.err


class TestCode:
    """A block of one's own runs where it is trusted, and as it was."""

    def test_nothing_runs_that_is_not_trusted(self, weights, tmp_path):
        file = own(tmp_path / "one")
        Chain.build([Block(network=str(file))], [True]).save(weights)
        trace = tmp_path / "ran"
        file.write_text(f"open({str(trace)!r}, 'w')\n" + OWN)
        for trusted in ([], [tmp_path / "one/parts.py"]):
            with pytest.raises(UserError, match=r"names the code of .*my_block\.py, which runs only if it is trusted"):
                chain.load(weights, trusted)
        assert metadata.read(weights).blocks[0].network == str(file)
        assert not trace.exists()

    def test_it_loads_from_another_folder(self, weights, tmp_path):
        made = Chain.build([Block(network=str(own(tmp_path / "one")), options={"slope": 0.5})], [True])
        made.save(weights)
        moved = own(tmp_path / "two")
        again = chain.load(weights, [moved])
        image = torch.rand(1, 3, 6, 7)
        assert torch.equal(made(image), again(image)) and again.specs[0].network == str(moved)

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            (OWN.replace("x + self", "x - self"), PARTS),
            (OWN.replace("slope: float = 0.1", "slope: float = 0.9"), PARTS),
            (OWN, PARTS.replace("padding=1", "padding=1, padding_mode='reflect'")),
        ],
    )
    def test_other_code_of_that_name_is_refused(self, text, parts, weights, tmp_path):
        Chain.build([Block(network=str(own(tmp_path / "one")))], [True]).save(weights)
        other = own(tmp_path / "two", text, parts)
        with pytest.raises(UserError, match=r"was trained with another version of my_block\.py than .*two"):
            chain.load(weights, [other])
        assert chain.load(weights, [other, tmp_path / "one/my_block.py"]).parameters_count  # the right one is found

    def test_the_code_is_that_which_was_built_not_that_which_lies_there_later(self, weights, tmp_path):
        file = own(tmp_path / "one")
        made = Chain.build([Block(network=str(file))], [True])
        file.write_text(OWN.replace("x + self", "x - self"))  # edited while it trains
        made.save(weights)
        with pytest.raises(UserError, match="another version"):
            chain.load(weights, [file])

    def test_an_old_file_does_not_say(self, weights, tmp_path, caplog):
        file = own(tmp_path / "one")
        Chain.build([Block(network=str(file))], [True]).save(weights)
        old(weights)
        chain.load(weights, [file])
        assert "does not say which version of my_block.py" in caplog.text

    def test_another_version_of_a_built_in_network_is_said(self, weights, caplog):
        Chain.build([TOY], [True]).save(weights)
        chain.load(weights)
        assert not caplog.records
        old(weights, code=["0" * 32])
        chain.load(weights)
        assert "was trained with another version of toy than this" in caplog.text

    def test_the_command_asks_for_trust(self, weights, tmp_path, capsys):
        Chain.build([Block(network=str(own(tmp_path / "one")))], [True]).save(weights, about=KNOWN)
        images.write(tmp_path / "a.png", picture())
        command = ["upscale", str(weights), str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--device", "cpu"]
        assert main(command) == 1 and "--trust-code my_block.py" in capsys.readouterr().err
        assert main([*command, "--trust-code", str(own(tmp_path / "two"))]) == 0

    def test_a_network_of_ones_own_is_explained(self, tmp_path, capsys):
        file = own(tmp_path / "one", OWN.replace("nn.Module):\n", 'nn.Module):\n    """Adds a little."""\n'))
        assert main(["models", str(file)]) == 0
        said = capsys.readouterr().out
        assert "Adds a little." in said and "84 parameters" in said and "slope: float = 0.1" in said
        own(tmp_path / "one", OWN.replace("slope: float = 0.1", "slope: float"))
        assert main(["models", str(file)]) == 0
        said = capsys.readouterr().out
        assert "not counted, as slope must be given" in said and "slope: float = needed" in said
        own(tmp_path / "one", OWN.replace("self.last(x)", "self.nothing(x)"))
        assert main(["models", str(file)]) == 1
        assert "cannot be run on 256 x 256 pixels: AttributeError" in capsys.readouterr().err

    def test_a_file_of_weights_is_explained(self, weights, capsys):
        Chain.build([TOY], [True]).save(weights, about=KNOWN)
        assert main(["models", str(weights)]) == 0
        said = capsys.readouterr().out
        assert "block 1: toy channels=4, depth=2, clamped" in said and "enlarge: 2" in said and "plan: 1, 1-2" in said
        assert "stated" not in said
        Chain.build([TOY], [True]).save(weights, about=Provenance(stated=False))
        assert main(["models", str(weights)]) == 0
        assert "enlarge: not stated; upscale, evaluate and export ask for --enlarge" in capsys.readouterr().out


class TestNotFinite:
    """Weights that are no numbers are refused, by name."""

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_loading(self, value, weights):
        made = Chain.build([TOY, TOY], [True, True])
        made.blocks["2"].to_rgb.bias.data[1] = value
        made.save(weights)
        with pytest.raises(UserError, match=r"w\.safetensors: 2\.to_rgb\.bias holds 1 of 3 values that are not finite"):
            chain.load(weights)

    def test_a_block_that_is_not_taken_does_not_matter(self, weights):
        made = Chain.build([TOY, TOY], [True, True])
        made.blocks["2"].to_rgb.bias.data[1] = float("nan")
        made.save(weights)
        only = chain.load(weights, only=1)
        assert (only.first, len(only.specs)) == (1, 1)


class TestStart:
    """A block that starts from a file takes the file's block of its number, or the one that is named."""

    SMALL = Block(network="mcan", options={"channels": 4, "residual_blocks": 1})

    def start(self, spec, number, start):
        task = plan(["1", "2", "3"]).task(number, seed=1)
        blocks = tuple(spec for _ in range(number))
        starts = (*["default"] * (number - 1), start)
        return starting_chain(replace(task, blocks=blocks, starts=starts), {}).blocks[str(number)].state_dict()

    @pytest.mark.parametrize(("number", "named", "taken"), [(2, "", 2), (3, "", 3), (2, "#1", 1), (1, "#3", 3)])
    def test_it_takes_the_right_block(self, number, named, taken, weights):
        source = Chain.build([self.SMALL] * 3, [True] * 3)
        source.save(weights)
        given = self.start(self.SMALL, number, f"{weights}{named}")
        wanted = source.blocks[str(taken)].state_dict()
        assert all(torch.equal(given[name], wanted[name]) for name in wanted)

    def test_a_chain_that_begins_later(self, weights):
        source = Chain.build([self.SMALL] * 2, [True] * 2, first=2)
        source.save(weights)
        given = self.start(self.SMALL, 3, str(weights))
        assert torch.equal(given["head.weight"], source.blocks["3"].head.weight)
        with pytest.raises(UserError, match="holds blocks 2 to 3, and no block 1"):
            self.start(self.SMALL, 1, str(weights))

    def study(self, tmp_path, start, block=None, **stage):
        keys = {"name": "mine", "scale": 2, "train": {"hr": str(tmp_path)}, "test": {"hr": str(tmp_path)}}
        stages = [{"iterations": 5, "batch": 1, "patch": 16, **stage}]
        phases = [{"span": 1, "stages": stages}, {"span": 2, "start": start, "stages": stages}]
        if block == 1:
            phases = [{"span": 1, "start": start, "stages": stages}]
        blocks = {"b": {"network": "toy", "depth": 2, "channels": 4}}
        runs = {"r": {"chain": ["b"] * len(phases), "plan": phases}}
        return config.load({"data": keys, "blocks": blocks, "runs": runs})

    @pytest.mark.parametrize(
        ("blocks", "start", "says"),
        [
            ([TOY], "", "holds block 1, and no block 2"),
            ([TOY, TOY], "#3", "holds blocks 1 to 2, and no block 3"),
            ([TOY, Block(network="mcan")], "", "holds a block whose network is mcan; the phase's block has toy"),
            ([TOY, Block(network="toy", options={"depth": 3})], "", "holds a block whose channels is 64"),
            ([TOY, TOY], "#0", "allowed are"),
            ([TOY, TOY], "#x", "allowed are"),
        ],
    )
    def test_what_does_not_fit_is_an_error_when_the_config_is_read(self, blocks, start, says, weights, tmp_path):
        Chain.build(blocks, [True] * len(blocks)).save(weights)
        with pytest.raises(UserError, match=re.escape("runs.r.plan, phase 2, start: ") + f".*{says}"):
            self.study(tmp_path, f"{weights}{start}")

    def test_what_fits_is_a_file_that_training_depends_on(self, weights, tmp_path):
        Chain.build([TOY, TOY], [True, True]).save(weights)
        for start in ("", "#1", "#2"):
            task = self.study(tmp_path, f"{weights}{start}").runs["r"].plan.task(2, 1)
            assert task.files == (str(weights),)

    def test_weights_for_another_input_are_said_and_refused_untrained(self, weights, tmp_path, caplog):
        Chain.build([TOY], [True]).save(weights, about=KNOWN)
        with caplog.at_level(logging.WARNING):
            self.study(tmp_path, str(weights), block=1)
            assert not caplog.records
            Chain.build([TOY], [True]).save(weights, about=Provenance(enlarge=1))
            self.study(tmp_path, str(weights), block=1)
        assert "takes LR as it is, and the run gives it LR enlarged x2" in caplog.text
        with pytest.raises(
            UserError, match=r"runs\.r\.plan, phase 1, start: .*without training, the input it was trained on"
        ):
            self.study(tmp_path, str(weights), block=1, iterations=0)

    def test_a_block_of_ones_own_must_have_the_code_it_had(self, weights, tmp_path):
        file, other = own(tmp_path / "one"), own(tmp_path / "two", OWN.replace("x + self", "x - self"))
        Chain.build([Block(network=str(file))], [True]).save(weights)
        moved = own(tmp_path / "three")
        assert self.start(Block(network=str(moved)), 1, str(weights))
        with pytest.raises(UserError, match=r"was trained with another version of .*one/my_block\.py than .*two"):
            self.start(Block(network=str(other)), 1, str(weights))
