from pathlib import Path

from multiblock.data.convert import convert
from multiblock.jobs import job

with job(snakemake):
    convert(
        snakemake.params.data,
        hr=Path(snakemake.output.hr[0]).parent,
        lr=Path(snakemake.output.lr[0]).parent,
    )
