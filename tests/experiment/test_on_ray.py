"""Cells on a Ray cluster: the same records, whatever dies on the way; nothing of it stays."""

import sys
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Thread

import psutil
import pytest

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter
from glu_prune.efficiency.workload import drawn
from glu_prune.errors import EvaluationError, NotMeasuredError, NotReadyError
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, DistanceCell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors import ray_cluster
from glu_prune.experiment.executors.local import LocalExecutor
from glu_prune.experiment.executors.on_ray import RayExecutor
from glu_prune.experiment.executors.shares import Share, refuse_other_gpus, share_of
from glu_prune.experiment.jobs import job
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate
from glu_prune.progress.work import Work

SLOW = pytest.mark.slow("starts a cluster, whose workers import torch")
TASK = ("tiny_recall", None, ("band",), Settings(), Subset(0, 16))
ARMS = (DENSE, *(Arm(name, Decimal(ratio)) for name in ("ppm", "random") for ratio in ("0.2", "0.4")))
CELLS = [Cell(locate(model), arm, *TASK) for model in ("tiny-base", "tiny-instruct") for arm in ARMS]
FLOORS = FloorCell("tiny_recall", None)
DISTANCE = DistanceCell(locate("tiny-base"), ARMS[1], *TASK)
SERIES = SeriesCell(locate("tiny-base"), (DENSE, ARMS[1]), drawn(8, 4, 1), Settings(), Effort(seconds=0.5))
PLAIN = {"created": True}


@pytest.fixture(params=[2, 4])
def machines(request):
    """A cluster of two or four machines of one core each, beside a head that computes nothing."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'glu-prune[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(request.param)]
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def local(folder: Path) -> Engine:
    return Engine(Store(folder), LocalExecutor(folder, NoMeter("none"), lambda _: None), lambda _: None)


def on(address: str, folder: Path, said: list[str] | None = None) -> Engine:
    here = LocalExecutor(folder, NoMeter("no meter in this test"), lambda _: None)
    work, say = Work(), (said if said is not None else []).append
    return Engine(Store(folder), RayExecutor(address, Share(), here, say, work), say, work)


@pytest.fixture
def criterion(tmp_path, monkeypatch):
    """Writes a criterion of the user's into the current folder, from which workers import it: name, code -> a cell."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'glu-prune[ray]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def written(name: str, code: str) -> Cell:
        (tmp_path / f"{name}.py").write_text(code)
        return replace(CELLS[1], arm=Arm(f"{name}:score", Decimal("0.2")))

    return written


class Counted(Store):
    """Counts what is written under each key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[str] = []

    def write(self, key, kind, content):
        self.written.append(key)
        super().write(key, kind, content)


@SLOW
def test_a_cluster_gives_the_records_of_one_process_and_goes_on_without_a_machine(tmp_path, machines):
    cluster, nodes = machines
    said: list[str] = []
    engine = on(cluster.address, tmp_path / "there", said)
    engine.store = Counted(tmp_path / "there")
    engine.submit([FLOORS, *CELLS, DISTANCE])

    def kill() -> None:
        while len(engine.store.written) < 4:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)

    killing = Thread(target=kill, daemon=True)
    killing.start()
    here = local(tmp_path / "here")
    for cell in CELLS:
        assert engine.record(cell).model_dump(exclude=PLAIN) == here.record(cell).model_dump(exclude=PLAIN)
    assert engine.floors(FLOORS).nulls == here.floors(FLOORS).nulls
    assert engine.distance(DISTANCE).divergences == here.distance(DISTANCE).divergences
    killing.join()
    assert sorted(engine.store.written) == sorted(set(engine.store.written)), "nothing that was finished ran again"
    with pytest.raises(NotMeasuredError, match="no meter in this test"):
        engine.series(SERIES)  # by the driver itself, which has none
    engine._executor.shutdown()


@SLOW
def test_a_cell_that_kills_its_worker_fails_alone_and_nothing_stays(tmp_path, monkeypatch, criterion):
    deadly = criterion("deadly", "import os\n\n\ndef score(neurons):\n    os.kill(os.getpid(), 9)\n")
    unknown = replace(CELLS[1], arm=Arm("ppm", Decimal("0.2"), adapter=tmp_path / "none"))
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    folders = set(Path("/tmp").glob(f"{ray_cluster._CLUSTER}*"))
    engine = on("", tmp_path / "store")
    try:
        monkeypatch.setattr("glu_prune.models.adapter.digest", lambda _: "none")
        engine.submit([CELLS[0], deadly, unknown, CELLS[2]])
        with pytest.raises(EvaluationError, match="3 workers died of it"):
            engine.record(deadly)
        assert engine.record(CELLS[0]).items == engine.record(CELLS[2]).items
    finally:
        engine._executor.shutdown()
    left = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
    assert [each.name() for each in left if "ray" in " ".join(each.cmdline())] == []
    assert set(Path("/tmp").glob(f"{ray_cluster._CLUSTER}*")) <= folders


@SLOW
def test_a_cell_whose_worker_runs_out_of_memory_fails_alone(tmp_path, monkeypatch, criterion):
    memory = psutil.virtual_memory()  # Ray ends workers once the machine has less than 3 GB of what is free now
    monkeypatch.setenv("RAY_memory_usage_threshold", str(1 - (memory.available - (3 << 30)) / memory.total))
    takes = "    taken = []\n    while True:\n        taken.append(bytearray(b'x' * (64 << 20)))\n        time.sleep(0.02)\n"
    greedy = criterion("greedy", f"import time\n\n\ndef score(neurons):\n{takes}")
    said: list[str] = []
    engine = on("", tmp_path / "store", said)
    try:
        engine.submit([CELLS[0], greedy, CELLS[2], CELLS[5]])
        with pytest.raises(EvaluationError, match="memory ran out"):
            engine.record(greedy)
        assert engine.record(CELLS[0]).items == local(tmp_path / "here").record(CELLS[0]).items
        assert engine.record(CELLS[2]).task == engine.record(CELLS[5]).task == "tiny_recall"
    finally:
        engine._executor.shutdown()
    assert any("is lost" in line for line in said)


@pytest.mark.parametrize(
    ("share", "here", "there", "refused"),
    [
        (Share(gpus=1), "A", "A", False),
        (Share(gpus=1), "", "A", True),
        (Share(gpus=0.5), "A", "B", True),
        (Share(), "", "A", False),
    ],
)
def test_workers_with_another_gpu_are_refused(share, here, there, refused):
    if not refused:
        refuse_other_gpus(share, here, there)
        return
    with pytest.raises(EvaluationError, match=f"has {there}, this one {here or 'none'}; arms of different acc"):
        refuse_other_gpus(share, here, there)


@pytest.mark.parametrize(
    ("text", "device", "share"),
    [
        ("", "cpu", Share(1, 0)),
        ("", "cuda", Share(1, 1)),
        ("cpus=4, memory=8e9", "cpu", Share(4, 0, 8_000_000_000)),
        ("gpus=0.5,accelerator=H200", "cuda", Share(1, 0.5, None, "H200")),
    ],
)
def test_what_a_worker_takes(text, device, share):
    assert share_of(text, Settings(device=device)) == share


@pytest.mark.parametrize("text", ["cpu=1", "cpus", "cpus=", "cpus=-1", "memory=much", "cpus=inf", "cpus=nan"])
def test_what_a_worker_cannot_take_is_said(text):
    with pytest.raises(ValueError, match=r"write cpus=N|it is a number of"):
        share_of(text, Settings())


@pytest.mark.parametrize(
    ("share", "count"),
    [(Share(1), 5), (Share(2), 2), (Share(1, 1), 2), (Share(0, 0.5), 4), (Share(1, 0, 6 << 30), 2), (Share(8), 0)],
)
def test_how_many_workers_a_cluster_holds(share, count):
    assert share.times({"CPU": 5, "GPU": 2, "memory": float(12 << 30)}) == count


def test_without_ray_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = on("", tmp_path)
    with pytest.raises(NotReadyError, match=r"pip install 'glu-prune\[ray\]'"):
        engine.submit(CELLS[:1])


def test_nothing_starts_where_nothing_is_to_be_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    local(tmp_path).record(CELLS[0])
    engine = on("", tmp_path)
    engine.submit(CELLS[:1])
    assert engine.record(CELLS[0]).task == "tiny_recall"
    engine._executor.shutdown()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--glu-ray-address=auto"], "--glu-ray-address is about a cluster; add --glu-executor ray"),
        (["--glu-ray-worker=cpus=2"], "--glu-ray-worker is about a cluster; add --glu-executor ray"),
        (["--glu-executor=ray", "-n2"], "leave out -n"),
        (["--glu-executor=ray", "--glu-ray-worker=cpus=two"], "--glu-ray-worker: cpus=two: it is a number of cpus"),
    ],
)
def test_options_that_cannot_be_meant_are_one_line(pytester, arguments, complaint):
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert complaint in result.stderr.str()


def test_after_its_end_a_cluster_takes_nothing_more(tmp_path, monkeypatch):
    executor = RayExecutor("", Share(), LocalExecutor(tmp_path, NoMeter("none"), print), print, Work())
    monkeypatch.setattr(RayExecutor, "_ray", None)
    executor._fail(EvaluationError("no worker could begin"))
    with pytest.raises(EvaluationError, match="no worker could begin"):
        executor.submit(job(CELLS[0]).to_json())
