import sys
from pathlib import Path

# The package is found without being installed; the jobs find it through the link beside the scripts.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
# The profile may have read files by another copy that is installed.
for name in [name for name in sys.modules if name.partition(".")[0] == "multiblock"]:
    if not str(sys.modules[name].__file__).startswith(sys.path[0]):
        del sys.modules[name]

from multiblock.config import load
from multiblock.errors import UserError, in_full
from multiblock.workflow.call import configuration
from multiblock.workflow.job import orders

# Given with --configfile, a study stands alone: what it leaves out is the schema's default, not config.yaml's. The
# files are read here once more than Snakemake does: it says no line, and takes the last of a key that is given twice.
try:
    given = workflow.remote_exec and orders().get("config")
    given = given or configuration(workflow.overwrite_configfiles, workflow.config_settings.config, sys.argv)
except (UserError, OSError) as error:
    sys.exit(f"multiblock: error: {in_full(error)}")

if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


config.clear()
config.update(given)
