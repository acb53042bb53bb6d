from pathlib import Path

from multiblock.report.curves import tensorboard
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        tensorboard(
            dict(zip(snakemake.params.of, map(Path, snakemake.input.histories), strict=True)),
            Path(snakemake.output[0]),
        )
