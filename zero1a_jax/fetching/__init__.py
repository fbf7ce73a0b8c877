"""Other people's files: what is known of them, and bringing them over the network. No jax."""
