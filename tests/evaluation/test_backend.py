"""How a backend is named and checked, what is passed to it, and what becomes of its errors."""

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry
from lm_eval.models.openai_completions import LocalCompletionsAPI

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import backend as module
from glu_prune.evaluation.backend import Backend
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.third_party import errors_as_one_line, muted
from glu_prune.models.source import load as load_model
from glu_prune.models.source import load_tokenizer, locate

SETTINGS = {"dtype": "float32", "device": "cpu", "batch_size": 4}
SOURCE = locate("tiny-base")


class Listener(LM):
    """Remembers what it was made with; answers nothing."""

    def __init__(
        self,
        pretrained: str,
        tokenizer: str | None = None,
        dtype: str = "auto",
        batch_size: int = 1,
        loud: bool = False,
    ) -> None:
        super().__init__()
        self.made_with = {
            "pretrained": pretrained,
            "tokenizer": tokenizer,
            "dtype": dtype,
            "batch_size": batch_size,
            "loud": loud,
        }
        sys.stdout.write("a banner")
        sys.stdout.fileno()

    def loglikelihood(self, requests):
        raise NotImplementedError

    loglikelihood_rolling = generate_until = loglikelihood


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict:
    """lm-eval's registry with `listener` in it; as before afterwards."""
    import lm_eval.models  # noqa: F401

    names = {**model_registry._objs, "listener": Listener}
    monkeypatch.setattr(model_registry, "_objs", names)
    return names


def load(text: str):
    tokenizer = load_tokenizer(SOURCE)
    return Backend.parse(text).load("tiny-base dense", SOURCE.folder, tokenizer, SETTINGS)


KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda key: key not in module._OURS)
VALUES = st.from_regex(r"[A-Za-z0-9./=:{}-]{1,8}", fullmatch=True)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_written_is_read(name, arguments):
    text = ",".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    assert Backend.parse(text) == Backend(name, tuple(arguments.items()))
    assert Backend.parse(text.replace(",", " , ")) == Backend.parse(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "backend '' has no name; write NAME or NAME,key=value,..., such as hf"),
        ("a=b", "backend 'a=b' has no name"),
        (",a=b", "backend ',a=b' has no name"),
        ("hf,", "backend 'hf,' is not allowed at ''; write NAME or NAME,key=value,... with each key once"),
        ("hf,a", "not allowed at 'a'"),
        ("hf,a=", "not allowed at 'a='"),
        ("hf,=b", "not allowed at '=b'"),
        ("hf,a-b=c", "not allowed at 'a-b=c'"),
        ("hf,a=b,a=c", "not allowed at 'a=c'"),
        ("hf,pretrained=x", "must not set pretrained: it is the model that is evaluated"),
        ("hf,tokenizer=x", "must not set tokenizer: "),
        ("hf,dtype=auto", "must not set dtype: set it with --glu-dtype"),
        ("hf,device=cuda", "must not set device: set it with --glu-device"),
        ("hf,trust_remote_code=True", "must not set trust_remote_code: code that comes with a model is never run"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(text, complaint):
    with pytest.raises(EvaluationError) as error:
        Backend.parse(text)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("vlm", r"^lm-eval has no backend 'vlm'; did you mean 'vllm'\? it has: .*hf, .*listener, .*vllm, "),
        ("zzz", "^lm-eval has no backend 'zzz'; it has: anthropic-chat, "),
        ("listener,volume=3", "^backend 'listener' takes no argument 'volume'; it takes: batch_size, loud$"),
        ("local-completions", r"^backend 'local-completions' loads no model from a folder \(no argument pretrained, or "),
        ("dummy", "^backend 'dummy' loads no model from a folder"),
        ("missing", r"^backend 'missing' cannot be imported: ModuleNotFoundError: No module named 'no_such'; `pip install 'no_such'` may help$"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_found_before_anything_loads(registry, text, complaint):
    registry["missing"] = "no_such.module:Model"
    with pytest.raises(EvaluationError, match=complaint):
        Backend.parse(text).check()


def test_a_missing_vllm_says_how_to_get_it(registry, monkeypatch):
    registry["vllm"] = "lm_eval.models.vllm_causallms:VLLM"
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(
        EvaluationError, match=r"^backend 'vllm' cannot be imported: .*`pip install 'lm-eval\[vllm\]'` may"
    ):
        Backend.parse("vllm").check()


class Starter(LocalCompletionsAPI):
    """Would start a server with the folder, and ask that."""

    def __init__(self, pretrained: str, tokenizer: str, port: int = 0) -> None:
        self.made_with = {"pretrained": pretrained, "tokenizer": tokenizer, "port": port}


def test_a_client_that_serves_the_folder_itself_can_be_used_and_one_of_a_server_that_runs_cannot(registry):
    registry["starter"] = Starter
    Backend.parse("starter,port=1").check()
    folder = str(SOURCE.folder)
    assert load("starter,port=1")._lm.made_with == {"pretrained": folder, "tokenizer": folder, "port": 1}
    with pytest.raises(EvaluationError, match="it asks a server that has a model already"):
        Backend.parse("local-completions,base_url=http://127.0.0.1:1").check()


@pytest.mark.parametrize("text", ["hf", "hf,softmax_dtype=float32", "hf,not_known_here=1", "listener,loud=True"])
def test_what_can_be_used_passes(registry, text):
    Backend.parse(text).check()


def test_a_backend_is_given_what_it_takes_of_ours_and_all_that_is_the_users(registry, capsys):
    lm = load("listener,loud=True")
    folder = str(SOURCE.folder)
    ours = {"pretrained": folder, "tokenizer": folder, "dtype": "float32", "batch_size": 4}
    assert lm._lm.made_with == {**ours, "loud": True}
    assert load("listener,batch_size=7")._lm.made_with == {**ours, "batch_size": 7, "loud": False}
    assert capsys.readouterr() == ("", "")


def test_it_is_asked_for_as_evaluation_needs_it(registry):
    lm = load("listener")
    lm.reset_counters()
    assert (lm.positions, lm.scored_positions, lm.max_gen_toks, lm.rank, lm.world_size) == (None, None, 256, 0, 1)
    assert lm.count_tokens(["", "Once upon a time"]) == [
        0,
        len(load_tokenizer(SOURCE).tokenize("Once upon a time")),
    ]
    assert lm.broken is False
    with pytest.raises(EvaluationError, match=r"^tiny-base dense: backend 'listener' failed: NotImplementedError\(\)$"):
        lm.loglikelihood([])
    assert lm.broken is True


def test_texts_as_a_whole_are_answered_for_too(registry):
    model = CountingLM(*load_model(SOURCE, "float32", "cpu"), batch_size=4)
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0, metadata=("t", 0, 1))
        for text in ("Once upon a time there was a cat.", "The cat slept.")
    ]
    assert load("hf").loglikelihood_rolling(requests) == pytest.approx(model.loglikelihood_rolling(requests), abs=1e-3)


def test_what_it_would_generate_at_most_is_its_own(registry):
    assert load("hf").max_gen_toks == load("hf")._lm.max_gen_toks
    registry["short"] = type("Short", (Listener,), {"max_gen_toks": 9})
    assert load("short").max_gen_toks == 9


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (RuntimeError("\nout of memory\nmore"), "it: RuntimeError: out of memory"),
        (KeyError("x"), "it: KeyError: 'x'"),
        (AssertionError(), r"it: AssertionError\(\)"),
        (SystemExit(3), "it: SystemExit: 3"),
    ],
)
def test_whatever_it_raises_is_one_line(raised, line):
    with pytest.raises(EvaluationError, match=f"^{line}$"), errors_as_one_line("it"):
        raise raised


def test_an_interruption_stays_one():
    with pytest.raises(KeyboardInterrupt), errors_as_one_line("it"):
        raise KeyboardInterrupt


def test_loggers_made_in_quiet_can_be_used_later(capsys):
    import logging

    with muted():
        handler = logging.StreamHandler()
    handler.emit(logging.makeLogRecord({"msg": "later"}))
    assert capsys.readouterr() == ("", "")


def test_versions_are_those_of_its_packages(monkeypatch):
    assert "torch" in Backend("hf").versions
    assert Backend("nothing-that-is-installed").versions == {}
    monkeypatch.setattr(module, "version", lambda package: f"{package} 1")
    assert Backend("vllm").versions == {"vllm": "vllm 1"}


def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Stands in for the package vllm: its engine remembers how it was started."""
    started: list[dict] = []

    class Engine:
        llm_engine = SimpleNamespace(model_config=None)

        def __init__(self, **arguments: object) -> None:
            started.append(arguments)

    def tokenizer(folder: str, **_: object):
        return load_tokenizer(SOURCE)

    content = {
        "vllm": {"LLM": Engine, "SamplingParams": object, "TokensPrompt": object},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": object},
        "vllm.renderers": {},
        "vllm.renderers.hf": {"resolve_chat_template": lambda **_: None},
        "vllm.tokenizers": {"get_tokenizer": tokenizer},
    }
    for name, attributes in content.items():
        made = ModuleType(name)
        made.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(made).update(attributes)
        monkeypatch.setitem(sys.modules, name, made)
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.18.0" if name == "vllm" else known(name))
    return started


def test_what_reaches_vllm(registry, monkeypatch):
    """lm-eval's own class for it, over a stand-in for its engine: folder, dtype, and what the user gives."""
    started = fake_vllm(monkeypatch)
    monkeypatch.delitem(sys.modules, "lm_eval.models.vllm_causallms", raising=False)
    monkeypatch.setitem(registry, "vllm", "lm_eval.models.vllm_causallms:VLLM")
    from lm_eval.api import registry as lm_eval_registry

    lm_eval_registry._materialise_placeholder.cache_clear()
    lm = load("vllm,gpu_memory_utilization=0.8,batch_size=auto,max_gen_toks=99")
    lm_eval_registry._materialise_placeholder.cache_clear()
    sys.modules.pop("lm_eval.models.vllm_causallms")
    (given,) = started
    assert {
        key: given[key] for key in ("model", "tokenizer", "dtype", "trust_remote_code", "gpu_memory_utilization")
    } == {
        "model": str(SOURCE.folder),
        "tokenizer": str(SOURCE.folder),
        "dtype": "float32",
        "trust_remote_code": False,
        "gpu_memory_utilization": 0.8,
    }
    assert "device" not in given
    assert (lm._lm.batch_size, lm.max_gen_toks) == ("auto", 99)


def test_a_folder_that_it_cannot_load_is_one_line(registry, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"^m: backend 'hf' did not start: .+$") as error:
        Backend("hf").load("m", tmp_path, None, SETTINGS)
    assert "\n" not in str(error.value)
