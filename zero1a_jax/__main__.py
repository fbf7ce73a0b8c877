"""`python -m zero1a_jax NAME --flags`: see commandline/main.py."""

from zero1a_jax.commandline.main import main

if __name__ == "__main__":
    main()
