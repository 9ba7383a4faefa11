"""Workers of one machine and its GPUs."""

import pytest

from glu_prune.experiment import machine

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("visible", "number", "seen"),
    [("0,1,2", 0, "0"), ("0,1,2", 4, "1"), ("GPU-a, GPU-b", 1, "GPU-b"), ("7", 3, ""), ("", 3, "")],
)
def test_each_worker_sees_one_gpu_of_several(monkeypatch, visible, number, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(machine, "_gpus", list)
    assert machine.see_one_gpu(number) == seen
    assert machine.os.environ["CUDA_VISIBLE_DEVICES"] == (seen or visible)


@pytest.mark.parametrize(("device", "seen"), [("cuda", {"4", "5"}), ("cuda:1", {"4,5"}), ("cpu", {"4,5"})])
def test_workers_of_xdist_share_them_out_unless_one_is_named(pytester, monkeypatch, device, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_it(number):
            Path(f"seen-{number}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        """
    )
    pytester.runpytest_subprocess("-n2", f"--glu-device={device}").assert_outcomes(passed=8)
    assert {path.read_text() for path in pytester.path.glob("seen-*")} == seen
