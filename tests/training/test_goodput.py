"""The clock of a run adds up over starts, and a killed start keeps what it knew."""

import json
import time

import jax
import jax.numpy as jnp
import pytest

from zero1a_jax.training import goodput


def test_starts_add_up(tmp_path):
    first = goodput.Goodput(tmp_path, start=0, reached=0)
    with first.spent("steps"):
        time.sleep(0.05)
        jax.jit(lambda x: x * 3 + 1)(jnp.ones(7)).block_until_ready()
    first.write(10)
    second = goodput.Goodput(tmp_path, start=10, reached=14)
    with pytest.raises(OSError), second.spent("saves"):
        raise OSError
    with second.spent("refreshes"):
        time.sleep(0.03)
    second.write(15)
    second.write(20, "finished")
    entries = json.loads((tmp_path / "goodput.json").read_text())
    assert [(e["from_step"], e["to_step"], e["redone"], e["ended"]) for e in entries] == [
        (0, 10, 0, "killed"),
        (10, 20, 4, "finished"),
    ]
    sums = goodput.total(tmp_path / "goodput.json")
    assert sums["steps"] >= 0.05 and sums["refreshes"] >= 0.03 and 0 < sums["compiling"] <= sums["steps"]
    assert sums["goodput"] == pytest.approx(
        (sums["steps"] + sums["refreshes"]) / sums["wall"] * 20 / 24, rel=1e-6
    )
