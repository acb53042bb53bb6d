"""Which code a result depends on."""

from pathlib import Path

from multiblock.workflow import code_digest


def names(module: str) -> set[str]:
    """The package's files that a module imports, directly or not."""
    found, waiting = set(), [code_digest.module(module)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += code_digest._imports(file)
    return {str(file.relative_to(code_digest.PACKAGE)) for file in found}


def test_training_depends_on_the_loop_and_not_on_reports_or_the_config():
    training = names("training.loop")
    assert {"training/loop.py", "training/losses.py", "data/sampler.py", "chain.py", "plan.py"} <= training
    assert not training & {"figures.py", "tables.py", "evaluation.py", "config.py", "cli.py", "data/convert.py"}
    assert not {name for name in training if name.startswith("networks/") and name != "networks/__init__.py"}
    # A new entry of the zoo, or a new form of published weights, is no reason to train again.
    assert not training & {"zoo.py", "published.py", "complexity.py", "budget.py"}


def test_dependencies_point_one_way():
    for pure in ("plan", "metrics"):
        assert names(pure) <= {f"{pure}.py", "errors.py"}
    for below in names("networks") | names("data.sampler") | names("data.sources"):
        assert not below.startswith(("training/", "config.py", "evaluation.py"))


def test_there_are_no_circular_imports():
    files = list(code_digest.PACKAGE.rglob("*.py"))
    state: dict[Path, str] = {}

    def visit(file: Path, way: tuple[Path, ...]) -> None:
        assert state.get(file) != "open", f"circular: {[f.name for f in (*way, file)]}"
        if file in state:
            return
        state[file] = "open"
        for imported in set(code_digest._imports(file)) - {file}:
            visit(imported, (*way, file))
        state[file] = "done"

    for file in files:
        visit(file, ())


def written(file: Path, text: str) -> str:
    file.write_text(text)
    for cached in (code_digest._tree, code_digest._imports, code_digest._code, code_digest.of_code):
        cached.cache_clear()
    return code_digest.of_code(file)


def test_comments_and_docstrings_do_not_count_and_code_does(tmp_path):
    file = tmp_path / "block.py"
    plain = written(file, "def f(x):\n    return x + 1\n")
    assert written(file, '"""About."""\n# why\ndef f(x):\n    """What."""\n    return (x + 1)\n') == plain
    assert written(file, "def f(x):\n    return x + 2\n") != plain


def test_what_is_imported_counts(tmp_path):
    file = tmp_path / "block.py"
    alone = written(file, "x = 1\n")
    assert written(file, "from multiblock.metrics import psnr_rgb\nx = 1\n") != alone
    assert code_digest.module("metrics") in code_digest._imports(file)


def test_strings_that_explain_constants_do_not_count(tmp_path):
    file = tmp_path / "block.py"
    assert written(file, 'SIDE = 3\n"""In pixels."""\n') == written(file, "SIDE = 3\n")
    assert written(file, 'SIDE = """3"""\n') != written(file, "SIDE = 3\n")
