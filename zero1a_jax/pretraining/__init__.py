"""How the shipped weights were made: pictures of synthetic people, training stages, evaluation."""
