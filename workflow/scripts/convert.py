from pathlib import Path

from multiblock.config.study import load
from multiblock.data.convert import convert
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        # The data set comes from the config, not as a parameter: images that only moved are the same images.
        convert(
            load(snakemake.config).data[snakemake.wildcards.data],
            hr=Path(snakemake.output.hr[0]).parent,
            lr=Path(snakemake.output.lr[0]).parent,
            threads=snakemake.threads,
            code=snakemake.params.code,
        )
