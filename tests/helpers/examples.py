"""How often a test tries: as often as it says, or in the fast tier a quarter of that."""

from hypothesis import settings


def scaled(number: int) -> int:
    """Runs of a simulation whose bounds follow from their number."""
    return max(2, number // 4) if settings.get_current_profile_name() == "fast" else number


def examples(number: int) -> settings:
    """Examples of a test that needs more or fewer than others."""
    return settings(max_examples=scaled(number))
