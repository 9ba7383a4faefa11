"""What this project makes its own data with: no part of the package, run from a checkout as `python -m tools.NAME`."""
