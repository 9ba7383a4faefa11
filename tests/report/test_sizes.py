import pytest

from glu_prune.report.sizes import _aligned


@pytest.mark.parametrize(
    ("before", "width", "said"),
    [
        (8192, 7373, "7,376 (ratio 0.0997, a multiple of 8), 7,360 (ratio 0.1016, a multiple of 64), 7,424 (ratio 0.0938, a multiple of 128)"),
        (8192, 3277, "3,280 (ratio 0.5997, a multiple of 8), 3,264 (ratio 0.6016, a multiple of 64), 3,328 (ratio 0.5938, a multiple of 128)"),
        (100, 60, "64 (ratio 0.36, a multiple of 64)"),
    ],
)  # fmt: skip
def test_aligned_widths_are_named(before, width, said):
    """The first two are the study's."""
    assert _aligned(before, width) == f"nearest to {width:,} that accelerators compute in whole pieces: {said}"


@pytest.mark.parametrize(("before", "width"), [(8192, 4096), (8192, 8192), (8192, 128), (7, 3)])
def test_nothing_is_said_of_widths_that_are_aligned_or_as_before(before, width):
    assert _aligned(before, width) == ""
