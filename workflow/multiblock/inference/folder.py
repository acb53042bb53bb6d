"""All pictures of a folder through a network, with a table of what was made; what was made there before goes."""

import csv
import io
import logging
import shutil
from pathlib import Path

from multiblock.files import write_text
from multiblock.inference import places, upscale
from multiblock.inference.progress import PictureBar
from multiblock.inference.upscale import Made, Upscaler

log = logging.getLogger(__name__)

COLUMNS = ("picture", "result", "width", "height", "kept", "not_kept")


def upscale_folder(upscaler: Upscaler, images: Path, table: Path, form: str, results: Path, about: str) -> None:
    """Upscale the pictures in ``images`` into the folder of ``table``, which is a CSV with a row a picture.

    Args:
        form: one of :data:`multiblock.inference.places.CHOICES`.
        results: a folder whose files are no pictures, should it lie in ``images``.
        about: what is said first.

    Raises:
        UserError: there are no pictures, or some failed; the others are done then, and the table is not written.
    """
    log.info("%s", about)
    shutil.rmtree(table.parent, ignore_errors=True)
    jobs = places.plan([images], table.parent, form, but=results).jobs
    with PictureBar((job.source for job in jobs), "upscaling") as bar:
        made = upscale.run(
            upscaler,
            jobs,
            done=lambda made: log.info("%s", made),
            complain=lambda line: log.error("multiblock: error: %s", line),
            progress=bar.step,
        )
    write_text(table, _as_csv(made, images, table.parent))


def _as_csv(made: list[Made], images: Path, out: Path) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in made:
        names = (one.job.source.relative_to(images), one.job.target.relative_to(out))
        writer.writerow([*names, one.width, one.height, "; ".join(one.kept), "; ".join(one.lost)])
    return text.getvalue()
