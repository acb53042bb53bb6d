"""Bad and unusual image files: each is read as documented, or refused in one line that names the file and why."""

import hashlib
import logging
import os
import re
import shutil
import signal
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from multiblock.data import images, partial, resize
from multiblock.data.convert import convert
from multiblock.data.imageset import ImageSet
from multiblock.data.inspection import Inspection, inspect
from multiblock.data.pair_checks import pair_checks
from multiblock.errors import UserError, one_line
from multiblock.files import Digests
from test_sources import data

pytestmark = pytest.mark.filterwarnings("error")

SECONDS = 30
MEMORY = 768 * 2**20
"""Bytes that a case may add to what the process holds; the whole must stay below 2 GiB."""

PIXELS = picture(seed=7)
HEIGHT, WIDTH = PIXELS.shape[:2]
GRAY = np.repeat(PIXELS[..., :1], 3, axis=2)
TURNED = np.rot90(PIXELS, -1)
DEEP = PIXELS.astype(np.uint16) * 256 + 200


@pytest.fixture(autouse=True)
def bounds():
    """An end to what hangs, and to what takes more memory than it may."""

    def late(*_):
        pytest.fail(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    most = memory("VmRSS") + MEMORY
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        most = 2**31
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert memory("VmHWM") < most


def memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def saved(pixels: np.ndarray | Image.Image, form: str = "PNG", **options) -> bytes:
    file = BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: np.ndarray, colour: int, width: int = WIDTH, height: int = HEIGHT, before: bytes = b"") -> bytes:
    """A PNG by hand, with values of 8 or 16 bits; ``colour`` as the format counts it."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(pixels.dtype.newbyteorder(">")))
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), before, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(content: bytes, bits: int, *, order: str = "<", kind: int = 1, black: int = 1, side: int = 0) -> bytes:
    """A gray TIFF by hand: ``kind`` 1 for unsigned, 2 for signed, 3 for floats; ``black`` 0 where white is 0."""
    long = [(256, side or WIDTH), (257, side or HEIGHT), (273, 8), (278, side or HEIGHT), (279, len(content))]
    short = [(258, bits), (259, 1), (262, black), (277, 1), (339, kind)]
    tags = [(tag, struct.pack(order + "HII", 4, 1, value)) for tag, value in long]
    tags += [(tag, struct.pack(order + "HIHH", 3, 1, value, 0)) for tag, value in short]
    table = b"".join(struct.pack(order + "H", tag) + rest for tag, rest in sorted(tags))
    magic = b"II*\0" if order == "<" else b"MM\0*"
    places = struct.pack(order + "I", 8 + len(content)), struct.pack(order + "H", len(tags))
    return magic + places[0] + content + places[1] + table + bytes(4)


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def changed(content: bytes, offset: int, byte: int | None = None) -> bytes:
    """Another value at one place: ``byte``, or one bit of it turned."""
    spoilt = bytearray(content)
    spoilt[offset] = spoilt[offset] ^ 1 if byte is None else byte
    return bytes(spoilt)


def link(target: str) -> Callable[[Path], None]:
    return lambda file: file.symlink_to(target)


Content = bytes | Callable[[Path], object]


def place(file: Path, content: Content) -> None:
    """Put ``content`` in the place of image 2."""
    for old in file.parent.glob("image2.*"):
        old.unlink()
    if callable(content):
        content(file)
    else:
        file.write_bytes(content)


PAIRS, ALONE, HALVES = "pairs", "HR alone", "pairs x2"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something bad or unusual in a good data set, and what comes of it."""

    name: str
    spoil: Callable[[Path], object]
    later: bool = False
    """It comes between the inspection and the conversion."""
    layouts: tuple[str, ...] = (PAIRS, ALONE)
    error: str = ""
    """What the one line says; nothing where none is said."""
    says: str = ""
    """What the one line must match, beyond its beginning."""
    warning: str = ""
    """What a warning must match; without it none may be given."""
    note: str = ""
    split: str = "train"
    image: str = "image2"
    """What image 2 is called in the end; nothing where it is no more."""
    pixels: np.ndarray | None = None
    near: float = 0
    """Mean difference of its pixels that is allowed."""
    same: bool = False
    """HR and LR are one file: in a pair there is nothing to learn then, which is said."""


def reads(name: str, content: Content, pixels: np.ndarray = PIXELS, file: str = "image2.png", **rest) -> Case:
    """A file that is read, in HR and LR alike."""

    def spoil(folder):
        for kind in ("HR", "LR"):
            place(folder / rest.get("split", "train") / kind / file, content)

    return Case(name=name, spoil=spoil, pixels=pixels, image=Path(file).stem, same=True, **rest)


def refuses(name: str, content: Content, says: str, file: str = "image2.png", shown: str = "", **rest) -> Case:
    """An HR file that is refused; ``shown`` is its name as the line has it."""
    error = f"train/HR/{shown or file}: {says}"
    return Case(name=name, spoil=lambda folder: place(folder / "train/HR" / file, content), error=error, **rest)


def pair(hr: np.ndarray, lr: np.ndarray) -> Callable[[Path], None]:
    def spoil(folder):
        images.write(folder / "train/HR/image2.png", hr)
        images.write(folder / "train/LR/image2.png", lr)

    return spoil


def swapped(folder: Path) -> None:
    """HR and LR folders of the training set, under each other's names."""
    train = folder / "train"
    for old, new in (("HR", "other"), ("LR", "HR"), ("other", "LR")):
        (train / old).rename(train / new)


def renamed(folder: Path, suffix: str) -> None:
    for file in folder.iterdir():
        file.rename(file.with_suffix(suffix))


def large(file: Path) -> None:
    """13,000 x 13,000 pixels, just within what is read, in a file of a few kB."""
    rows = (b"\0" + b"\xaa" * (13000 // 8)) * 13000
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 13000, 13000, 1, 0, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def trailed(file: Path) -> None:
    file.write_bytes(PNG)
    os.truncate(file, MEMORY + 2**25)


FINE = {"quality": 98, "subsampling": 0}
PNG, JPEG = saved(PIXELS), saved(PIXELS, "JPEG", **FINE)
IDAT = PNG.index(b"IDAT")
BMP = saved(PIXELS, "BMP")
PALETTE = Image.fromarray(PIXELS).quantize(16)
COLOURS = np.asarray(PALETTE.convert("RGB"))
ALPHA = np.linspace(0, 255, WIDTH * HEIGHT).astype(np.uint8).reshape(HEIGHT, WIDTH, 1)
FRAMES = {"save_all": True, "append_images": [Image.fromarray(PIXELS[::-1].copy())]}
TEXT = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2**24))
TWELVE = PIXELS[..., 0].astype(np.uint16).reshape(-1, 2) * 16
PACKED = np.stack([TWELVE[:, 0] >> 4, TWELVE[:, 0] % 16 * 16 + (TWELVE[:, 1] >> 8), TWELVE[:, 1] % 256], axis=1)
ONE_PAGE = tiff(PIXELS[..., 0].tobytes(), 8)
LOOP = ONE_PAGE[:-4] + ONE_PAGE[4:8]
BROAD = picture(40, 20000, seed=3)
SCENE = resize.enlarge(picture(100, 100, seed=5), 4)
GRAINY = (PIXELS * 0.7 + np.random.default_rng(0).uniform(0, 70, PIXELS.shape)).astype(np.uint8)
SPOILT = [saved(PIXELS, "JPEG", **FINE, **more) for more in ({}, {"progressive": True}, {"restart_marker_rows": 1})]
SPOILT = [whole[: len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40 :] for whole in SPOILT]
WIDE = chunk(b"cICP", bytes([9, 16, 0, 1]))
P3 = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
CANNOT = "cannot be read as an image: "
UNKNOWN = CANNOT + "its content is of no kind that is read; allowed are PNG, JPEG, TIFF, BMP, WEBP"
DAMAGED_PNG = CANNOT + "it is a PNG file that is damaged: "
SHORT_TEXT = chunk(b"tEXt", b"Comment\0x")
BAD_NAME = "has a name with control characters, or one that is not UTF-8; rename it"
BOTH = r"train/LR/image2\.png and .*train/HR/image2\.png: "

CASES = [
    # Content that is damaged, or another than the name says.
    refuses("a PNG cut short", PNG[: len(PNG) // 2], CANNOT + "image file is truncated"),
    *(
        reads(
            f"a JPEG damaged in the middle, {kind}", content, file="image2.jpg", near=128, warning=r"jpg.* is damaged"
        )
        for kind, content in zip(("baseline", "progressive", "with restarts"), SPOILT, strict=True)
    ),
    reads("a PNG in BT.2020", PNG[:33] + WIDE + PNG[33:], warning=r"cICP \(primaries 9, transfer 16\) are not sRGB"),
    reads("a PNG in Display P3", PNG[:33] + P3 + PNG[33:], warning="primary colours are not those of sRGB"),
    reads("a PNG that states sRGB", PNG[:33] + chunk(b"cICP", bytes([1, 13, 0, 1])) + PNG[33:]),
    reads(
        "a TIFF in Display P3",
        saved(PIXELS, "TIFF", tiffinfo={319: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)}),
        file="image2.tif",
        warning="primary colours are not those of sRGB",
    ),
    refuses("a JPEG cut short", JPEG[: len(JPEG) // 2], CANNOT + "image file is truncated", "image2.jpg"),
    refuses("a JPEG cut short in its header", JPEG[:300], CANNOT + "Truncated File Read", "image2.jpg"),
    refuses("a BMP cut short", BMP[:300], CANNOT + "image file is truncated", "image2.bmp"),
    refuses("an empty file", b"", CANNOT + "it is empty"),
    refuses(
        "a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid", CANNOT + "it is a pointer of Git"
    ),
    refuses("a web page", b"\n<!DOCTYPE html>", CANNOT + "it is a web page"),
    refuses("a text", b"no image", UNKNOWN),
    reads("a JPEG called PNG", JPEG, near=2),
    reads("a PNG called JPEG", PNG, file="image2.jpg"),
    refuses("a BMP with a damaged header", changed(BMP, 14, 0), CANNOT + "Unsupported BMP header", "image2.bmp"),
    refuses("a BMP of unknown depth", changed(BMP, 28, 77), CANNOT + "Unsupported BMP pixel depth", "image2.bmp"),
    refuses("a PNG with a damaged header", changed(PNG, 20), DAMAGED_PNG + "bad header checksum in b'IHDR'"),
    refuses(
        "a PNG with a damaged text",
        png(PIXELS, 2, before=changed(SHORT_TEXT, -1)),
        f"{DAMAGED_PNG}bad header checksum in b'tEXt'",
    ),
    refuses("a PNG with damaged pixels", changed(PNG, IDAT + 400), CANNOT + "broken data stream"),
    reads("a PNG with a wrong checksum of right pixels", changed(PNG, len(PNG) - 13)),
    reads("a PNG without an end", PNG[:-12]),
    reads("a PNG with nothing behind it, 800 MiB long", trailed, layouts=(ALONE,)),
    reads("a PNG with a long text", png(PIXELS, 2, before=chunk(b"tEXt", b"Comment\0" + b"x" * 2**21))),
    refuses("a PNG with a huge text", png(PIXELS, 2, before=TEXT), CANNOT + "Decompressed data too large"),
    reads("a JPEG with damaged EXIF data", saved(PIXELS, "JPEG", **FINE, exif=b"Exif\0\0garbage"), near=2),
    refuses("a PNG with damaged EXIF data", saved(PIXELS, exif=b"garbage!"), CANNOT + "not a TIFF file"),
    # Kinds of pixels.
    reads("16 bits gray PNG", saved(DEEP[..., 0]), GRAY),
    reads("16 bits RGB PNG", png(DEEP, 2)),
    reads("16 bits RGBA PNG", png(np.concatenate([DEEP, DEEP[..., :1]], axis=2), 6)),
    reads("16 bits gray PNG with alpha", png(DEEP[..., :2], 4), GRAY),
    reads("16 bits gray TIFF", tiff(DEEP[..., 0].astype("<u2").tobytes(), 16), GRAY, "image2.tif"),
    reads("16 bits gray TIFF, big endian", tiff(DEEP[..., 0].astype(">u2").tobytes(), 16, order=">"), GRAY),
    reads(
        "12 bits gray TIFF", tiff(PACKED.astype(np.uint8).tobytes(), 12), GRAY, note="12 of 16 bits, as the file says"
    ),
    refuses("16 bits, white as 0", tiff(DEEP[..., 0].tobytes(), 16, black=0), "holds 16 bits a channel with white as"),
    reads("8 bits, white as 0", tiff((255 - PIXELS[..., 0]).tobytes(), 8, black=0), GRAY),
    refuses(
        "signed 16 bits", tiff(DEEP[..., 0].tobytes(), 16, kind=2), "holds 32 bits a channel, or signed values; al"
    ),
    refuses("32 bits TIFF", tiff(DEEP.astype("<u4")[..., 0].tobytes(), 32), "holds 32 bits a channel, or signed"),
    refuses("float TIFF", saved(PIXELS[..., 0].astype(np.float32), "TIFF"), "holds floating-point values; allowed are"),
    refuses(
        "double TIFF",
        tiff(PIXELS[..., 0].astype(np.float64).tobytes(), 64, kind=3),
        "cannot be read as an image: it is a TIFF file that is damaged or of a kind that is not read, as with floating",
    ),
    reads("1 bit PNG", saved(Image.fromarray(PIXELS[..., 0] > 127)), np.where(GRAY > 127, 255, 0)),
    reads("a palette", saved(PALETTE), COLOURS),
    reads("a palette with transparency", saved(PALETTE, transparency=bytes(range(16))), COLOURS),
    reads("RGBA", saved(np.concatenate([PIXELS, ALPHA], axis=2))),
    reads("gray with alpha", saved(np.concatenate([PIXELS[..., :1], ALPHA], axis=2)), GRAY),
    reads("a colour that is transparent", saved(PIXELS, transparency=tuple(int(value) for value in PIXELS[0, 0]))),
    reads("CMYK JPEG", saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=98), near=2, file="image2.jpg"),
    reads("gray JPEG", saved(PIXELS[..., 0], "JPEG", quality=98), GRAY, near=2, file="image2.jpeg"),
    # Turned.
    reads("turned by EXIF, JPEG", saved(PIXELS, "JPEG", **FINE, exif=oriented(6)), TURNED, "image2.jpg", near=2),
    reads("turned by EXIF, PNG", saved(PIXELS, exif=oriented(6)), TURNED),
    reads("turned by EXIF, TIFF", saved(PIXELS, "TIFF", exif=oriented(6)), TURNED, "image2.tif"),
    reads("turned by EXIF, gray TIFF", saved(PIXELS[..., 0], "TIFF", exif=oriented(8)), np.rot90(GRAY)),
    reads("turned by EXIF, 16 bits TIFF", saved(DEEP[..., 0], "TIFF", exif=oriented(6)), np.rot90(GRAY, -1)),
    reads("an EXIF orientation that does not exist", saved(PIXELS, exif=oriented(9))),
    # More than one image.
    refuses("a moving GIF called PNG", saved(PIXELS, "GIF", **FRAMES), "cannot be read as an image: its content"),
    refuses("a still GIF called PNG", saved(PIXELS, "GIF"), "cannot be read as an image: its content"),
    refuses("a moving PNG", saved(PIXELS, **FRAMES), "holds 2 images; allowed is one image a file"),
    refuses("a TIFF of two pages", saved(PIXELS, "TIFF", **FRAMES), "holds 2 images; allowed", "image2.tiff"),
    reads("a TIFF whose page is followed by itself", LOOP, GRAY),
    reads("a JPEG with a second picture", saved(PIXELS, "MPO", **FRAMES), PIXELS, "image2.jpg", near=8),
    # Sizes.
    refuses("one pixel", saved(PIXELS[:1, :1]), "found 1 x 1 pixels; to cut patches of 16 pixels, 16 x 16 are needed"),
    refuses("smaller than the patch", saved(PIXELS[:15]), "found 56 x 15 pixels; to cut patches of 16 pixels"),
    refuses("no pixel", png(PIXELS, 2, width=0), DAMAGED_PNG + "its header is wrong"),
    reads("20,000 wide and 40 high", saved(BROAD, compress_level=1), BROAD),
    reads(
        "13,000 x 13,000",
        large,
        np.tile(np.uint8([[[255] * 3, [0] * 3]]), (1500, 750, 1)),
        split="test",
        layouts=(ALONE,),
    ),
    refuses(
        "a PNG that claims 60,000 x 60,000", png(PIXELS, 2, 60000, 60000), CANNOT + "Image size (3600000000 pixels)"
    ),
    refuses(
        "a PNG that claims 13,000 x 13,000",
        png(PIXELS, 2, 13000, 13000),
        CANNOT + "image file is truncated",
        layouts=(ALONE,),
    ),
    refuses("a TIFF that claims 60,000 x 60,000", tiff(bytes(99), 8, side=60000), CANNOT + "Image size (3600000000 p"),
    refuses(
        "a TIFF that claims 13,000 x 13,000",
        tiff(bytes(99), 8, side=13000),
        CANNOT + "image file is truncated",
        layouts=(ALONE,),
    ),
    # What is no plain file.
    reads("a link", lambda file: (file.with_name(".real").write_bytes(PNG), file.symlink_to(".real"))),
    refuses("a link to itself", link("image2.png"), "cannot be read: Too many levels of symbolic links"),
    refuses("a link to nothing", link("nothing.png"), "cannot be read: No such file or directory"),
    refuses("a link to what never ends", link("/dev/zero"), CANNOT + "it is not a regular file"),
    refuses("a folder", Path.mkdir, CANNOT + "it is not a regular file"),
    refuses("a pipe", os.mkfifo, CANNOT + "it is not a regular file"),
    # Names.
    *(
        reads(f"a name with {what}", PNG, file=name)
        for what, name in {
            "spaces": " an image 2 .png",
            "letters beyond ASCII": "Bäume-山-क्ष.png",
            "a no-break space and joined emoji": "9.00\u202fAM \U0001f468\u200d\U0001f469.png",
            "a dash in front": "-rf.png",
            "signs of CSV, YAML and Python": 'a,"{b}" %s: {name}*.png',
            "two dots": "image2..png",
            "capitals at its end": "image2.PNG",
            "as many bytes as there may be": "é" * 120 + ".png",
        }.items()
    ),
    refuses("a name of two lines", PNG, BAD_NAME, "image\n2.png", "image\\x0a2.png"),
    refuses("a name with a line separator", PNG, BAD_NAME, "image\u20282.png", r"image\u20282.png"),
    refuses("a name that is no UTF-8", PNG, BAD_NAME, os.fsdecode(b"image\xff.png"), "image\\xff.png"),
    refuses("a very long name", PNG, "has a name of 251 bytes without its ending; allowed are 240", "x" * 251 + ".png"),
    Case(
        name="two endings of one name",
        spoil=lambda folder: (folder / "train/HR/image2.jpg").write_bytes(JPEG),
        error="train/HR/image2.png: has the same name as ",
    ),
    Case(
        name="two cases of one name",
        spoil=lambda folder: (folder / "train/HR/IMAGE2.png").write_bytes(PNG),
        error="train/HR/image2.png: has the same name as ",
    ),
    # Folders.
    Case(
        name="a GIF beside the images",
        spoil=lambda folder: (folder / "train/HR/image5.gif").write_bytes(saved(PIXELS, "GIF")),
        note=r"train/HR: 1 file is left out, ending in \.gif \(as image5\.gif\); allowed are \.png, \.jpg",
    ),
    Case(name="hidden files", spoil=lambda folder: (folder / "train/HR/._image5.png").write_bytes(b"Mac OS X")),
    Case(
        name="an empty folder",
        spoil=lambda folder: [file.unlink() for file in (folder / "test/HR").iterdir()],
        error="test/HR: holds no images; found 0 files, allowed are .png",
    ),
    Case(
        name="no folder",
        spoil=lambda folder: shutil.rmtree(folder / "test/HR"),
        error="test/HR: cannot be listed: No such file or directory",
    ),
    Case(
        name="a file for a folder",
        spoil=lambda folder: (shutil.rmtree(folder / "test/HR"), (folder / "test/HR").write_bytes(PNG)),
        error="test/HR: cannot be listed: Not a directory",
    ),
    Case(
        name="other endings alone",
        spoil=lambda folder: renamed(folder / "train/HR", ".raw"),
        error="train/HR: holds no images; found 4 files (4 .raw), allowed are .png, .jpg",
    ),
    # Pairs.
    Case(
        name="HR and LR swapped",
        spoil=lambda folder: (pair(GRAINY, resize.enlarge(resize.shrink(GRAINY, 2), 2))(folder), swapped(folder)),
        layouts=(PAIRS,),
        warning=BOTH + r"LR has 2\.61 times the detail of HR; the folders may be swapped",
    ),
    Case(
        name="HR and LR of two sizes swapped",
        spoil=swapped,
        layouts=(HALVES,),
        error="train/LR/image2.png: found 56 x 48 pixels; with data.scale 2 its partner ",
    ),
    Case(
        name="a pair shifted by 3 pixels",
        spoil=pair(SCENE[6:390, 6:390], SCENE[3:387, 6:390]),
        layouts=(PAIRS,),
        warning=BOTH + r"LR is shifted by \+3\.0 pixels down and \+0\.1 to the right",
    ),
    Case(
        name="a pair x2 shifted by 4 pixels",
        spoil=pair(SCENE[6:390, 6:390], resize.shrink(SCENE[6:390, 10:394], 2)),
        layouts=(HALVES,),
        warning=BOTH + r"LR is shifted by -0\.1 pixels down and -3\.9 to the right",
    ),
    Case(
        name="a pair of different images",
        spoil=pair(picture(seed=1), picture(seed=2)),
        layouts=(PAIRS,),
        error=r"train/LR/image2.png and ",
        says=r"HR/image2\.png: correlation -?0\.\d\d: they do not show the same; multiblock check",
    ),
    Case(
        name="a pair of an image and its negative",
        spoil=pair(PIXELS, 255 - PIXELS),
        layouts=(PAIRS,),
        error=r"train/LR/image2.png and ",
        says=r"correlation -1\.00: they do not show the same",
    ),
    Case(name="a black pair", spoil=pair(0 * PIXELS, 0 * PIXELS), pixels=0 * PIXELS, same=True),
    Case(
        name="a pair of black and gray",
        spoil=pair(0 * PIXELS, 0 * PIXELS + 90),
        layouts=(PAIRS,),
        warning=BOTH + "mean brightness 90 and 0",
    ),
    Case(
        name="LR of the wrong size",
        spoil=lambda folder: images.write(folder / "train/LR/image2.png", PIXELS[:, :40]),
        layouts=(PAIRS, HALVES),
        error="train/LR/image2.png: found 40 x 48 pixels; with data.scale ",
    ),
    Case(
        name="no LR",
        spoil=lambda folder: (folder / "train/LR/image2.png").unlink(),
        layouts=(PAIRS,),
        error="train/HR/image2.png: has no partner; an image called image2 is needed in ",
    ),
    Case(
        name="LR alone",
        spoil=lambda folder: images.write(folder / "train/LR/image5.png", PIXELS),
        layouts=(PAIRS,),
        error="train/LR/image5.png: has no partner in ",
    ),
    Case(
        name="a damaged LR",
        spoil=lambda folder: (folder / "train/LR/image2.png").write_bytes(PNG[: len(PNG) // 2]),
        layouts=(PAIRS,),
        error="train/LR/image2.png: " + CANNOT + "image file is truncated",
    ),
    # Between the inspection and the conversion.
    Case(
        name="HR of a pair vanishes",
        spoil=lambda folder: (folder / "train/HR/image2.png").unlink(),
        later=True,
        layouts=(PAIRS,),
        error="train/LR/image2.png: has no partner in ",
    ),
    Case(
        name="LR vanishes",
        spoil=lambda folder: (folder / "train/LR/image2.png").unlink(),
        later=True,
        layouts=(PAIRS,),
        error="train/HR/image2.png: has no partner; an image called image2 is needed in ",
    ),
    Case(
        name="HR vanishes",
        spoil=lambda folder: (folder / "train/HR/image2.png").unlink(),
        later=True,
        layouts=(ALONE,),
        image="",
    ),
    Case(
        name="LR becomes smaller",
        spoil=lambda folder: images.write(folder / "train/LR/image2.png", PIXELS[:40]),
        later=True,
        layouts=(PAIRS,),
        error="train/LR/image2.png: found 56 x 40 pixels; with data.scale 1 its partner ",
    ),
    Case(
        name="LR becomes larger",
        spoil=lambda folder: images.write(folder / "train/LR/image2.png", BROAD),
        later=True,
        layouts=(PAIRS,),
        error="train/LR/image2.png: found 20000 x 40 pixels; with data.scale 1 its partner ",
    ),
    refuses("HR is cut short later", PNG[: len(PNG) // 2], CANNOT + "image file is truncated", later=True),
]


def laid_out(folder: Path, layout: str):
    """The data set of a layout, from the folder of pairs."""
    if layout == PAIRS:
        return data(folder)
    if layout == ALONE:
        return data(folder, scale=2, train={"hr": "train/HR"}, test={"hr": "test/HR"})
    for file in folder.glob("*/LR/*.png"):
        images.write(file, resize.shrink(images.read(folder / file.parts[-3] / "HR" / file.name), 2))
    return data(folder, scale=2)


def state(folder: Path) -> dict[bytes, tuple]:
    """All that lies in a folder, byte by byte; of very large files their times instead."""
    found = {}
    for parent, folders, files in os.walk(os.fsencode(folder)):
        for file in (os.path.join(parent, name) for name in (*folders, *files)):
            status, content = os.lstat(file), b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(file)
            elif stat.S_ISREG(status.st_mode) and status.st_size < 2**26 and os.access(file, os.R_OK):
                content = hashlib.sha256(Path(os.fsdecode(file)).read_bytes()).digest()
            found[file] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def sets_in(folder: Path) -> dict[str, ImageSet]:
    """The sets under a folder, where each array has its index and fits it and there is nothing by halves."""
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"inspection.json"}
    files = {file for file in files if not file.startswith(partial.CONVERTING)}  # what the next start goes on from
    arrays = {file.removesuffix(".npy") for file in files if file.endswith(".npy")}
    assert files == {array + ending for array in arrays for ending in (".npy", ".csv")}
    return {array: ImageSet(folder / f"{array}.npy") for array in arrays}


def by_name(sets: dict[str, ImageSet], kind: str, split: str) -> dict[str, np.ndarray]:
    splits = ("train", "validation") if split == "train" else (split,)
    chosen = [sets[f"{kind}/{one}"] for one in splits]
    return {name: pixels for one in chosen for name, pixels in zip(one.names, one, strict=True)}


@pytest.mark.parametrize(
    ("case", "layout"),
    [pytest.param(case, layout, id=f"{case.name}, {layout}") for case in CASES for layout in case.layouts],
)
def test_it_ends_as_documented(case, layout, pairs, tmp_path_factory, caplog):
    caplog.set_level(logging.INFO, "multiblock")
    mine, results = laid_out(pairs, layout), tmp_path_factory.mktemp("results")
    if not case.later:
        case.spoil(pairs)
    before = state(pairs)
    said = []
    try:
        inspect(mine, Inspection(Digests(results / "inspection.json")), 16)
        if case.later:
            case.spoil(pairs)
            before = state(pairs)
        convert(mine, results / "HR", results / "LR")
    except UserError as error:
        said = [one_line(error)]
    assert state(pairs) == before
    sets = sets_in(results)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    nothing = [line for line in warnings if "LR equals HR: there is nothing to learn" in line]
    assert len(nothing) == (case.same and layout == PAIRS)
    warnings = [line for line in warnings if line not in nothing]
    assert bool(warnings) == bool(case.warning)
    assert not case.warning or any(re.search(case.warning, line) for line in warnings)
    assert not case.note or any(re.search(case.note, line) for line in caplog.messages)
    if case.error:
        assert len(said) == 1 and said[0].startswith(f"{pairs}/{case.error}")
        assert re.search(case.says, said[0])
        assert "\n" not in said[0]
        assert f"HR/{case.split}" not in sets
        return
    assert said == []
    assert len(sets) == 6
    hr, lr = (by_name(sets, kind, case.split) for kind in ("HR", "LR"))
    others = {"image1", "image3", "image4"} if case.split == "train" else {"image1"}
    assert set(hr) == set(lr) == others | ({case.image} if case.image else set())
    if case.pixels is not None:
        made = hr[case.image]
        assert made.shape == case.pixels.shape
        assert np.abs(made.astype(int) - case.pixels).mean() <= case.near
        assert np.array_equal(lr[case.image], made if layout == PAIRS else resize.shrink(made, 2))


def test_a_file_that_the_system_does_not_let_read(pairs, tmp_path_factory, monkeypatch):
    hidden, before, plain = pairs / "train/HR/image2.png", state(pairs), Path.open

    def opened(file, *rest, **named):
        if file == hidden:
            raise PermissionError(13, "Permission denied", str(hidden))
        return plain(file, *rest, **named)

    with monkeypatch.context() as patched, pytest.raises(UserError) as error:
        patched.setattr(Path, "open", opened)
        inspect(data(pairs), Inspection(Digests(tmp_path_factory.mktemp("results") / "inspection.json")), 16)
    assert one_line(error.value) == f"{hidden}: cannot be read as an image: Permission denied"
    assert state(pairs) == before


def test_a_file_that_vanishes_while_others_are_converted(pairs, tmp_path_factory, monkeypatch):
    gone, results, read = pairs / "train/HR/image3.png", tmp_path_factory.mktemp("results"), images.read

    def reading(file, *remark):
        gone.unlink(missing_ok=True)
        return read(file, *remark)

    monkeypatch.setattr(images, "read", reading)
    with pytest.raises(UserError) as error:
        convert(data(pairs), results / "HR", results / "LR")
    assert one_line(error.value) == f"{gone}: cannot be read as an image: No such file or directory"
    assert sets_in(results) == {}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_middle_of_a_large_pair_is_compared_with_the_same_place(scale):
    hr = picture(513 * scale, 515 * scale, seed=3)
    soft = resize.enlarge(resize.shrink(hr, 3), 3) if scale == 1 else resize.shrink(hr, scale)
    found = pair_checks(soft, hr)
    assert (found.verdict, found.reasons) == ("fine", ())
    assert found.correlation > 0.9 and abs(found.zoom - 1) < 1e-3
