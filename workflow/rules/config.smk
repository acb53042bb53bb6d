import sys
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

# The package beside these rules serves, and not one that is installed, here and in all processes that are started from
# here. Only where these rules are a module that Snakemake fetches from a repository, file by file, an installed one does.
if isinstance(workflow.current_basedir, PathLike):
    sys.path.insert(0, str(Path(workflow.current_basedir).parent))
    # The profile may have read files by another copy that is installed.
    for name in [name for name in sys.modules if name.partition(".")[0] == "multiblock"]:
        if not str(sys.modules[name].__file__).startswith(sys.path[0]):
            del sys.modules[name]
    from multiblock.workflow.call import find_first

    find_first(sys.path[0])
elif not find_spec("multiblock"):
    sys.exit(
        "multiblock: error: module: rules that are fetched from a repository come without the package; install it from a "
        "checkout of the same commit: pip install --no-deps CHECKOUT"
    )

from multiblock.config import load
from multiblock.errors import UserError, in_full
from multiblock.workflow.call import configuration, handed, is_module
from multiblock.workflow.job import orders

# As a module, the workflow goes by the config that it is handed. Given with --configfile, a study stands alone: what it
# leaves out is the schema's default, not config.yaml's. The files are read here once more than Snakemake does: it says
# no line, and takes the last of a key that is given twice.
try:
    given = workflow.remote_exec and orders().get("config")
    given = given or (
        handed(config, workflow)
        if is_module(workflow)
        else configuration(workflow.overwrite_configfiles, workflow.config_settings.config, sys.argv)
    )
except (UserError, OSError) as error:
    sys.exit(f"multiblock: error: {in_full(error)}")

if not (workflow.overwrite_configfiles or is_module(workflow)):

    configfile: "config.yaml"


config.clear()
config.update(given)
