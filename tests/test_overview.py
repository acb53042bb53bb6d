"""What is said before anything runs: what becomes of each phase, by content and not by the times of files."""

from multiblock.workflow.outlook import Job, outlook
from multiblock.workflow.overview import Overview, States
from test_sharing import Work, plan, study_of, work  # noqa: F401


def seen(work: Work, study, *forced: int) -> tuple[dict[int, str], str]:  # noqa: F811
    """What is said of each phase where Snakemake lists the training of all three, and of all together."""
    layout, on, records, _ = work.look(study)
    jobs = [Job(kind="train", rule=f"phase{n}_1", run="a", seed=1, phase=n, forced=n in forced) for n in (1, 2, 3)]
    overview = Overview(study=study, layout=layout, on=on, records=records, images={})
    states = States(overview, jobs)
    lines = list(overview.lines(states, outlook(states.jobs, layout, on), dry=True))
    run = study.runs["a"]
    counted = [line for line in lines if " to train, " in line]
    assert [f"phase{n}_1  1" in lines for n in (1, 2, 3)] == [True] * 3  # the jobs are listed all the same
    return {number: states.of(run, number)[0][1] for number in run.plan.numbers}, counted[0]


def test_listed_for_their_times_alone_trainings_stand(work):  # noqa: F811
    one = study_of({"a": plan()})
    work(one)
    assert seen(work, one) == ({1: "stands", 2: "stands", 3: "stands"}, "no phase to train, 3 other jobs to do")
    states, amount = seen(work, study_of({"a": plan(1e-3, 1e-3, 2e-3)}))
    assert states[1] == states[2] == "stands" and states[3].startswith("to train again: ")
    assert amount.startswith("1 phase to train, ")


def test_what_is_forced_is_trained_again_and_what_depends_on_it(work):  # noqa: F811
    one = study_of({"a": plan()})
    work(one)
    states, amount = seen(work, one, 2)
    assert states == {1: "stands", 2: "to train again: asked for", 3: "to train again: it depends on phase 2"}
    assert amount.startswith("2 phases to train, ")


def test_at_first_all_is_to_train(work):  # noqa: F811
    states, amount = seen(work, study_of({"a": plan()}))
    assert set(states.values()) == {"to train"} and amount.startswith("3 phases to train, ")
