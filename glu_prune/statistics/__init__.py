"""How two arms, or two series, are compared: contrasts with their uncertainty, trends, and corrections for many."""
