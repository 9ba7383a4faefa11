"""What tests of several packages share: small real models, made records and recordings, spoilt files, sessions and a hub."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
