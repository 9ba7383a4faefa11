"""What is cut: GLU blocks, criteria, plans, surgery and checkpoints."""
