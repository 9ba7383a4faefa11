"""What was found: frozen models, made once in judging, and all that travels to tables, files and other processes."""
