"""The head as a .glb: read by a reader of its own, it stands where FLAME's forward pass puts it."""

import io
import json
import os
import shutil
import struct
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image

from zero1a_jax import outputs
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward, procedural_head, zero_params
from zero1a_jax.outputs import png
from zero1a_jax.provenance import Provenance
from zero1a_jax.showing import mesh, texture
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Avatar, Gaussians

TENTH = 1e-4  # metres
_TYPES = {5121: "u1", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """One mesh, one skin and at most one animation."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.document = json.loads(data[20 : 20 + size])
        self.binary = data[28 + size :]
        assert struct.unpack_from("<I4s", data, 20 + size) == (len(self.binary), b"BIN\0")
        self.mesh = self.document["meshes"][0]
        self.primitive = self.mesh["primitives"][0]
        self.names = self.mesh["extras"]["targetNames"]

    def _values(self, view, kind, count, width):
        start = self.document["bufferViews"][view]["byteOffset"]
        return np.frombuffer(self.binary, _TYPES[kind], count * width, start).reshape(count, width)

    def accessor(self, index):
        found = self.document["accessors"][index]
        width = _WIDTHS[found["type"]]
        if "bufferView" in found:
            return self._values(found["bufferView"], found["componentType"], found["count"], width)
        out = np.zeros((found["count"], width), np.float32)
        if sparse := found.get("sparse"):
            where = sparse["indices"]
            rows = self._values(where["bufferView"], where["componentType"], sparse["count"], 1)[:, 0]
            out[rows] = self._values(sparse["values"]["bufferView"], 5126, sparse["count"], width)
        return out

    def attribute(self, name):
        return self.accessor(self.primitive["attributes"][name])

    def still(self):
        """(weights, rotations, translations) as the nodes stand."""
        joints = [self.document["nodes"][n] for n in self.document["skins"][0]["joints"]]
        turns, places = ([j[key] for j in joints] for key in ("rotation", "translation"))
        return np.array(self.mesh["weights"]), np.array(turns), np.array(places)

    def frame(self, number):
        """The same in a frame of the animation."""
        weights, turns, places = self.still()
        animation = self.document["animations"][0]
        for channel in animation["channels"]:
            values = self.accessor(animation["samplers"][channel["sampler"]]["output"])
            node, path = channel["target"]["node"], channel["target"]["path"]
            if path == "weights":
                weights = values.reshape(-1, len(self.names))[number]
            else:
                joint = self.document["skins"][0]["joints"].index(node)
                (turns if path == "rotation" else places)[joint] = values[number]
        return weights, turns, places

    def vertices(self, weights, turns, places):
        """Where the skin takes the vertices [V, 3]."""
        points = self.attribute("POSITION").astype(np.float64)
        for weight, target in zip(weights, self.primitive["targets"], strict=True):
            points = points + weight * self.accessor(target["POSITION"])
        skin = self.document["skins"][0]
        inverse = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        world = self._world(turns, places)
        bones = np.stack([world[n] @ m for n, m in zip(skin["joints"], inverse, strict=True)])
        placed = np.einsum("jab,vb->vja", bones, np.concatenate([points, np.ones((len(points), 1))], 1))
        chosen = np.take_along_axis(placed, self.attribute("JOINTS_0")[..., None].astype(int), 1)
        return np.einsum("vk,vka->va", self.attribute("WEIGHTS_0"), chosen)[:, :3]

    def _world(self, turns, places):
        world = {}

        def visit(node, above):
            joint = self.document["skins"][0]["joints"].index(node)
            x, y, z, w = turns[joint]
            local = np.eye(4)
            local[:3, :3] = [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
            local[:3, 3] = places[joint]
            world[node] = above @ local
            for child in self.document["nodes"][node].get("children", ()):
                visit(child, world[node])

        visit(self.document["skins"][0]["skeleton"], np.eye(4))
        return world


def loaded(model=None):
    """A head of no mean identity with a Gaussian on each triangle, coloured by its place."""
    model = procedural_head() if model is None else model
    rng = np.random.default_rng(0)
    faces = np.asarray(model.faces)
    middle = np.asarray(model.template)[faces].mean(1)
    colour = (middle - middle.min(0)) / np.ptp(middle, axis=0)
    count = len(faces)
    gaussians = Gaussians(
        means=np.zeros((count, 3), np.float32),
        log_scales=np.full((count, 3), np.log(0.5), np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        sh=((colour - 0.5) / 0.28209479)[:, None].astype(np.float32),
        opacity_logits=np.full(count, 4.0, np.float32),
    )
    shape = rng.normal(size=model.shape_basis.shape[2]).astype(np.float32)
    avatar = Avatar(gaussians, np.arange(count, dtype=np.int32), np.ones(count, bool), shape)
    return Loaded(avatar, model, {}, None)


def five_poses(model):
    """Five frames in which everything moves at once."""
    rng = np.random.default_rng(1)
    sizes = {"rotation": 0.4, "neck": 0.4, "jaw": 0.3, "eyes": 0.4, "translation": 0.1}
    rest = zero_params(model, (5,))
    moved = {name: rng.normal(size=getattr(rest, name).shape) * size for name, size in sizes.items()}
    moved["expression"] = rng.uniform(size=rest.expression.shape) ** 3
    return rest.replace(**{name: value.astype(np.float32) for name, value in moved.items()})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(path, avatar, its frames): a .glb that stands in the last frame and is animated through all."""
    avatar, path = loaded(), tmp_path_factory.mktemp("glb") / "avatar.glb"
    flame = five_poses(avatar.model)
    picture = png.encode(np.full((4, 4, 3), 128, np.uint8))
    frames = mesh.frames(avatar, flame)
    last = mesh.frames(avatar, jax.tree.map(lambda x: x[-1:], flame))
    about = Provenance("2026-07-31", seed=3)
    outputs.glb.save(path, mesh.rig(avatar, picture), last, motion=frames, fps=25, provenance=about)
    return path, avatar, flame


@pytest.fixture(scope="module")
def expected(written):
    """Where the head's own forward pass puts the vertices of the file in its frames, [5, V, 3]."""
    _, avatar, flame = written
    place = jax.jit(lambda params: forward(avatar.model, params.replace(shape=avatar.avatar.shape))[0])
    corners = np.stack([np.ravel(avatar.model.faces), np.ravel(avatar.model.uv_faces)], 1)
    vertex = np.unique(corners, axis=0)[:, 0]
    return np.stack([np.asarray(place(jax.tree.map(lambda x, n=n: x[n], flame)))[vertex] for n in range(5)])


def test_five_poses_of_the_animation_are_the_heads_own(written, expected):
    glb = Glb(written[0])
    away = [np.abs(glb.vertices(*glb.frame(n)) - expected[n]).max() for n in range(5)]
    assert max(away) < TENTH / 10
    assert np.ptp(expected, axis=0).max() > 0.05


def test_it_stands_in_the_pose_that_was_asked_for(written, expected):
    glb = Glb(written[0])
    assert np.abs(glb.vertices(*glb.still()) - expected[4]).max() < TENTH / 10


def test_correctives_and_moving_joints_are_what_makes_it_exact(written, expected):
    glb = Glb(written[0])
    plain = [not name.startswith("corrective") for name in glb.names]
    for number in range(5):
        weights, turns, places = glb.frame(number)
        assert np.abs(glb.vertices(weights * plain, turns, places) - expected[number]).max() > TENTH


def test_targets_have_arkits_names_and_weights_stay_within_their_range(written):
    path, avatar, _ = written
    glb = Glb(path)
    names = list(avatar.model.expression_names)
    assert glb.names[: len(names)] == names and {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} < set(names)
    assert all(name.startswith("corrective_") for name in glb.names[len(names) :])
    assert len(glb.names) == len(glb.primitive["targets"]) == len(names) + 6
    weights = np.stack([glb.frame(n)[0] for n in range(5)])
    assert weights.min() >= 0 and weights.max() <= 1
    joints = [glb.document["nodes"][n]["name"] for n in glb.document["skins"][0]["joints"]]
    assert joints == ["root", "neck", "jaw", "left_eye", "right_eye"]


def test_it_says_what_it_is(written):
    asset = Glb(written[0]).document["asset"]
    assert asset["extras"]["synthetic"] is True and asset["extras"]["seed"] == 3
    assert asset["generator"].startswith("zero1a_jax ")


def test_turns_go_the_short_way():
    model = procedural_head()
    turn = np.zeros((5, 3), np.float32)
    turn[:, 1] = np.linspace(0, 2.2 * np.pi, 5)
    quats = mesh.frames(loaded(), zero_params(model, (5,)).replace(neck=turn)).rotations[:, 1]
    assert (np.sum(quats[1:] * quats[:-1], -1) > 0).all()


def test_flames_rig_is_not_given_away(tmp_path):
    avatar = loaded(procedural_head().replace(version="flame2023"))
    with pytest.raises(Refused, match="licence of flame2023 does not let its mesh"):
        mesh.write(avatar, tmp_path)
    assert not list(tmp_path.iterdir())


def test_texels_of_an_eyeball_are_those_in_front():
    model = procedural_head()
    texels = texture._texels(model, 256)
    for side in ("left", "right"):
        ball = np.asarray(model.masks[f"{side}_eyeball"])[np.asarray(model.faces)].all(1)
        assert 600 < ball[texels.face].sum()  # islands that are mirrored count too
        iris = ball & np.asarray(model.masks["iris"])[np.asarray(model.faces)].all(1)
        assert iris[texels.face].sum() > 40  # not hidden below the fan at the back
    points = np.einsum(
        "pk,pkc->pc", texels.weights, np.asarray(model.uv)[np.asarray(model.uv_faces)[texels.face]]
    )
    there = np.stack([texels.index % 256 + 0.5, 256 - (texels.index // 256 + 0.5)], 1) / 256
    np.testing.assert_allclose(points, there, atol=1e-4)


@pytest.mark.slow
def test_whole_file_has_the_avatars_colours_and_passes_khronos_validator(tmp_path):
    avatar = loaded()
    path = mesh.write(avatar, tmp_path, size=256)
    glb = Glb(path)
    view = glb.document["bufferViews"][glb.document["images"][0]["bufferView"]]
    start, size = view["byteOffset"], view["byteLength"]
    picture = np.asarray(Image.open(io.BytesIO(glb.binary[start : start + size]))) / 255
    uv = glb.attribute("TEXCOORD_0")
    row, column = np.minimum((uv[:, ::-1] * 256).astype(int), 255).T
    template = np.asarray(avatar.model.template)
    corners = np.stack([np.ravel(avatar.model.faces), np.ravel(avatar.model.uv_faces)], 1)
    vertex = np.unique(corners, axis=0)[:, 0]
    wanted = ((template - template.min(0)) / np.ptp(template, axis=0))[vertex]
    skin = np.asarray(avatar.model.masks["face"])[vertex]
    assert np.median(np.abs(picture[row, column] - wanted)[skin]) < 0.04
    validate(path)


def validate(path):
    """Runs Khronos' gltf-validator, which npm installs; a folder with it is in ZERO1A_NODE_MODULES."""
    modules = os.environ.get("ZERO1A_NODE_MODULES", "")
    if not shutil.which("node") or not os.path.isdir(os.path.join(modules, "gltf-validator")):
        pytest.skip("needs node and npm's gltf-validator in the folder ZERO1A_NODE_MODULES (node_modules)")
    script = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    environment = {**os.environ, "NODE_PATH": modules}
    told = subprocess.run(
        ["node", "-e", script, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    issues = json.loads(told.stdout)
    assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]


def test_khronos_validator_finds_no_error(written):
    validate(written[0])
