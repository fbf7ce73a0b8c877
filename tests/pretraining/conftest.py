"""The small model that the tests of the diffusion use."""

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "zero1a_test_small_diffusion", Path(__file__).parents[1] / "diffusion" / "conftest.py"
)
_module = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_module)
make_config, make_params = _module.make_config, _module.make_params
