"""Where the chunks of a PNG file lie, found without decoding it."""

from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAYS_MORE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks that may hold EXIF, and so an orientation."""


def ends_with_pixels(file: Path) -> bool:
    """Whether a file is whole and has no chunk behind its pixels that may say how it is turned.

    Where it has, a reader has to go through the pixels to get there. Of a file that is damaged nothing is known.
    """
    with file.open("rb", buffering=0) as content:
        size, pixels = content.seek(0, 2), False
        content.seek(0)
        if content.read(8) != _SIGNATURE:
            return False
        while len(head := content.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"IEND":
                return content.tell() + 4 <= size
            if pixels and kind in _SAYS_MORE:
                return False
            pixels |= kind == b"IDAT"
            content.seek(length + 4, 1)
    return False
