"""Downloads what a run of expectation files lacks, so that later it needs no connection."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from glu_prune.errors import GluPruneError, ModelNotFoundError, first_line
from glu_prune.evaluation import lm_eval_tasks, local_data
from glu_prune.evaluation.evaluate import is_embedded
from glu_prune.models.fetchable import FETCHABLE, fetch
from glu_prune.models.source import snapshot
from glu_prune.readiness.check import CheckResult, table
from glu_prune.readiness.data import cached, items, sentences
from glu_prune.readiness.loggers import errors_only
from glu_prune.readiness.models import from_hub, model
from glu_prune.readiness.requirements import RequiredModel, Requirements, requirements_of_files
from glu_prune.report.table import wrapped

_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))
"""What a system says when it writes no more."""
_HUB, _NLTK, _INDEX = "hub", "nltk", "package index"
"""Where things come from."""


@dataclass(frozen=True)
class _Item:
    """Something that may have to be fetched."""

    check: Callable[[], CheckResult]
    fetch: Callable[[], object] | None
    """None for what is nowhere to be had."""
    source: str = _HUB


def prefetch(files: Sequence[Path]) -> tuple[str, bool]:
    """Fetches what `files` need and this machine lacks: a table of what is here now, and whether all is.

    Raises:
        ExpectationError: a file is missing, no YAML, or says something that is not allowed.
    """
    unreached: dict[str, str] = {}
    found = [_fetched(item, unreached) for item in _items(requirements_of_files(files))]
    lacking = [each.what for each in found if each.missing]
    if lacking:
        said = f"missing: {', '.join(lacking)}; what was fetched stays, and is not fetched again"
    else:
        said = "all of it is here; a run with --glu-offline opens no connection"
    return f"{table(found)}\n\n{wrapped(said)}", not lacking


def _items(wanted: Requirements) -> Iterator[_Item]:
    for each in wanted.models:
        yield _Item(partial(model, each), *_fetching(each))
    for task in wanted.tasks:
        elsewhere = not local_data.serves(task)
        if not is_embedded(task):
            yield _Item(partial(items, task), partial(_load, task) if elsewhere else None)
        if any(sentences(task)):
            yield _Item(partial(_sentences, task), _download_sentences if elsewhere else None, _NLTK)


def _fetching(required: RequiredModel) -> tuple[Callable[[], object] | None, str]:
    """What fetches a model, and from where; nothing fetches one whose terms a user has to accept first."""
    known = FETCHABLE.get(required.name)
    if known is not None:
        return None if known.terms else partial(fetch, known), _INDEX
    return partial(snapshot, required.name, required.revision) if from_hub(required.name) else None, _HUB


def _sentences(task: str) -> CheckResult:
    return next(sentences(task))


def _fetched(item: _Item, unreached: dict[str, str]) -> CheckResult:
    """What is needed as it is after an attempt to fetch it, unless it was ready or cannot be fetched.

    `unreached` are sources to which there is no connection, with what mends that: they are not tried again, as
    libraries try for half a minute.
    """
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    before = item.check()
    if not before.missing or item.fetch is None:
        return before
    if item.source in unreached:
        return replace(before, detail="not tried, as there is no connection", remedy=unreached[item.source])
    try:
        with errors_only():
            item.fetch()
    except ModelNotFoundError as error:
        return replace(before, detail=str(error))
    except GluPruneError:
        return before
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        why, remedy = _explained(error, item.source)
        if remedy and _is_cut_off(why):
            unreached[item.source] = remedy
        return replace(before, detail=first_line(why), remedy=remedy or before.remedy)
    after = item.check()
    return after if after.missing else replace(after, detail=f"fetched: {after.detail}")


def _is_cut_off(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    return isinstance(error, HTTPError | ConnectionError) and not isinstance(error, HfHubHTTPError)


def _load(task: str) -> None:
    """Has `datasets` fetch all that lm-eval will ask it for."""
    from datasets import load_dataset

    for each in lm_eval_tasks.datasets_of(task, local_data.stock_folder(task)):
        if not cached(each):
            load_dataset(each.path, each.name, **dict(each.settings))


def _download_sentences() -> None:
    from nltk.downloader import Downloader

    try:
        Downloader().download("punkt_tab", quiet=True, raise_on_error=True, print_error_to=_Nowhere())
    except ValueError as error:  # it tells every failure like this
        raise (OSError if _is_full(error) else ConnectionError)(str(error)) from error


class _Nowhere:
    """A stream that drops what is written to it."""

    def write(self, _: str) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""


def _is_full(error: BaseException) -> bool:
    return any(words in str(error) for words in _FULL)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explained(error: BaseException, source: str) -> tuple[BaseException, str | None]:
    """What in the chain of `error` says most, and what mends it; None if only the need itself says that."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    address, variable, folder = _place(source)
    remedies = (
        (GatedRepoError, f"it is gated: ask for access on its page at {address}, and log in with `hf auth login`"),
        (RevisionNotFoundError, "correct `revision:` in the file"),
        (RepositoryNotFoundError, "correct the name in the file; or, if it is private, log in with `hf auth login`"),
        (HfHubHTTPError, f"{address} did not give it; try again later"),
        (OfflineModeIsEnabled, "unset HF_HUB_OFFLINE and its like"),
        ((HTTPError, ConnectionError), f"connect this machine to {address}; or prefetch on another, and copy {folder}"),
    )
    for each in _chain(error):
        if _is_full(each):
            return each, f"make room on the disk of {folder}, or set {variable} to a folder with more"
    found = ((each, remedy) for kinds, remedy in remedies for each in _chain(error) if isinstance(each, kinds))
    return next(found, (error, None))


def _place(source: str) -> tuple[str, str, str]:
    """Where a source is, and where what comes from it is kept: the variable that names the folder, and the folder."""
    from huggingface_hub import constants
    from nltk.downloader import Downloader

    if source == _HUB:
        return constants.ENDPOINT, "HF_HOME", constants.HF_HOME
    return Downloader.DEFAULT_URL, "NLTK_DATA", Downloader().default_download_dir()
