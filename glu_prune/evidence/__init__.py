"""Figures that others published, or that we measured: as typed rows, and checked for what spoils them."""
