"""Trained networks in scripts and notebooks: multiblock.load, for arrays, Pillow images and tensors."""

import subprocess
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import multiblock
from conftest import icc_profile, picture
from multiblock.cli import main
from multiblock.data import resize
from multiblock.errors import UserError
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.model.metadata import VALIDATION_PSNR, Provenance
from multiblock.plan import Block
from test_inference import ensemble_by_hand
from test_upscale import save, tagged

TINY = Block(network="mcan", options={"channels": 4, "residual_blocks": 1})
PIXELS = picture(40, 52, seed=3)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of three phases on LR as it is, the last one joint."""
    torch.manual_seed(0)
    for number, blocks, spans in ((1, 1, ("1",)), (2, 2, ("1", "2")), (3, 2, ("1", "2", "1-2"))):
        chain = Chain.build([TINY] * blocks, [True] * blocks)
        known = {"enlarge": 1, "data": "mine", "scale": 1, "plan": spans, "phase": number, "seed": 1}
        about = Provenance(**known, psnr=30.0 + number, psnr_convention=VALIDATION_PSNR)
        chain.save(tmp_path / f"results/mine/seed1/phase{number}/weights.safetensors", about=about)
    return tmp_path / "results/mine"


@pytest.fixture
def copying(tmp_path: Path) -> multiblock.Network:
    """A network that copies what it is given, which is the picture enlarged twice."""
    chain = Chain.build([Block(network="toy", options={"depth": 2})], [True])
    for parameter in chain.parameters():
        parameter.data.zero_()
    chain.save(tmp_path / "w.safetensors", about=Provenance(enlarge=2))
    return multiblock.load(tmp_path / "w.safetensors", device="cpu")


def by_hand(run: Path, x: torch.Tensor, phase: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        return chains.load(run / f"seed1/phase{phase}/weights.safetensors")(x)


def tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class TestTensors:
    """(N, 3, H, W), floats in [0, 1]."""

    def test_it_is_what_the_network_makes(self, run):
        x = tensor(PIXELS, PIXELS[::-1].copy())
        made = multiblock.load(run, device="cpu").upscale(x)
        assert (made.dtype, made.shape, made.device) == (torch.float32, (2, 3, 40, 52), x.device)
        assert torch.allclose(made, by_hand(run, x), atol=1e-6)
        assert made.is_contiguous() and not made.requires_grad

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_floats_come_back_as_such(self, run, dtype):
        x = tensor(PIXELS).to(dtype).requires_grad_()
        made = multiblock.load(run, device="cpu").upscale(x)
        assert made.dtype == dtype
        assert torch.allclose(made.float(), by_hand(run, x.detach().float()), atol=0.01)

    @pytest.mark.parametrize(
        ("x", "says"),
        [
            (torch.zeros(3, 8, 8), r"found a tensor of shape \(3, 8, 8\); allowed is \(N, 3, H, W\); one image"),
            (torch.zeros(1, 1, 8, 8), r"shape \(1, 1, 8, 8\); allowed is \(N, 3, H, W\)"),
            (torch.zeros(1, 8, 8, 3), r"shape \(1, 8, 8, 3\)"),
            (torch.zeros(0, 3, 8, 8), "found a tensor of no images"),
            (torch.zeros(1, 3, 0, 8), "found an image of 8 x 0 pixels"),
            (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"a tensor of torch.uint8; allowed are floats in"),
            (torch.full((1, 3, 8, 8), 255.0), "found floats from 255 to 255; allowed are 0 to 1; .* divided by 255"),
            (torch.full((1, 3, 8, 8), -0.1), "found floats from -0.1 to -0.1; allowed are 0 to 1$"),
            (torch.full((1, 3, 8, 8), torch.nan), "found floats from nan to nan"),
            (torch.full((1, 3, 8, 8), torch.inf), "found floats from inf to inf"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, run, x, says):
        with pytest.raises(UserError, match=says):
            multiblock.load(run, device="cpu").upscale(x)

    def test_what_rounding_leaves_beyond_the_range_is_cut(self, run):
        x = tensor(PIXELS).clone()
        x[0, 0, 0, 0] = 1 + 2e-7
        assert multiblock.load(run, device="cpu").upscale(x).max() <= 1


class TestArrays:
    """(H, W, 3) or (H, W): uint8, uint16, floats."""

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
    def test_each_type_comes_back_as_it_was(self, copying, dtype):
        white = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
        deep = PIXELS.astype(np.uint16) * 257
        given = PIXELS if dtype == np.uint8 else deep if dtype == np.uint16 else (deep / 65535).astype(dtype)
        made = copying.upscale(given)
        assert (made.dtype, made.shape) == (dtype, (80, 104, 3))
        expected = resize.enlarge(PIXELS, 2) / 255
        assert np.abs(made / white - expected).max() < (1e-6 if dtype == np.uint8 else 0.006)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_gray_stays_gray(self, copying, dtype):
        gray = PIXELS[..., 0].astype(dtype) if dtype != np.float32 else PIXELS[..., 0] / np.float32(255)
        made = copying.upscale(gray)
        assert (made.dtype, made.shape) == (dtype, (80, 104))

    def test_views_and_arrays_that_may_not_be_written(self, copying):
        given = PIXELS[::-1, ::2]
        given.flags.writeable = False
        assert np.array_equal(copying.upscale(given), resize.enlarge(np.ascontiguousarray(given), 2))

    def test_other_byte_orders_and_subclasses(self, copying):
        deep = PIXELS.astype(np.uint16) * 257
        made = copying.upscale(deep.astype(">u2"))
        assert made.dtype == ">u2" and np.array_equal(made, copying.upscale(deep))
        gray = copying.upscale(PIXELS[..., 0].view(np.matrix))
        assert type(gray) is np.ndarray and np.array_equal(gray, copying.upscale(PIXELS[..., 0]))

    def test_what_is_given_stays_as_it_was(self, copying):
        for given in (PIXELS.copy(), (PIXELS / 255).astype(np.float32)):
            before = given.copy()
            copying.upscale(given, ensemble=True)
            assert np.array_equal(given, before)

    @pytest.mark.parametrize(
        ("array", "says"),
        [
            (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\); allowed are \(H, W, 3\), or .* leave alpha"),
            (np.zeros((3, 8, 8), np.uint8), "channels come last"),
            (np.zeros((8, 8, 1), np.uint8), r"as image\[..., 0\]"),
            (np.zeros((2, 8, 8, 3), np.uint8), "given one by one"),
            (np.zeros(8, np.uint8), r"shape \(8\)"),
            (np.zeros((0, 8, 3), np.uint8), "found an image of 8 x 0 pixels"),
            (np.zeros((8, 8, 3), np.int64), "found an array of int64; allowed are uint8, uint16, and floats"),
            (np.zeros((8, 8, 3), bool), "found an array of bool"),
            (np.zeros((8, 8, 3), complex), "found an array of complex128"),
            (np.full((8, 8, 3), 200.0), "found floats from 200 to 200; .* divided by 255, or given as uint8"),
            (np.full((8, 8, 3), np.nan), "found floats from nan to nan; allowed are 0 to 1$"),
            ([[0, 1]], "found list; allowed are a NumPy array, a Pillow image or a PyTorch tensor"),
            ("photo.jpg", "found str; .* files are read by Pillow's Image.open"),
            (None, "found NoneType"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, copying, array, says):
        with pytest.raises(UserError, match=says):
            copying.upscale(array)


def restored(get, put, value):
    @contextmanager
    def setting():
        before = get()
        put(value)
        yield
        assert get() == value
        put(before)

    return setting


CONV = getattr(torch.backends.mkldnn, "conv", None)  # since PyTorch 2.9
SET_BY_CALLERS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "dtype": restored(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "matmul": restored(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
}
if CONV:
    SET_BY_CALLERS["conv"] = restored(
        lambda: CONV.fp32_precision, lambda value: setattr(CONV, "fp32_precision", value), "bf16"
    )


@pytest.mark.parametrize("name", SET_BY_CALLERS)
def test_what_a_caller_has_set_of_pytorch_changes_no_value(run, name):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 52, 3)).astype(np.uint16)
    expected = multiblock.load(run, device="cpu").upscale(deep)
    with SET_BY_CALLERS[name]():
        net = multiblock.load(run, device="cpu")
        made = [net.upscale(deep), net.block(2).upscale(net.block(1).upscale(tensor(deep // 257)))]
    assert np.array_equal(made[0], expected)
    assert torch.equal(made[1], by_hand(run, tensor(deep // 257)))


class TestPillow:
    """Images as Pillow has them, with what goes with them."""

    @pytest.mark.parametrize(
        ("mode", "result"),
        [("RGB", "RGB"), ("RGBA", "RGBA"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("1", "L"), ("I;16", "I;16")],
    )
    def test_modes(self, copying, mode, result):
        rgb = Image.fromarray(PIXELS)
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else rgb.convert(mode)
        made = copying.upscale(image)
        assert (made.mode, made.size) == (result, (104, 80))
        plain = image.convert(result) if mode != "I;16" else image
        values = np.atleast_3d(np.asarray(plain))
        assert np.abs(np.atleast_3d(np.asarray(made)).astype(int) - resize.enlarge(values, 2)).max() <= 1

    def test_a_palette_with_a_transparent_colour(self, copying):
        image = Image.fromarray(PIXELS).convert("P")
        image.info["transparency"] = int(np.asarray(image)[0, 0])
        made = copying.upscale(image)
        assert made.mode == "RGBA" and "transparency" not in made.info
        assert made.getpixel((0, 0))[3] < 255

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
    def test_profile_and_exif_go_with_it(self, copying, tmp_path, name):
        """As after Image.resize, an orientation still holds: applied once, the result is the file's by the command."""
        options = {"quality": 98, "subsampling": 0} if name == "a.jpg" else {"lossless": True} if "webp" in name else {}
        file = save(tmp_path / name, PIXELS, icc_profile=icc_profile("p3"), exif=tagged(6).tobytes(), **options)
        made = copying.upscale(Image.open(file))
        assert made.info["icc_profile"] == icc_profile("p3")
        assert made.getexif()[272] == "Camera 1" and made.getexif().get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
        kept = BytesIO()
        made.save(kept, "PNG", exif=made.info["exif"])
        assert (
            main(["upscale", str(copying.about.file), str(file), "-o", str(tmp_path / "out"), "--format", "png"]) == 0
        )
        with Image.open(kept) as one, Image.open(tmp_path / "out/a.png") as other:
            turned = np.asarray(ImageOps.exif_transpose(one)).astype(int)
            assert np.abs(turned - np.asarray(other)).max() <= 1  # bicubic rounds between rows and columns

    @pytest.mark.parametrize("mode", ["CMYK", "F", "I", "HSV", "YCbCr", "LAB"])
    def test_other_modes_are_refused(self, copying, mode):
        with pytest.raises(UserError, match=f"found mode {mode}; allowed are 1, L, LA, P, PA, RGB, RGBA, I;16"):
            copying.upscale(Image.new(mode, (8, 8)))

    @pytest.mark.parametrize("mode", ["F", "I"])
    def test_of_whole_and_floating_values_the_way_cuts_none(self, copying, mode):
        """``convert`` would cut them at 255."""
        with pytest.raises(UserError, match=r"I;16; give np.asarray\(image\) as uint16, or as floats in \[0, 1\]$"):
            copying.upscale(Image.new(mode, (8, 8)))

    def test_a_file_that_is_cut_short(self, copying, tmp_path):
        content = save(tmp_path / "a.jpg", PIXELS).read_bytes()
        with pytest.raises(UserError, match="a Pillow image: cannot be decoded: "):
            copying.upscale(Image.open(BytesIO(content[:-200])))

    def test_an_image_of_no_pixels(self, copying):
        with pytest.raises(UserError, match="0 x 8 pixels"):
            copying.upscale(Image.new("RGB", (0, 8)))


class TestEnsembleAndMemory:
    """The options of upscale."""

    def test_the_ensemble(self, run):
        network = chains.load(run / "seed1/phase3/weights.safetensors")
        made = multiblock.load(run, device="cpu").upscale(tensor(PIXELS), ensemble=True)
        expected = ensemble_by_hand(network, PIXELS / np.float32(255))
        assert np.abs(made[0].permute(1, 2, 0).numpy() - expected).max() < 2e-6

    def test_tiles_are_said(self, copying, caplog):
        copying.upscale(np.zeros((600, 600, 3), np.uint8), memory_gib=0.05)
        assert "made in tiles for want of memory" in caplog.text

    @pytest.mark.parametrize("memory", [0, -1, float("nan"), float("inf")])
    def test_memory_has_bounds(self, copying, memory):
        with pytest.raises(UserError, match="memory_gib: found .*; allowed are 0.05 or more"):
            copying.upscale(PIXELS, memory_gib=memory)


class TestChain:
    """Parts of the chain."""

    def test_after(self, run):
        x, net = tensor(PIXELS), multiblock.load(run, device="cpu")
        for phase in (1, 2, 3):
            earlier = net.after(phase=phase)
            assert torch.allclose(earlier.upscale(x), by_hand(run, x, phase), atol=1e-6)
            assert (earlier.about.phase, earlier.about.psnr) == (phase, 30 + phase)
        assert torch.equal(net.after(1).after(3).upscale(x), net.upscale(x))

    @pytest.mark.parametrize("phase", [0, 4, -1, "2"])
    def test_a_phase_that_is_not_there(self, run, phase):
        with pytest.raises(UserError, match=f"seed1: found no finished phase {phase}; allowed are 1, 2, 3"):
            multiblock.load(run, device="cpu").after(phase)

    def test_after_needs_a_run(self, copying):
        with pytest.raises(UserError, match="w.safetensors: is in no run's folder"):
            copying.after(1)

    def test_blocks_one_after_another_are_the_chain(self, run):
        net, x = multiblock.load(run, device="cpu"), tensor(PIXELS)
        assert torch.equal(net.block(2).upscale(net.block(1).upscale(x)), net.upscale(x))
        assert net.block(1).chain.blocks["1"] is net.chain.blocks["1"]

    def test_only_the_first_block_gets_it_enlarged(self, tmp_path):
        Chain.build([TINY] * 2, [True] * 2).save(tmp_path / "w.safetensors", about=Provenance(enlarge=2))
        net, x = multiblock.load(tmp_path / "w.safetensors", device="cpu"), tensor(PIXELS)
        assert (net.scale, net.block(1).scale, net.block(2).scale) == (2, 2, 1)
        assert torch.equal(net.block(2).upscale(net.block(1).upscale(x)), net.upscale(x))
        assert net.block(2).about.input == "LR_1, what the blocks before it make"

    @pytest.mark.parametrize("number", [0, 3, -1])
    def test_a_block_that_is_not_there(self, run, number):
        with pytest.raises(UserError, match=f"block: found {number}; .* holds blocks 1, 2"):
            multiblock.load(run, device="cpu").block(number)


class TestLoad:
    """What load takes, and what it says."""

    def test_it_says_what_it_is(self, run):
        net = multiblock.load(str(run), device="cpu")
        assert net.scale == 1
        known = net.about
        assert (known.plan, known.data, known.psnr, known.psnr_convention, known.input, known.seed) == (
            ("1", "2", "1-2"), "mine", 33, VALIDATION_PSNR, "LR as it is", 1,
        )  # fmt: skip
        assert repr(net).startswith("<multiblock.Network x1 from LR as it is (2 blocks: mcan > mcan) on cpu; ")
        assert "phase 3 (plan 1, 2, 1-2)" in repr(net) and "PSNR 33.00 dB" in repr(net)
        assert "(block 2, mcan)" in repr(net.block(2)) and "PSNR not recorded" in repr(net.block(2))

    def test_it_makes_what_the_command_makes(self, copying, tmp_path):
        file = save(tmp_path / "a.png", PIXELS)
        assert (
            main(["upscale", str(copying.about.file), str(file), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
        )
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), copying.upscale(PIXELS))

    @pytest.mark.parametrize("device", ["gpu", "cuda:77", "", 3.5])
    def test_no_such_device(self, run, device):
        with pytest.raises(UserError, match="device: found"):
            multiblock.load(run, device=device)

    def test_older_files_need_a_word(self, tmp_path):
        Chain.build([TINY], [True]).save(tmp_path / "w.safetensors", about=Provenance(stated=False))
        with pytest.raises(UserError, match="does not say whether it takes LR as it is or enlarged"):
            multiblock.load(tmp_path / "w.safetensors", device="cpu")
        assert multiblock.load(tmp_path / "w.safetensors", device="cpu", enlarge=3).scale == 3
        with pytest.raises(UserError, match="enlarge: found 7; allowed are 1, 2, 3, 4"):
            multiblock.load(tmp_path / "w.safetensors", device="cpu", enlarge=7)


def python(*lines: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=300, cwd=cwd
    )


def test_import_is_quick_and_offers_what_there_is(tmp_path):
    done = python(
        "import sys, multiblock",
        "assert not {'torch', 'numpy', 'PIL'} & sys.modules.keys()",
        "assert {'load', 'Network', '__version__'} <= set(dir(multiblock))",
        "assert multiblock.load.__doc__ and multiblock.Network.upscale.__doc__",
        "from multiblock import load",
        "try: multiblock.laod",
        "except AttributeError as error: print(error)",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "module 'multiblock' has no attribute 'laod'\n"), done.stderr


@pytest.mark.slow  # a type checker reads all of PyTorch
def test_types_are_known_to_checkers(tmp_path):
    """An editor knows that what comes back is of the kind that went in."""
    (tmp_path / "use.py").write_text(
        "import multiblock, numpy, torch\n"
        "from PIL import Image\n"
        "net = multiblock.load('results/default')\n"
        "reveal_type(net.upscale(numpy.zeros((8, 8, 3))))\n"
        "reveal_type(net.upscale(Image.new('RGB', (8, 8))))\n"
        "reveal_type(net.upscale(torch.zeros(1, 3, 8, 8)))\n"
        "reveal_type(net.after(2).block(1))\n"
        "net.upscale('photo.jpg')\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file=", "--no-incremental", "--follow-imports=silent", "use.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    for line, kind in (
        (4, "numpy.ndarray"),
        (5, "PIL.Image.Image"),
        (6, "torch._tensor.Tensor"),
        (7, "network.Network"),
    ):
        assert any(said.startswith(f"use.py:{line}: note") and kind in said for said in done.stdout.splitlines())
    assert "use.py:8: error" in done.stdout
