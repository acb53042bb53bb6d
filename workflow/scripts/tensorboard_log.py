from pathlib import Path

from multiblock.report.tensorboard import write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        write(
            dict(zip(snakemake.params.of, map(Path, snakemake.input.histories), strict=True)),
            Path(snakemake.output[0]),
        )
