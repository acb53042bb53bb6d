from snakemake.settings.types import DeploymentMethod

from multiblock.workflow.start import start

try:
    started = start(config, sys.argv[1:], workflow)
except (UserError, OSError) as error:
    sys.exit(f"multiblock: error: {in_full(error)}")
except KeyboardInterrupt:  # while images are looked at
    sys.exit("multiblock: stopped")

study = started.study
RESULTS, STORE = started.folder, f"{started.folder}/store"
PHASES = range(1, max(len(run.plan.phases) for run in study.runs.values()) + 1)
ENVIRONMENT = "../../envs/conda.yaml"

# Named only where it is asked for: Snakemake looks at the path of an image even of runs that leave it alone.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    IMAGE = Path(str(workflow.current_basedir)).parents[1] / "envs/multiblock.sif"
    if not IMAGE.exists():
        sys.exit(f"multiblock: error: --sdm apptainer: {IMAGE}: no such file; docs/cluster.md says how it is made")

    container: str(IMAGE)


wildcard_constraints:
    digest="[0-9a-f]{20}",


# The folder of a result is called by the rule that makes it and by a digest of all that it is made of, which is known
# before anything runs (docs/store.md). Snakemake orders jobs by one file of each: made.json, which is written last.
def made(rule):
    """The mark of a result that a rule makes. It is kept where another workflow makes the same result meanwhile."""
    return update(f"{STORE}/{rule}-{{digest}}/made.json")


def log_of(rule):
    return f"{STORE}/{rule}-{{digest}}/job.log"


def reads(rule):
    """The marks of what a job of a rule reads."""
    return lambda wildcards: started.reads(f"{rule}-{wildcards.digest}")


def reported(rule, name, **about):
    """A file or folder that Snakemake's report shows."""
    path = f"{STORE}/{rule}-{{digest}}/{name}"
    return report(directory(path) if "patterns" in about else path, **about)


def of(rule):
    """The run that a result of a rule is of."""
    return lambda wildcards: started.run_of(f"{rule}-{wildcards.digest}")


def labels(rule, **named):
    """The labels of a file in Snakemake's report: its run, and others."""
    return lambda wildcards: {"run": of(rule)(wildcards), **named}


def gpus_of(rule):
    return lambda wildcards: started.gpus(f"{rule}-{wildcards.digest}")


def threads_of(rule):
    return lambda wildcards: started.threads(f"{rule}-{wildcards.digest}")


def table_of(rule):
    """The table of the run that a result of a rule is of, as Markdown."""
    return lambda wildcards: started.table_of(f"{rule}-{wildcards.digest}")
