from pathlib import Path

from multiblock.inference.evaluation import evaluate
from multiblock.training import checkpoint
from multiblock.workflow.jobs import device_of, job, trusted_code

with job(snakemake) as needed:
    if needed:
        evaluate(
            phase=int(snakemake.wildcards.phase),
            first=snakemake.params.first,
            last=snakemake.params.last,
            weights=Path(snakemake.input.weights),
            lr=Path(snakemake.input.lr[0]),
            cached=Path(snakemake.input.cached[0]),
            hr=Path(snakemake.input.hr[0]),
            border=snakemake.params.border,
            measures=snakemake.params.measures,
            device=device_of(snakemake).device,
            memory_gib=snakemake.config["inference"]["memory_gib"],
            trusted=trusted_code(snakemake),
            table=Path(snakemake.output.table),
            pictures=Path(snakemake.output.pictures),
        )
        # The phase stands: nothing has to go on from its last checkpoint any more.
        checkpoint.clear(Path(snakemake.input.weights).parent)
