from pathlib import Path

from multiblock.files import write_text
from multiblock.report import figures
from multiblock.report.comparison import comparison
from multiblock.report.comparison_markdown import as_markdown
from multiblock.report.curves import looks
from multiblock.report.phases import TrainingFiles
from multiblock.report.tables import read, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params, out = snakemake.params, {name: Path(file) for name, file in snakemake.output.items()}
        files = zip(map(Path, snakemake.input.tables), map(Path, snakemake.input.times), strict=True)
        tables = {run: read(*both) for run, both in zip(params.measured, files, strict=True)}
        measured = {
            run: dict(zip(params.seeds, map(Path, files), strict=True)) for run, files in params.measured.items()
        }
        phases = {
            run: {
                (seed, phase): TrainingFiles(
                    history=Path(folder, "history.csv"), training=Path(folder, "training.json")
                )
                for seed, folders in zip(params.seeds, seeds, strict=True)
                for phase, folder in enumerate(folders, 1)
            }
            for run, seeds in params.phases.items()
        }
        seen = looks(phases, tables)
        compared = comparison(tables, measured, seen, params.baseline, params.pairs)
        write(compared.runs, ["run"], out["csv"], out["times"])
        write(seen, ["run", "seed", "phase", "iteration"], out["looks"], out["looks_times"])
        write_text(out["differences"], compared.differences.to_csv(index=False))
        write_text(out["markdown"], as_markdown(compared))
        figures.differences(compared, out["plot"])
        figures.curves(seen, compared, "block_pixels", out["curves"])
        figures.curves(seen, compared, "seconds", out["curves_times"])
