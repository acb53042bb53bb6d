"""Check what the schema cannot say of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.config.explain import shown
from multiblock.data.dataset import DatasetConfig
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, listed


def dataset(data: Mapping[str, Any], key: str, full: Mapping[str, Any]) -> DatasetConfig:
    """The data set that the config has at ``key``, with its folders under ``data_root``.

    Raises:
        UserError: keys that do not go together.
    """
    root, shrink = _root(full["data_root"]), full["shrink"]
    _check_without(data, key)
    return DatasetConfig(
        name=data["name"],
        scale=data["scale"],
        degradation=data["degradation"],
        max_side=min(data["max_side"], shrink.get("side", data["max_side"])),
        max_images=shrink.get("images"),
        skip=tuple(data.get("skip", ())),
        **{split: _source(data[split], f"{key}.{split}", data["scale"], root) for split in SPLITS},
    )


def _check_without(data: Mapping[str, Any], key: str) -> None:
    """Training images that other splits have can be left out where those splits say which they have."""
    for split in SPLITS:
        source = data[split]
        if split != "train" and isinstance(source, Mapping) and "without" in source:
            raise UserError(f"{key}.{split}.without: found {listed(source['without'])}; allowed is it in {key}.train")
    for split in data["train"].get("without", ()):
        if not isinstance(data[split], Mapping):
            raise UserError(
                f"{key}.train.without: found {split}, which holds out {data[split]} of the training images already; "
                "allowed are splits with images of their own"
            )


def _source(source: Any, key: str, scale: int, root: Path) -> Any:
    """Where the images of a split come from: checked keys, or how many training images are held out."""
    if not isinstance(source, Mapping):
        if source >= 1 and source != int(source):
            raise UserError(f"{key}: found {source}; allowed is a share below 1 or a whole number")
        return source
    kinds = [k for k in ("hr", "lr", "photographs") if k in source]
    if kinds not in (["hr"], ["hr", "lr"], ["photographs"]):
        raise UserError(f"{key}: found {listed(kinds) or 'nothing'}; allowed are hr, hr with lr, or photographs")
    if "lr" not in source and scale == 1:
        data = key.rpartition(".")[0]
        raise UserError(f"{data}.scale: found 1, but {key} has no lr; allowed are 2, 3, 4 to make LR from HR")
    if "lr" in source and "crops" in source:
        raise UserError(f"{key}.crops: found together with lr; windows are cut from hr or photographs alone")
    if "only" in source and "photographs" in source:
        raise UserError(
            f"{key}.only: found together with photographs, which names images itself; allowed is it with hr"
        )
    return {**source, **{k: _under(root, source[k]) for k in ("hr", "lr") if k in source}}


def _root(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise UserError(f"data_root: found {shown(folder)}; after ~, the name of a user is needed") from None


def under_root(folder: str, images: str) -> Path:
    """A folder of images under ``data_root``.

    Raises:
        UserError: ``data_root`` begins with ~ and no user.
    """
    return _root(folder) / images


def _under(root: Path, folder: str | Sequence[str]) -> str | list[str]:
    return str(root / folder) if isinstance(folder, str) else [str(root / one) for one in folder]
