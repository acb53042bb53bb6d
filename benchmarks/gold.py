"""Two commits side by side: whether they make the same bytes of the default run and of every study, at a small size.

    python benchmarks/gold.py BASE [HEAD] --keep FOLDER --data-root FOLDER [--config NAME ...] [--over FILE ...]

HEAD is the working tree where none is named. Each side runs with its own Snakefile, package and configs, under
studies/short.yaml, with this interpreter and one CPU thread. Compared are arrays, weights (tensor by tensor), tables
(without columns of time) and pictures (pixel by pixel), by their paths below results/, where links are followed.
Reports in HTML are not made, and records, logs and checkpoints are not compared. The exit status is 1 where anything
differs.

A run is named as its configs: `config` is the default run, `mcan` is studies/mcan.yaml, `best+best_x2` is two files
where the second lies over the first. Without --config all are run that the heads of studies/*.yaml give a command for.
`--over FILE` is merged over each of them, `--over NAME=FILE` over one, to make them smaller still. Images are looked
for in each `--data-root FOLDER`, where one holds all that a run reads (`--data-root NAME=FOLDER` for one run). A run
whose images or weights are nowhere is skipped, and the table says so. `--keep FOLDER` keeps what BASE made and takes
it from there the next time; what HEAD made is in FOLDER/head-CHECKOUT, where CHECKOUT is the name of this folder.
"""

import argparse
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from safetensors import deserialize

ROOT = Path(__file__).resolve().parent.parent

COMPARED = {".npy", ".safetensors", ".csv", ".png", ".tif", ".tiff", ".jpg"}
"""Kinds of files that hold what was computed."""

NOT_COMPARED = re.compile(r"(^|/)(\.|logs/|store/|working-)|(^|[/_])times\.\w+$")
"""Paths below results/ that hold records, checkpoints, or times alone."""

TIME = re.compile(r"seconds|minutes|hours|per_second|(^|_)time")
"""Columns of time in a table."""


class Problem(Exception):
    """What ends the comparison or one run of it, in a sentence."""


@dataclass
class Side:
    """One of the two commits: its files, and the folder that keeps the results of its runs."""

    name: str
    code: Path
    kept: Path


def main() -> int:
    """Compare, print the table, and return the exit status."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="gold-") as folder:
        scratch = Path(folder)
        keep = (options.keep or scratch / "keep").resolve()
        base = _side(options.base, scratch / "base", keep)
        head = _side(options.head, scratch / "head", keep)
        head.kept = keep / f"head-{ROOT.name}"
        rows = []
        for name in options.config or runs(head.code / "studies"):
            rows.append(_compared(name, base, head, options))
            print(" ".join(rows[-1]), flush=True)
    print("\n| run | files compared | result |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return int(any(not row[2].startswith(("the same", "skipped")) for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a commit")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="a commit; the working tree where none is named")
    parser.add_argument("--config", nargs="+", metavar="NAME", help="runs; all where none is named")
    parser.add_argument("--over", nargs="+", default=[], metavar="[NAME=]FILE", help="configs that are merged last")
    parser.add_argument("--data-root", nargs="+", default=[], metavar="[NAME=]FOLDER", help="where images are")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keeps what BASE made for the next time")
    return parser


def runs(studies: Path) -> list[str]:
    """The default run, and each set of studies that the head of a study gives a command for."""
    found = ["config"]
    for file in sorted(studies.glob("*.yaml")):
        for given in re.findall(r"^#   snakemake .*--configfile((?: studies/\w+\.yaml)+)", file.read_text(), re.M):
            name = "+".join(re.findall(r"studies/(\w+)\.yaml", given))
            if "short" not in name and name not in found:
                found.append(name)
    return found


def _side(commit: str | None, code: Path, keep: Path) -> Side:
    """Check out a commit, or copy the working tree, so that edits during the run do no harm."""

    def git(*words: str) -> bytes:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True)
        if done.returncode:
            sys.exit(f"{commit}: {done.stderr.decode().strip()}")
        return done.stdout

    code.mkdir()
    if commit:
        full = git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
        with tarfile.open(fileobj=io.BytesIO(git("archive", full))) as files:
            files.extractall(code, filter="tar")
        return Side(commit, code, keep / full[:12])
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
        if name and os.path.lexists(ROOT / name):
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, code / name, follow_symlinks=False)
    return Side("working tree", code, keep)


def _compared(name: str, base: Side, head: Side, options: argparse.Namespace) -> tuple[str, str, str]:
    """One row of the table; BASE is run where it has not been kept, and HEAD always."""
    try:
        over, roots = _given(name, options.over), _given(name, options.data_root)
        found = [_run(name, base, over, roots, anew=False), _run(name, head, over, roots, anew=True)]
    except Problem as problem:
        return name, "0", str(problem)
    count, differences = compare(*found)
    if not count:
        return name, "0", "FAILED: there is nothing to compare"
    if not differences:
        return name, str(count), "the same"
    for difference in differences:
        print(f"  {name}: {difference}")
    more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
    return name, str(count), f"DIFFERENT: {differences[0]}{more}"


def _given(name: str, values: list[str]) -> list[Path]:
    """Those of ``[NAME=]PATH`` that hold for a run."""
    pairs = [value.rpartition("=") for value in values]
    return [Path(path).resolve() for whose, _, path in pairs if whose in ("", name)]


def _run(name: str, side: Side, over: list[Path], roots: list[Path], anew: bool) -> Path:
    """Run one side and return its results.

    Raises:
        Problem: images or weights are missing, or Snakemake failed.
    """
    files = ["config.yaml"] if name == "config" else [f"studies/{one}.yaml" for one in name.split("+")]
    configs = [*(side.code / file for file in files), side.code / "studies" / "short.yaml", *over]
    if missing := [file for file in configs if not file.is_file()]:
        raise Problem(f"FAILED: {side.name} has no {missing[0].relative_to(side.code)}")
    root = _root(configs, roots)
    smaller = hashlib.sha256(b"".join(file.read_bytes() for file in over)).hexdigest()[:8]  # than short.yaml alone
    folder = side.kept / f"{name}-{smaller}"
    whole = folder / "whole"
    if whole.exists() and not anew:
        return folder / "results"
    if anew:  # what was interrupted goes on, as a user's does
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "weights").is_symlink():
        (folder / "weights").symlink_to(ROOT / "weights")  # where a study has its files of weights
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", side.code / "Snakefile"]
    command += ["--directory", folder, "--omit-from", "page", "study_page", "--configfile", *configs]
    command += ["--config", "results=results", f"data_root={root}"]
    environment = {**os.environ, "PYTHONPATH": str(side.code / "workflow"), "OMP_NUM_THREADS": "1"}
    environment |= {"SNAKEMAKE_PROFILE": str(side.code / "profiles" / "default"), "CUDA_VISIBLE_DEVICES": ""}
    begun = time.monotonic()
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(list(map(str, command)), env=environment, stdout=log, stderr=log, cwd=folder)
    print(f"  {name}: {side.name} took {time.monotonic() - begun:.0f} s", flush=True)
    if done.returncode:
        last = "\n    ".join((folder / "log.txt").read_text().strip().splitlines()[-15:])
        print(f"    {last}")
        raise Problem(f"FAILED: snakemake ended with {done.returncode} in {side.name}; see {folder / 'log.txt'}")
    whole.touch()
    return folder / "results"


def _root(configs: list[Path], roots: list[Path]) -> Path:
    """The folder of images that holds all folders that a run reads.

    Raises:
        Problem: there is none, or a file of weights is missing.
    """
    wanted: dict[str, None] = {}
    for file in configs:
        content = yaml.safe_load(file.read_text()) or {}
        for images in content.get("data", {}).values():
            for folders in (images.get("hr"), images.get("lr")) if isinstance(images, dict) else ():
                wanted.update(dict.fromkeys([folders] if isinstance(folders, str) else folders or []))
        for weights in re.findall(r"\b[\w./-]+\.(?:pth|safetensors)\b", yaml.safe_dump(content)):
            if not (ROOT / weights).is_file():
                raise Problem(f"skipped: {weights} is not there")
    for root in roots:
        if all((root / folder).is_dir() for folder in wanted):
            return root
    if wanted:
        raise Problem(f"skipped: no --data-root holds {', '.join(wanted)}")
    return ROOT


def compare(base: Path, head: Path) -> tuple[int, list[str]]:
    """Compare two results folders: the number of files that both have, and a sentence for each difference."""
    ours, theirs = dict(_files(base)), dict(_files(head))
    both = sorted(ours.keys() & theirs.keys())
    differences = [f"{path} {found}" for path in both if (found := _difference(ours[path], theirs[path]))]
    differences += [f"{path} is missing" for path in sorted(ours.keys() - theirs.keys())]
    differences += [f"{path} is new" for path in sorted(theirs.keys() - ours.keys())]
    return len(both), differences


def _files(results: Path) -> Iterator[tuple[str, Path]]:
    """The files to compare, by their paths below ``results``; links to files and folders are followed."""
    for folder, folders, names in os.walk(results, followlinks=True):
        inside = Path(folder).relative_to(results)
        folders[:] = [one for one in folders if not NOT_COMPARED.search(f"{(inside / one).as_posix()}/")]
        for name in names:
            path = (inside / name).as_posix()
            if Path(name).suffix in COMPARED and not NOT_COMPARED.search(path):
                yield path, Path(folder) / name


def _difference(one: Path, other: Path) -> str:
    """What is different in two files, as the end of a sentence; nothing where nothing is."""
    if one.read_bytes() == other.read_bytes():
        return ""
    ours, theirs = _content(one), _content(other)
    if ours.keys() != theirs.keys():
        return f"has other parts: {', '.join(map(str, sorted(ours.keys() ^ theirs.keys())))}"
    for name, first in ours.items():
        second, which = theirs[name], f" in {name}" if name else ""
        if first.dtype.kind == second.dtype.kind == "U":  # of text each has the width that it needs
            widest = np.promote_types(first.dtype, second.dtype)
            first, second = first.astype(widest), second.astype(widest)
        if (first.dtype, first.shape) != (second.dtype, second.shape):
            return f"differs{which}: {first.dtype} {first.shape} and {second.dtype} {second.shape}"
        if first.tobytes() != second.tobytes():
            places = np.flatnonzero((first != second).ravel())
            if not len(places):
                return f"differs{which} in the bits of values that are equal"
            values = " and ".join(str(values.ravel()[places[0]]) for values in (first, second))
            return f"differs{which} in {len(places):,} of {first.size:,} values, the first are {values}"
    return ""


def _content(file: Path) -> dict[str, np.ndarray]:
    """What of a file counts: arrays by name."""
    if file.suffix == ".npy":
        return {"": np.load(file)}
    if file.suffix == ".safetensors":
        return {
            f"{name}, {tensor['dtype']} {tensor['shape']}": np.frombuffer(tensor["data"], np.uint8)
            for name, tensor in deserialize(file.read_bytes())
        }
    if file.suffix == ".csv":
        with file.open(newline="", encoding="utf-8") as opened:
            names, *rows = csv.reader(opened)
        columns = zip(names, np.array(rows, str).reshape(-1, len(names)).T, strict=True)
        return {f"column {name}": column for name, column in columns if not TIME.search(name)}
    with Image.open(file) as image:
        return {f"pixels of {image.mode}": np.asarray(image)}


if __name__ == "__main__":
    sys.exit(main())
