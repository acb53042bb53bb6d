from pathlib import Path

from multiblock.files import write_text
from multiblock.report.strips import residuals
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        table = residuals(
            lr=Path(snakemake.input.lr[0]),
            hr=Path(snakemake.input.hr[0]),
            pictures=dict(zip(snakemake.params.of, map(Path, snakemake.input.pictures), strict=True)),
            count=snakemake.params.images,
            zoom=snakemake.params.zoom,
            out=Path(snakemake.output.maps),
        )
        write_text(Path(snakemake.output.csv), table.to_csv(index=False))
