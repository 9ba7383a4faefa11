"""lighteval 0.13.0's command where no hub can be asked: `python run_lighteval.py accelerate ...`.

At its start it imports all of its tasks. One of them downloads its data then, unless they are there; another asks the hub
for a model, by a parameter that huggingface-hub 1.0 renamed. Neither task is run here.
"""

from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import HfApi

_list_models = HfApi.list_models


def _by_its_new_name(self: HfApi, model_name: str):
    return _list_models(self, search=model_name)


HfApi.list_models = _by_its_new_name
(Path(find_spec("lighteval").origin).parent / "tasks" / "tasks" / "tinyBenchmarks.pkl").touch()

from lighteval.__main__ import app  # noqa: E402

app()
