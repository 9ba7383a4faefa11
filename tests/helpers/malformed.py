"""Hypothesis strategies that spoil valid files: bytes of any text, and values anywhere in data."""

import copy
import json
from typing import Any

import yaml
from hypothesis import strategies as st

WORDS = (
    b"\x00", b"\xff\xfe", b"\x1b[31m", "\u202e".encode(), b"\r\n", b"\t", b'"', b"'", b"{", b"}", b"[", b"]", b": ", b"- ", b"#", b"&a ", b"*a ",
    b"!!python/object/apply:os.system ['false']", b"!!timestamp x", b"!!binary x", b"? ", b"<<: {a: 1}", b"nan", b".inf", b"1e999", b"-1", b"0x" + b"f" * 5000,
    b"9" * 5000, b"1e-999999999", b"null", b"~", b",", b",,", b"\n\n", b"../../etc/passwd", b"%", b"2024-99-99", b"1:2:3", b"$HOME",
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 10**40, 2**63, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", " ", "x", "nan", "1e999", "0.5",
    "1e-999999999", "a\nb", "\x1b[31m", "\u202e", "../../x", "x" * 10_000, "%s", "{0}", [], [[]], {}, {"": ""}, {"a": None}, [None], [1, 2], ["x", "x"],
)  # fmt: skip


@st.composite
def spoilt_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` with one to three places cut out, cut off, doubled, or overwritten."""
    data = valid
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(("delete", "truncate", "double", "insert", "replace", "swap", "bytes")))
        if how == "truncate":
            data = data[:start]
        elif how == "double":
            data = data[:end] + data[start:]
        elif how == "bytes":
            data = data[:start] + draw(st.binary(min_size=1, max_size=8)) + data[end:]
        elif how == "swap":
            data = data[end:] + data[:start]
        else:
            word = b"" if how == "delete" else draw(st.sampled_from(WORDS))
            data = data[:start] + word + data[start if how == "insert" else end :]
    return data


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in `value`."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in list(keys) for place in ((value, key), *_places(value[key]))]


@st.composite
def spoilt_data(draw: st.DrawFn, valid: Any) -> Any:
    """`valid` with one or two values removed, repeated, wrapped, renamed, or put in the place of another type."""
    data = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 2))):
        if not (places := _places(data)):
            return data
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(("delete", "retype", "retype", "wrap", "repeat", "rename")))
        if how == "delete":
            del holder[key]
        elif how == "wrap":
            holder[key] = draw(st.sampled_from(([holder[key]], {"a": holder[key]}, str(holder[key]))))
        elif how == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif how == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(("", "a b", "\x1b", "model", f"{key}s")))] = holder.pop(key)
        else:
            holder[key] = draw(st.sampled_from(VALUES))
    return data


def spoilt_json(valid: Any) -> st.SearchStrategy[bytes]:
    """A JSON file of `valid`, spoilt as data or as bytes."""
    return spoilt_data(valid).map(lambda data: json.dumps(data).encode()) | spoilt_bytes(json.dumps(valid).encode())


def spoilt_yaml(valid: str) -> st.SearchStrategy[bytes]:
    """The YAML file `valid`, spoilt as data or as bytes."""
    data = spoilt_data(yaml.safe_load(valid))
    return data.map(lambda data: yaml.safe_dump(data, allow_unicode=True).encode()) | spoilt_bytes(valid.encode())


SHORT = """\
model: tiny-base
revision: main
suite: embedded
criterion: ppm
seed: 1
ratios: [0.1, 0.5]
controls: [random]
capabilities:
  science: {task: arc_easy, metric: acc, chance: 0.25, num_fewshot: 2, groups: [a], cluster: b}
evidence: evidence
flaws:
  - {check: energy_unit, about: [x], why: kg taken for kWh}
expect:
  - {capability: science, direction: down, specific: true, why: facts}
  - {capability: arithmetic, direction: preserved, margin: 0.05, ratios: [0.1], verdict: {0.1: refuted}, why: few}
  - {trend: [factual_recall, truthfulness], relation: inverse, why: facts}
  - {trend: reading, relation: knee, margin: 0.02, at: 0.1, why: copying}
  - {efficiency: joules_per_correct_answer, questions: reading, workload: "*", direction: down, why: less}
"""


def complaint(error: Exception, name: str) -> None:
    """What every message is: short, one line once it is shown, and about the file."""
    assert name in str(error)
    assert len(str(error)) < 5000
