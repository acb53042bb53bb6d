"""What is not made here and is looked at before anything runs: digests of images, of files, and of networks' code."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from multiblock.config import Study
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError, one_line
from multiblock.files import Digests
from multiblock.inference.targets import in_folder
from multiblock.networks import registry
from multiblock.workflow.results import Outside
from multiblock.workflow.store import Store


def outside(study: Study, store: Store, remembered: Digests, known: Mapping[str, str] | None = None) -> Outside:
    """Digests of images, files and code, taken where they are needed.

    Images that cannot be looked at are taken to be those that the arrays were made of which the results folder shows;
    this is noted in ``unseen``, with the reason.
    """
    shown = store.shown()

    def look(name: str) -> str:
        kind, _, what = name.partition(" ")
        if kind == "network":
            return registry.digest(what)
        if kind == "file":
            return remembered.of(Path(what))
        try:
            if kind == "images":
                return inspect(study.data[what], Inspection(remembered), study.largest_patch(what))
            assert study.upscale.images is not None
            pictures = in_folder(study.upscale.images, Path(study.results))[0]
            return of_pictures(study.upscale.images, pictures, remembered.of)
        except (UserError, OSError) as error:
            found.unseen[what] = one_line(error)
            address = next((shown[path][0] for path in (f"data/{what}/HR",) if path in shown), "")
            return str(store.made(address).get("settings", {}).get("images")) if address else "unknown"

    found = Outside(known or {}, look)
    return found


def of_pictures(folder: Path, files: Iterable[Path], digest: Callable[[Path], str]) -> str:
    """A digest of pictures: their names and what they hold."""
    found = hashlib.blake2b(digest_size=16)
    for file in files:
        found.update(f"{file.relative_to(folder)} {digest(file)} ".encode(errors="surrogateescape"))
    return found.hexdigest()
