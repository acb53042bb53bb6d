from pathlib import Path

from multiblock.data.convert import enlarge
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        enlarge(
            Path(snakemake.input[0]).parent,
            Path(snakemake.output[0]).parent,
            snakemake.params.scale,
            threads=snakemake.threads,
            code=snakemake.params.code,
        )
