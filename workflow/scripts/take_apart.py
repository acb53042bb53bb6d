from pathlib import Path

from multiblock.inference.evaluation import take_apart
from multiblock.workflow.jobs import device_of, job, trusted_code

with job(snakemake) as needed:
    if needed:
        take_apart(
            networks=dict(zip(snakemake.params.networks, map(Path, snakemake.input.weights), strict=True)),
            last=snakemake.params.last,
            lr=Path(snakemake.input.lr[0]),
            hr=Path(snakemake.input.hr[0]),
            border=snakemake.params.border,
            measures=snakemake.params.measures,
            device=device_of(snakemake).device,
            memory_gib=snakemake.config["inference"]["memory_gib"],
            trusted=trusted_code(snakemake),
            table=Path(snakemake.output.table),
            pictures=Path(snakemake.output.pictures),
            count=snakemake.params.images,
        )
