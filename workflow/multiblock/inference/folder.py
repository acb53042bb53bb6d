"""All pictures of a folder through a network, with a table of what was made; what stands is not made again."""

import csv
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multiblock.errors import printable
from multiblock.files import digest_of, write_text
from multiblock.inference import places, upscale
from multiblock.inference.places import Job
from multiblock.inference.progress import PictureBar
from multiblock.inference.upscale import Made, Upscaler

log = logging.getLogger(__name__)

COLUMNS = ("picture", "result", "width", "height", "kept", "not_kept")


def upscale_folder(
    upscaler: Upscaler,
    *,
    images: Path,
    table: Path,
    form: str,
    results: Path,
    about: str,
    made_of: Mapping[str, Any],
) -> None:
    """Upscale the pictures in ``images`` into the folder of ``table``, which is a CSV with a row a picture.

    Results that an earlier start made of the same pictures, as it would now, are kept; whatever else is there goes.

    Args:
        form: one of :data:`multiblock.inference.places.CHOICES`.
        results: a folder whose files are no pictures, should it lie in ``images``.
        about: what is said first.
        made_of: what all results depend on beside their pictures, as JSON has it.

    Raises:
        UserError: there are no pictures, or some failed; the others are done then, and the table is not written.
    """
    log.info("%s", about)
    jobs = places.plan([images], table.parent, form, overwrite=True, but=results).jobs
    with _Standing(table.parent, images, made_of) as standing:
        rows = {job.target: row for job in jobs if (row := standing.row(job))}
        standing.remove_all_but(set(rows))
        missing = [job for job in jobs if job.target not in rows]
        if rows and missing:
            log.info("%d of %d pictures are done already", len(rows), len(jobs))

        def done(made: Made) -> None:
            rows[made.job.target] = standing.add(made)
            log.info("%s", made)

        with PictureBar((job.source for job in missing), "upscaling") as bar:
            upscale.run(
                upscaler,
                missing,
                done=done,
                complain=lambda line: log.error("multiblock: error: %s", line),
                progress=bar.step,
            )
    write_text(table, _as_csv([rows[job.target] for job in jobs]))


class _Standing:
    """The results in a folder that stand, noted one by one as they are made.

    The first line of the notes is what all of them were made of; each further one has a row of the table, and the
    digests of picture and result.
    """

    def __init__(self, out: Path, images: Path, made_of: Mapping[str, Any]) -> None:
        self._out, self._images, self._file = out, images, out / ".pictures.jsonl"
        self._made_of = json.dumps(made_of, sort_keys=True)
        self._noted: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "_Standing":
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        if lines[:1] == [self._made_of]:
            for line in lines[1:]:
                try:
                    note = json.loads(line)
                except ValueError:  # it was killed while this was written
                    continue
                self._noted[note["row"][0]] = note
        self._out.mkdir(parents=True, exist_ok=True)
        text = [self._made_of, *(json.dumps(note) for note in self._noted.values())]
        write_text(self._file, "".join(f"{line}\n" for line in text))
        self._appended = self._file.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._appended.close()

    def row(self, job: Job) -> list[Any] | None:
        """The table's row of a picture whose result stands; None where there is none, or another."""
        note = self._noted.get(self._names(job)[0])
        if not note or note["row"][1] != self._names(job)[1] or not job.target.is_file():
            return None
        stands = note["picture"] == digest_of(job.source) and note["result"] == digest_of(job.target)
        return note["row"] if stands else None

    def add(self, made: Made) -> list[Any]:
        """Note a result; its row."""
        row = [*self._names(made.job), made.width, made.height, "; ".join(made.kept), "; ".join(made.lost)]
        note = {"row": row, "picture": digest_of(made.job.source), "result": digest_of(made.job.target)}
        self._appended.write(json.dumps(note) + "\n")
        self._appended.flush()
        return row

    def remove_all_but(self, kept: set[Path]) -> None:
        """Remove what is in the folder but for these results and the notes, and folders that are empty then."""
        for path in sorted(self._out.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in kept and path != self._file:
                path.unlink()

    def _names(self, job: Job) -> tuple[str, str]:
        places = job.source.relative_to(self._images), job.target.relative_to(self._out)
        return printable(str(places[0])), printable(str(places[1]))


def _as_csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()
