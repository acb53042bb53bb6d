from pathlib import Path

from multiblock.page.run import page
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, files, out = snakemake.params, snakemake.input, snakemake.output
        page(
            run=snakemake.wildcards.run,
            table=Path(files.table),
            times=Path(files.times),
            phases=dict(zip(params.of, (Path(file).parent for file in files.trained), strict=True)),
            lr=Path(files.lr[0]),
            hr=Path(files.hr[0]),
            titles=params.titles,
            border=params.border,
            plan=params.plan,
            side=params.zoom,
            out=Path(out.page),
            small=Path(out.small),
        )
