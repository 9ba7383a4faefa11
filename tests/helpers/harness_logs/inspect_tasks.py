"""Tasks of inspect, of which logs are read in tests; `write.sh` runs them."""

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, PARTIAL, Score, accuracy, exact, mean, scorer, stderr
from inspect_ai.solver import generate, prompt_template

from tests.helpers.harness_logs.items import recall, sums

ASKED = prompt_template("Question: {prompt}\nAnswer:")


@scorer(metrics=[accuracy(), stderr()])
def graded():
    """Right, right in its first letter, wrong, or no answer."""

    async def score(state, target):
        said, right = state.output.completion.strip(), target.text
        grade = CORRECT if said == right else PARTIAL if said[:1] == right[:1] else INCORRECT if said else NOANSWER
        return Score(value=grade, answer=said)

    return score


@scorer(metrics={"letters": [mean()], "words": [mean(), stderr()]})
def counted():
    """Two numbers of the answer."""

    async def score(state, target):
        said = state.output.completion.strip()
        return Score(value={"letters": len(said), "words": len(said.split())})

    return score


@task
def recalls():
    """Facts, asked once, scored in three ways."""
    samples = [Sample(input=each["question"], target=each["answer"], id=f"fact-{n}") for n, each in enumerate(recall())]
    return Task(
        dataset=samples,
        solver=[ASKED, generate()],
        scorer=[exact(), graded(), counted()],
        config=GenerateConfig(max_tokens=8, temperature=0.001, stop_seqs=["\n"]),
    )


@task
def additions():
    """Sums, asked twice each, with answers that are drawn."""
    samples = [Sample(input=each["question"], target=each["answer"]) for each in sums()]
    return Task(
        dataset=samples,
        solver=[ASKED, generate()],
        scorer=exact(),
        epochs=Epochs(2, "mean"),
        config=GenerateConfig(max_tokens=8, temperature=1.0, seed=1, stop_seqs=["\n"]),
    )
