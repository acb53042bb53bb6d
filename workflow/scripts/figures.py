from pathlib import Path

from multiblock.report import figures
from multiblock.report.phases import TrainingFiles
from multiblock.report.strips import strips
from multiblock.report.tables import read
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        of = snakemake.params.of
        table = read(Path(snakemake.input.table), Path(snakemake.input.times))
        figures.psnr_by_phase(table, Path(snakemake.output.psnr))
        files = zip(of, map(Path, snakemake.input.histories), map(Path, snakemake.input.trained), strict=True)
        phases = {key: TrainingFiles(history=history, training=training) for key, history, training in files}
        figures.learning_curves(phases, Path(snakemake.output.curves))
        strips(
            lr=Path(snakemake.input.lr[0]),
            hr=Path(snakemake.input.hr[0]),
            pictures=dict(zip(of, map(Path, snakemake.input.pictures), strict=True)),
            measured=dict(zip(of, map(Path, snakemake.input.measured), strict=True)),
            titles=snakemake.params.titles,
            count=snakemake.params.images,
            zoom=snakemake.params.zoom,
            out=Path(snakemake.output.strips),
        )
