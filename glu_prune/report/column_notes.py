"""What the columns of tables mean, and in which units they are: for people who read files, and for the reference."""

from collections.abc import Iterator

from glu_prune.report.table import Column
from glu_prune.report.tables import TABLES

_METRIC = "in units of the metric"
_CHANGE = f"{_METRIC}; nats for perplexities"
_LIMITS = {
    "low": "lower limit of its 95 % interval",
    "high": "upper limit of its 95 % interval",
    "sd": "its standard deviation",
}
_ABOUT = {
    "model": "name of the model; `(chat)`: asked in its chat template",
    "ratio": "share of neurons removed, or the name of an arm that has one; 0: dense",
    "capability": "what is measured",
    "metric": "of lm-eval, and whether a lower one is better",
    "items": "items that both arms answered",
    "of": "which kind of answers without content scores the floor",
    "floor": f"the best score of answers without content, {_METRIC}",
    "dense": "score of the dense model; of costs: the figure, in its unit",
    "pruned": "the same of the pruned model",
    "delta": f"pruned - dense (now - before) on the same items, {_CHANGE}",
    "low": f"lower limit of the 95 % interval of the change or value, {_CHANGE}; of costs in percent",
    "high": "upper limit of the same",
    "p": "of the claim's own test",
    "p, ratios": "the same, corrected for the ratios at which the claim is made (Bonferroni); it decides",
    "p, file": "the same, corrected for all claims at ratios of the file (Holm)",
    "claim": "what is claimed",
    "verdict": "confirmed, refuted, artefact or inconclusive, and what was declared where that is another",
    "note": "what else must be known, in a few words",
    "better": "items that got better",
    "worse": "items that got worse",
    "keep": "capabilities that are to be kept, and what each may lose",
    "minimise": "the cost that is to be small",
    "chosen": "the arm of least cost among those that are certified",
    "cost": "its cost, in the unit of what is minimised",
    "certified": "how many candidates are certified",
    "candidates": "how many were tried",
    "confidence": "least probability that all that are certified keep what they are to keep",
    "other answers": "share of items whose answer is another one than the dense model's, right or wrong",
    "commonest answer": "the answer given most often, and its share, dense and pruned",
    "margin, nats": "mean log-likelihood of the best right choice minus the best wrong one, dense and pruned",
    "tokens": "mean tokens of a text, dense and pruned",
    "flawed": "share of texts that are empty, loop, echo the prompt or are cut, dense and pruned",
    "kinds": "how many texts have which flaw, dense and pruned",
    "score without": f"scores over items where both texts have no flaw, dense and pruned, {_METRIC}",
    "over": "how many items those are",
    "delta at matched length": f"change over items whose texts are as long as before, within 5 %, {_CHANGE}",
    "of matched length": "how many items those are",
    "by": "field of an item by which groups are made",
    "group": "the group",
    "distance": "flips, or kl",
    "value": "share of items (flips), or nats per token (kl)",
    "at most": "what is claimed, in the same unit",
    "arm": "dense, or criterion and ratio, as in ppm-0.5",
    "before": f"score in the baseline, {_METRIC}",
    "now": f"score in this run, {_METRIC}",
    "finds": "the smallest worsening that is found in four of five runs",
    "items that changed": "names of a few items that got worse, or better if none did",
    "noise band": "change that two runs of one model show",
    "margin": "change that the file allows",
    "outcome": "improved, unchanged, allowed, not shown, regressed, incomparable or missing",
    "ratios": "ratios of the claim, the curve or the finding",
    "found": "the statistics, in words",
    "because": "reasons of the verdict",
    "criterion": "by which neurons were ranked",
    "score": f"score at this ratio, {_METRIC}",
    "band low": f"lower limit of the change that holds at all ratios of the curve at once (95 %), {_CHANGE}",
    "band high": "upper limit of the same",
    "chance": "score of guessing",
    "units": "independent items, or clusters of items",
    "figure": "figure of cost",
    "pairs of runs": "runs of dense and pruned model that are compared",
    "change, %": "change from the dense model, percent",
    "check": "what was looked for",
    "about": "column, workload, or task and metric",
    "finding": "what was found",
    "workload": "prompt tokens, new tokens and batch size, as in p64_n32_b8, or its name",
    "unit": "of the figure",
    "n": "rounds or processes",
    "dense again, %": "the same change of a copy of the dense model: what the machine does",
    "how": "clock, counter or model by which the figure was obtained",
    "channel": "cpu, gpu or ram",
    "J per token": "joules per new token",
    "idle, W": "watts while idling",
    "net J per token": "joules per new token, less what idling takes",
    "energy is": "counter by which energy was read; modelled: assumed power x time",
    "runs": "published runs of which this is the mean",
    "width": "neurons of a block",
    "expansion ratio": "width over hidden size",
    "parameters": "of the whole model",
    "dtype": "of the weights while they answered",
    "MB": "megabytes of the weights",
    "tokens/s": "over the likelihood tasks, in which all arms do the same work",
    "J per 1000 tokens": "joules, over the same",
    "others": "share of the machine's processors that other processes used meanwhile",
}
_OF_CHANNELS = {
    " J per token": "joules per new token of one channel; rest: of none",
    " J": "joules of one channel in all",
}


def about(heading: str) -> str:
    """What the column of a file with that heading means; raises `KeyError` if nobody has said it."""
    for name, meaning in _ABOUT.items():
        if heading == name:
            return meaning
    for part, limit in _LIMITS.items():
        if heading.endswith(f" {part}"):
            return f"{about(heading.removesuffix(f' {part}'))}: {limit}"
    for ending, meaning in _OF_CHANNELS.items():
        if heading.endswith(ending):
            return meaning
    raise KeyError(heading)


def documented(table: str) -> Iterator[tuple[str, str]]:
    """(heading, meaning) of each column of a table's files, but those that users or controls add."""
    yield "model", about("model")
    columns: tuple[Column[object], ...] = TABLES[table].own_columns([])
    for column in columns:
        for heading in column.headings:
            yield heading, about(heading)
