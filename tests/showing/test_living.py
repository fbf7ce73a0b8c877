"""What the page holds poses as the avatar does, and nothing of a head that is not ours to give."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from zero1a_jax import api
from zero1a_jax.avatar import bind, pose
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward, procedural_head
from zero1a_jax.geometry.meshes import triangle_frames
from zero1a_jax.showing import living, poses
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Motion

RIG = Path(living.__file__).parents[1] / "assets" / "page" / "rig.js"
FRAMES = """
const source = require("fs").readFileSync(process.argv[1], "utf8");
const { unpack, restPose, Rig } = new Function(source + "; return { unpack, restPose, Rig };")();
const { data, poses } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const arrays = Object.fromEntries(Object.entries(data.arrays).map(([name, entry]) => [name, unpack(entry)]));
const rig = new Rig(data, arrays);
for (const pose of poses) console.log(rig.pose({ ...restPose(data.expressions.length), ...pose }).join(" "));
"""


def made(version="", degree=0, capacity=12_000, **meta):
    """An avatar as `bind` starts it on the embedded head, or on one that calls itself something else."""
    model = procedural_head()
    shape = np.random.default_rng(1).normal(size=np.shape(model.shape_basis)[2]).astype(np.float32)
    avatar = bind(jax.random.key(0), model, shape, capacity=capacity, count=len(model.faces), degree=degree)
    return Loaded(avatar, model.replace(version=version or model.version), meta, None)


def held(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def rigged():
    return made(caption="a person", seed=3)


@pytest.fixture(scope="module")
def page(rigged):
    return held(living.text(rigged, name="run"))


def test_the_rig_of_the_page_poses_as_the_head_does(rigged, page):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, which runs the page's rig")
    rng = np.random.default_rng(0)
    zero = poses.from_arkit(rigged.model, {})
    chosen = [
        zero.replace(
            expression=rng.uniform(0, 1, len(rigged.model.expression_names)).astype(np.float32),
            rotation=np.array([0.1, -0.3, 0.05], np.float32),
            neck=np.array([0.2, 0.4, -0.1], np.float32),
            jaw=np.array([0.3, 0.05, 0.0], np.float32),
            eyes=np.array([[0.1, 0.3, 0], [0.1, -0.2, 0]], np.float32),
            translation=np.array([0.01, 0.02, -0.03], np.float32),
        ),
        zero,
    ]
    names = {"expression": "expression", "rotation": "root", "neck": "neck", "jaw": "jaw"}
    given = [
        {name: np.asarray(getattr(p, field)).tolist() for field, name in names.items()}
        | {"translation": np.asarray(p.translation).tolist()}
        | dict(zip(("leftEye", "rightEye"), np.asarray(p.eyes).tolist(), strict=True))
        for p in chosen
    ]
    done = subprocess.run(
        [node, "-e", FRAMES, str(RIG)],
        input=json.dumps({"data": page, "poses": given}),
        capture_output=True,
        text=True,
        check=True,
    )
    for line, params in zip(done.stdout.splitlines(), chosen, strict=True):
        got = np.array(line.split(), float).reshape(-1, 3, 4)
        vertices, _ = forward(rigged.model, params.replace(shape=rigged.avatar.shape))
        origin, rotation, scale = triangle_frames(vertices, rigged.model.faces)
        np.testing.assert_allclose(got[..., 3], origin, atol=5e-6)
        np.testing.assert_allclose(got[..., :3], rotation * scale[:, None, None], atol=2e-5)


def test_gaussians_and_motions_are_kept(rigged, page, unpacked):
    count = len(rigged.model.faces)  # the dead are left out
    np.testing.assert_array_equal(unpacked(page["arrays"]["face"]), np.arange(count))
    sizes = rigged.avatar.gaussians.log_scales[:count]
    np.testing.assert_allclose(unpacked(page["arrays"]["scales"]), sizes, atol=1e-4)
    talk, shown = page["motions"]
    assert (talk["name"], talk["count"], shown["name"]) == ("talk", living.TALK, "expressions")
    values = unpacked(talk["frames"])
    assert values.shape == (living.TALK, len(page["expressions"]) + 18)
    np.testing.assert_allclose(values[-1], values[0], atol=1e-3)  # it goes on from its start
    assert [preset["name"] for preset in page["presets"]] == [name for name, _, _ in poses.SHOWN]


def test_a_motion_of_the_users_is_cut_and_keeps_its_rate(rigged, unpacked):
    long = jax.tree.map(
        lambda x: np.repeat(np.asarray(x)[None], living.LONGEST + 9, 0),
        poses.from_arkit(rigged.model, {"jawOpen": 0.5}),
    )
    motion = Motion(long, None, 60.0, rigged.model.version)
    added = held(living.text(rigged, name="run", motions={"take.csv": motion}))["motions"][-1]
    assert (added["name"], added["fps"], added["count"]) == ("take.csv", 60.0, living.LONGEST)
    column = rigged.model.expression_names.index("jawOpen")
    assert (unpacked(added["frames"])[:, column] == 0.5).all()


def test_a_head_of_others_is_baked_and_the_page_says_why(unpacked):
    loaded = made("FLAME 2023", degree=1)
    text = living.text(loaded, name="run")
    data = held(text)
    assert "This avatar stands on FLAME 2023. The licence" in text
    allowed = {"logits", "scales", "colour", "colourRest", "bakedMeans", "bakedQuats", "bakedSizes"}
    assert set(data["arrays"]) == allowed  # no mesh, no basis, no skinning
    index = [preset["name"] for preset in data["presets"]].index("mouth open")
    posed = pose(loaded.avatar, loaded.model, poses.expression(loaded.model, index))
    count = len(loaded.model.faces)
    np.testing.assert_allclose(unpacked(data["arrays"]["bakedMeans"])[index], posed.means[:count], atol=1e-5)
    sizes = unpacked(data["arrays"]["scales"]) + unpacked(data["arrays"]["bakedSizes"])[index]
    np.testing.assert_allclose(sizes, posed.log_scales[:count], atol=1e-3)
    quats = unpacked(data["arrays"]["bakedQuats"])[index]
    np.testing.assert_allclose(np.abs(np.sum(quats * posed.quats[:count], -1)), 1, atol=1e-4)


@pytest.mark.parametrize("degree, count, most", [(0, 13_500, 5e6), (3, 50_000, 15e6)])
@pytest.mark.parametrize("version", ["", "FLAME 2023"])
def test_pages_are_small(version, degree, count, most):
    loaded = made(version, degree, capacity=count)
    loaded = loaded._replace(avatar=loaded.avatar.replace(alive=np.ones(count, bool)))
    size = len(living.text(loaded, name="run"))
    print(f"{loaded.model.version}, {count} Gaussians, degree {degree}: {size / 1e6:.2f} MB")
    assert size < most


def test_a_page_is_written_and_nothing_of_the_users_replaced(rigged, tmp_path):
    (path,) = api.export(rigged, tmp_path, to="page").values()
    assert path == tmp_path / "avatar.html" and "<title>A person</title>" in path.read_text("utf-8")
    path.write_text("mine")
    with pytest.raises(Refused, match="avatar.html is not what this program wrote"):
        api.export(rigged, tmp_path, to="page")
    with pytest.raises(Refused, match="to=fbx must be one of ply"):
        api.export(rigged, tmp_path, to="fbx")
    with pytest.raises(Refused, match="leave motions out"):
        living.write(made("FLAME 2023"), tmp_path / "other", motions=["take.csv"])
