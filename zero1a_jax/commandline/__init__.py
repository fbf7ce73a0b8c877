"""From a command line to options, and from errors to sentences and exit codes. No jax."""
