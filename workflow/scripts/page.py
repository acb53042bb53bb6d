import os
from pathlib import Path

from multiblock.page.pages import run_page
from multiblock.report.phases import PhaseFiles
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, files, out = snakemake.params, snakemake.input, snakemake.output
        names = ("histories", "trained", "measured", "pictures")
        phases = {
            key: PhaseFiles(history=history, training=training, measured=measured, pictures=pictures)
            for key, history, training, measured, pictures in zip(
                params.of, *(map(Path, getattr(files, name)) for name in names), strict=True
            )
        }
        linked = {"tables": [files.table, files.times]}
        linked |= {f"seed {seed}, phase {p}": [of.measured, of.history] for (seed, p), of in phases.items()}
        run_page(
            run=snakemake.wildcards.run,
            table=Path(files.table),
            times=Path(files.times),
            phases=phases,
            lr=Path(files.lr[0]),
            hr=Path(files.hr[0]),
            titles=params.titles,
            border=params.border,
            plan=params.plan,
            side=params.zoom,
            links={of: [os.path.relpath(file, Path(out.page).parent) for file in each] for of, each in linked.items()},
            out=Path(out.page),
            small=Path(out.small),
        )
