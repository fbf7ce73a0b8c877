"""What `import zero1a_jax` offers: cheap to import, explained, and its short functions at work."""

import inspect
import pydoc
import subprocess
import sys

import numpy as np
import pytest

import zero1a_jax as z
from zero1a_jax import api
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import ply

SIZE = 48


def test_the_import_is_cheap_and_brings_no_jax():
    text = (
        "import sys, time\n"
        "start = time.process_time()\n"
        "import zero1a_jax\n"
        "seconds = time.process_time() - start\n"
        "print(seconds, 'jax' in sys.modules, 'numpy' in sys.modules, *dir(zero1a_jax))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    seconds, jax, numpy, *names = done.stdout.split()
    assert float(seconds) < 0.1
    assert (jax, numpy) == ("False", "False")
    assert names == sorted([*z.__all__, "__version__"])


def test_names():
    assert z.__all__ == sorted(z.__all__) == api.__all__
    assert all(getattr(z, name) is getattr(api, name) for name in z.__all__)
    assert z.symgen.plan(0).view_limit == 1  # packages come when they are asked for
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        z.train  # noqa: B018


@pytest.mark.parametrize("name", z.__all__)
def test_docstrings(name):
    function = getattr(z, name)
    text, parameters = inspect.getdoc(function) or "", inspect.signature(function).parameters
    assert len(text.splitlines()[0]) > 20
    if parameters:
        assert "Args:" in text and ("Returns:" in text or "returns" in text.splitlines()[0])
        said = text[text.index("Args:") :]
        assert [parameter for parameter in parameters if parameter not in said] == []


def test_help_mentions_every_name():
    text = pydoc.plain(pydoc.render_doc(z))
    assert [name for name in z.__all__ if f"`{name}`" not in text] == []


class Process:
    """Stands for subprocess.Popen: keeps the command, prints a line, ends with `code`."""

    code = 0

    def __init__(self, command, **options):
        type(self).command, self.stdout, self.returncode = command, iter(["step 1\n"]), self.code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def process(monkeypatch):
    class Fresh(Process):
        command = None

    monkeypatch.setattr(api.subprocess, "Popen", Fresh)
    return Fresh


def test_run_refuses_an_unknown_flag_at_once(process):
    with pytest.raises(Refused, match="stepz"):
        z.run("synthetic:1", "runs/a", stepz=3)
    assert process.command is None


def test_run_passes_flags_and_loads_the_result(process, monkeypatch, capsys):
    monkeypatch.setattr(api, "load", lambda *args, **named: (args, named))
    result = z.run(
        "me.png",
        "runs/me",
        flagfile="zero1a.flags",
        steps=300,
        spatial=False,
        motions=("a.csv", "b.csv"),
        colour_lr=0.01,
        flame="models",
        arkit="t.json",
    )
    assert process.command == [
        sys.executable,
        "-m",
        "zero1a_jax",
        "run",
        "--flagfile=zero1a.flags",
        "--image=me.png",
        "--workdir=runs/me",
        "--steps=300",
        "--spatial=false",
        "--motions=a.csv,b.csv",
        "--colour_lr=0.01",
        "--flame=models",
        "--arkit=t.json",
    ]
    assert result == (("runs/me",), {"flame": "models", "arkit": "t.json"})
    assert capsys.readouterr().out == "step 1\n"  # the run's own words


def test_run_that_fails_is_refused(process):
    process.code = 3
    with pytest.raises(Refused, match="exit code 3"):
        z.run("synthetic:1", "runs/a")


@pytest.fixture(scope="module")
def avatar(tmp_path_factory, exported):
    """A head coloured at random, so that whatever moves is seen."""
    model = z.procedural_head()
    colours = np.random.default_rng(0).normal(size=(len(model.faces), 1, 3))
    return z.load(exported(tmp_path_factory.mktemp("run"), np.zeros(model.shape_basis.shape[2]), colours))


def test_render(avatar):
    neutral = z.render(avatar, size=SIZE)
    assert neutral.shape == (SIZE, SIZE, 3) and neutral.dtype == np.uint8
    assert (neutral[0] == 255).all()
    np.testing.assert_array_equal(z.render(avatar, {}, size=SIZE), neutral)
    opened = z.render(avatar, {"jawOpen": 1.0}, size=SIZE).astype(int)
    change = np.abs(opened - neutral).max(-1)
    assert change[SIZE // 2 :].max() > 30 and change[: SIZE // 3].max() < 5  # the chin, not the brow
    posed = z.flame.zero_params(avatar.model).replace(jaw=np.array([0.3, 0, 0], np.float32))
    assert (z.render(avatar, posed, size=SIZE) != neutral).any()
    turned = z.render(avatar, yaw=40, size=SIZE, background="#000000")
    assert (turned[0] == 0).all() and (turned != neutral).any()


@pytest.mark.parametrize(
    "arguments, message",
    [(({"jawOpn": 1.0},), "no shape jawOpn; it has .*jawOpen"), (({}, {"background": "grey"}), "grey is no")],
)
def test_render_refuses_with_a_sentence(avatar, arguments, message):
    pose, *options = arguments
    with pytest.raises(Refused, match=message):
        z.render(avatar, pose, size=SIZE, **(options[0] if options else {}))


def test_export_and_load_again(avatar, tmp_path):
    paths = z.export(avatar, tmp_path / "out")
    assert set(paths) == {"triangle", "world", "shape", "meta"}
    assert all(path.is_file() for path in paths.values())
    again = z.load(tmp_path / "out")
    np.testing.assert_array_equal(z.render(again, size=SIZE), z.render(avatar, size=SIZE))


def test_export_poses_the_world(avatar, tmp_path):
    rest, smiling = (z.export(avatar, tmp_path / str(len(pose)), pose) for pose in ({}, {"jawOpen": 1.0}))
    assert rest["triangle"].read_bytes() == smiling["triangle"].read_bytes()
    (still, _), (moved, _) = (ply.load(paths["world"]) for paths in (rest, smiling))
    away = np.linalg.norm(moved.means - still.means, axis=1)
    assert 0.005 < away.max() < 0.05 and np.median(away) < 0.002
    with pytest.raises(Refused, match="no shape jawOpenn"):
        z.export(avatar, tmp_path / "none", {"jawOpenn": 1.0})


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="avatar"):
        z.load(tmp_path)


def test_first_avatar_refuses_another_heads_portrait(fakes):
    portrait = fakes.disc_portrait(fakes.sphere_head())
    with pytest.raises(Refused, match="4 shape coefficients"):
        z.first_avatar(portrait)
