"""Model folders that go to the hub."""

from pathlib import Path

from glu_prune.errors import CheckpointError, NotReadyError, first_line
from glu_prune.files import PARTIAL


def push(folder: Path, repository: str, *, public: bool = False) -> str:
    """Uploads all of `folder` to a repository of the hub, which is made if it is not there; the address of the commit.

    Raises:
        NotReadyError: nobody is logged in.
        CheckpointError: the hub refuses it or is not reached, or shows everyone what is not meant to be `public`.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    if not (token := get_token()):
        msg = "nobody is logged in to the hub; `hf auth login`, or give a token that may write in HF_TOKEN"
        raise NotReadyError(msg)
    api = HfApi(token=token)
    try:
        repository = api.create_repo(repository, private=not public, exist_ok=True).repo_id  # with its owner
        if not public and not api.repo_info(repository).private:
            msg = f"{repository} is there, and everyone sees it; say --public, or name another repository"
            raise CheckpointError(msg)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            ignore_patterns=[f"*{PARTIAL}"],
            commit_message="Upload a pruned model and its card",
        )
    except (HTTPError, OSError, ValueError) as error:  # ValueError: of names, and of what a store of files answers
        msg = f"{repository} was not written: {first_line(error).replace(token, '***')}"
        raise CheckpointError(msg) from error
    return str(done.commit_url)
