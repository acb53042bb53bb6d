from multiblock.data.imageset import SPLITS
from multiblock.workflow.layout import TRAINED, image_set
from multiblock.workflow.start import start

try:
    started = start(config, sys.argv[1:], workflow)
except (UserError, OSError) as error:
    sys.exit(f"multiblock: error: {in_full(error)}")
except KeyboardInterrupt:  # while images are looked at, or speed is measured
    sys.exit("multiblock: stopped")

study, layout, on = started.study, started.layout, started.on
RESULTS, DATA, PHASE = layout.results, layout.data, layout.phase
PHASES = range(1, max(len(run.plan.phases) for run in study.runs.values()) + 1)
ENVIRONMENT = "../../envs/conda.yaml"


wildcard_constraints:
    data="|".join(study.data),
    run="|".join(study.runs),
    seed=r"\d+",
    phase=r"\d+",
    block=r"\d+",


def depends(folder, name, on):
    """The record of what a result depends on, as an input of its job; ``on`` gives that for the job's wildcards."""

    def record(wildcards):
        filled = {key: str(value) for key, value in wildcards.items()}
        place = layout.real(folder.format(**filled))
        try:
            return started.records.depends(place, name.format(**filled), lambda: on(wildcards))
        except (UserError, OSError) as error:  # a folder that is none, or cannot be written
            sys.exit(f"multiblock: error: {in_full(error)}")

    return record
