from pathlib import Path

from multiblock.files import write_text
from multiblock.report.blocks import as_markdown, by_block, strips
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        of, output, params = snakemake.params.of, snakemake.output, snakemake.params
        table = by_block(dict(zip(of, map(Path, snakemake.input.measured), strict=True)))
        write_text(Path(output.csv), table.to_csv(index=False))
        write_text(Path(output.markdown), as_markdown(table, snakemake.wildcards.run, params.border))
        strips(
            table,
            lr=Path(snakemake.input.lr[0]),
            hr=Path(snakemake.input.hr[0]),
            pictures=dict(zip(of, map(Path, snakemake.input.pictures), strict=True)),
            count=params.images,
            zoom=params.zoom,
            out=Path(output.strips),
        )
