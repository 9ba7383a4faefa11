"""Prints the JSON schema of `report.json`: `python -m tools.report_schema > docs/report.schema.json`."""

import sys

from glu_prune.report.formats.json import schema

if __name__ == "__main__":
    sys.stdout.write(schema())
