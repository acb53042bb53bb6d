import sys
from dataclasses import asdict
from pathlib import Path

# The package is found without being installed; the jobs find it through the link beside the scripts.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from multiblock import config as configuration
from multiblock.workflow import code_digest
from multiblock.networks import registry
from multiblock.data.imageset import SPLITS
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError, one_line
from multiblock.workflow.jobs import start_jobs
from multiblock.plan import INPUT, CachedSet

try:
    config.update(configuration.checked(config))
    study = configuration.load(config)
    inspection = Inspection(Path(study.results, "data", "inspection.json"))
    IMAGES = {name: inspect(data, inspection, study.largest_patch(name)) for name, data in study.data.items()}
except (UserError, OSError) as error:
    sys.exit(f"multiblock: error: {one_line(error)}")

start_jobs()

RESULTS = study.results
DATA = f"{RESULTS}/data/{{data}}"
PHASE = f"{RESULTS}/{{run}}/seed{{seed}}/phase{{phase}}"
PHASES = range(1, max(len(run.plan.phases) for run in study.runs.values()) + 1)
ENVIRONMENT = "../../envs/conda.yaml"


wildcard_constraints:
    data="|".join(study.data),
    run="|".join(study.runs),
    seed=r"\d+",
    phase=r"\d+",
    block=r"\d+",


def plan_of(wildcards):
    return study.runs[wildcards.run].plan


def data_of(wildcards):
    return study.runs[wildcards.run].data


def image_set(folder, splits=SPLITS):
    """The files of an image set: for each split its array and its index."""
    return [f"{folder}/{split}.{ending}" for split in splits for ending in ("npy", "csv")]


def phase_folder(wildcards, phase):
    return PHASE.format(run=wildcards.run, seed=wildcards.seed, phase=phase)


def weights_of(wildcards, phase):
    return f"{phase_folder(wildcards, phase)}/weights.safetensors"


def hr_folder(wildcards):
    return f"{RESULTS}/data/{data_of(wildcards).name}/HR"


def input_folder(wildcards):
    """Folder of LR_0 in the form that the run's chain starts from."""
    run = study.runs[wildcards.run]
    return f"{RESULTS}/data/{run.data.name}/{run.input}"


def cached_folder(wildcards):
    """Folder of the set that the phase reads."""
    made = plan_of(wildcards).reads_set(int(wildcards.phase))
    if made.phase == INPUT:
        return input_folder(wildcards)
    return f"{phase_folder(wildcards, made.phase)}/LR_{made.block}"


def source_of(module, wildcards=None):
    """Digest of the code of a module, and of the networks in the phase's chain, where a phase is given."""
    files = [code_digest.module(module)]
    if wildcards:
        blocks = plan_of(wildcards).task(int(wildcards.phase), 0).blocks
        files += sorted({registry.source(block.network) for block in blocks})
    return code_digest.of_code(*files)


def seeds_and_phases(run, upto=None):
    """All (seed, phase) of a run, or those of its phases 1..upto."""
    return [(seed, phase) for seed in study.seeds for phase in study.runs[run].plan.numbers if phase <= (upto or phase)]


def phase_files(run, name, upto=None):
    """One file of each phase of each seed."""
    return [f"{PHASE.format(run=run, seed=seed, phase=phase)}/{name}" for seed, phase in seeds_and_phases(run, upto)]


def set_blocks(wildcards):
    """The blocks that make LR_k of a phase, each with the phase whose weights it has."""
    made = CachedSet(phase=int(wildcards.phase), block=int(wildcards.block))
    return plan_of(wildcards).set_weights(made)


def task_of(wildcards):
    """What the phase has to do, as plain values: Snakemake takes no notice of a change in any others."""
    return asdict(plan_of(wildcards).task(int(wildcards.phase), int(wildcards.seed)))


def training_settings(wildcards):
    """What training depends on beside its task; times and memory are left out, as they change no weights."""
    keys = ("keep", "history_every", "validate_every")
    return {
        **{key: getattr(study, key) for key in ("device", "precision", "layout", "compile", "deterministic")},
        **{key: study.training[key] for key in keys},
        "source": source_of("training.trainer", wildcards),
    }


def strip_titles(wildcards):
    """What a phase made, as the study writes it, by phase."""
    return {phase: plan_of(wildcards).title(phase) for phase in plan_of(wildcards).numbers}


def run_reports(run):
    """The files that a finished run ends in."""
    return [f"{RESULTS}/{run}/psnr_by_phase.{ending}" for ending in ("csv", "md", "png")] + [
        f"{RESULTS}/{run}/learning_curves.png",
        f"{RESULTS}/{run}/strips",
    ]


def last_measured(run):
    """What the last phase of a run gave, a file a seed."""
    last = len(study.runs[run].plan.phases)
    return [f"{PHASE.format(run=run, seed=seed, phase=last)}/psnr.csv" for seed in study.seeds]


def histories_by_seed(run):
    """The histories of a run's phases, a list a seed."""
    phases = study.runs[run].plan.numbers
    return [
        [f"{PHASE.format(run=run, seed=seed, phase=phase)}/history.csv" for phase in phases] for seed in study.seeds
    ]


def study_reports():
    """What stands above the runs: the comparison, where there is something to compare, and the budget."""
    files = [f"{study.name}_comparison.csv", f"{study.name}_losses.csv"] if len(study.runs) > 1 else []
    files += [f"{study.name}_budget.csv"] if "budget_gflops" in study.report else []
    return [f"{RESULTS}/{file}" for file in files]
