"""MediaPipe's blendshapes as tables and JSON: one recording whatever wrote them down."""

import csv
import json

import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.converters import arkit, mediapipe
from zero1a_jax.errors import Refused

NAMES = arkit.MEDIAPIPE
ROWS = 20
VALUES = np.round(np.random.default_rng(0).random((ROWS, len(NAMES))) * 0.9, 6)
JAW = NAMES.index("jawOpen")


def table(path, *extra, values=VALUES, names=NAMES):
    """Columns (name, cells) in front of the scores."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(name for name, _ in extra), *names])
        for i, row in enumerate(values):
            writer.writerow([*(cells[i] for _, cells in extra), *("" if np.isnan(v) else v for v in row)])
    return path


@pytest.mark.parametrize(
    "name, unit",
    [
        ("timestamp", 1),
        ("timestamp", 1e3),
        ("timestamp", 1e6),
        ("timestamp", 1e9),
        ("timestamp_ms", 1e3),
        ("Time (s)", 1),
        ("time_us", 1e6),
        ("timestampMs", 1e3),
        ("t", 1),
        ("seconds", 1),
    ],
)
@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_the_rate_of_times(name, unit, rate, tmp_path):
    seconds = 5 + np.delete(np.arange(ROWS + 3), [4, 5, 11]) / rate  # three frames are missing
    cells = [f"{s * unit:.0f}" if unit > 1 else f"{s:.4f}" for s in seconds]
    found = mediapipe.load(table(tmp_path / "a.csv", ("frame", range(ROWS)), (name, cells)))
    assert found.fps == rate and found.notes == () and found.names == NAMES
    np.testing.assert_allclose(found.seconds, seconds - 5, atol=2e-3)
    np.testing.assert_array_equal(found.weights, VALUES)
    assert not found.rotations.any()


def test_frame_numbers_count_where_no_times_do(tmp_path):
    numbers = [*range(100, 110), *range(115, 125)]
    path = table(tmp_path / "a.csv", ("frame_id", numbers))
    found = mediapipe.load(path)
    assert found.fps == 30 and "30 frames a second are assumed" in found.notes[0]
    np.testing.assert_array_equal(found.frame, np.array(numbers) - 100)
    found = mediapipe.load(path, fps=25)
    assert found.notes == () and found.seconds[-1] == pytest.approx(24 / 25)
    pictures = table(tmp_path / "b.csv", ("frame", [f"{i:04d}.png" for i in range(ROWS)]))
    np.testing.assert_array_equal(mediapipe.load(pictures).frame, np.arange(ROWS))


def test_the_users_rate_wins_over_times(tmp_path):
    path = table(tmp_path / "a.csv", ("timestamp", np.arange(ROWS) / 30))
    found = mediapipe.load(path, fps=60)
    assert found.fps == 60 and found.seconds[-1] == pytest.approx((ROWS - 1) / 60)


def test_other_spellings_and_lost_faces(tmp_path):
    snake = ["".join("_" + c.lower() if c.isupper() else c for c in name) for name in NAMES]
    values = VALUES.copy()
    values[6:8] = np.nan
    found = mediapipe.load(
        table(tmp_path / "a.csv", ("time", np.arange(ROWS) / 25), values=values, names=snake)
    )
    assert found.names == NAMES and found.notes == ("2 of 20 rows without a face were bridged.",)
    np.testing.assert_allclose(found.weights[6], (2 * VALUES[5] + VALUES[8]) / 3)


def categories(row, *, name="categoryName"):
    return [
        {"index": i, "score": float(v), name: n, "displayName": ""}
        for i, (n, v) in enumerate(zip(NAMES, row, strict=True))
    ]


SCORES = [dict(zip(NAMES, map(float, row), strict=True)) for row in VALUES]
STAMPS = [33.4 * i for i in range(ROWS)]


@pytest.mark.parametrize(
    "content, timed",
    [
        ([categories(row) for row in VALUES], False),
        ([categories(row, name="category_name") for row in VALUES], False),
        (SCORES, False),
        ([{"timestamp": t, **s} for t, s in zip(STAMPS, SCORES, strict=True)], True),
        ([{"timestampMs": t, "blendshapes": s} for t, s in zip(STAMPS, SCORES, strict=True)], True),
        (
            [
                {
                    "time_ms": t,
                    "faceBlendshapes": [{"categories": categories(r), "headIndex": -1}],
                    "faceLandmarks": [[{"x": 0.1}]],
                }
                for t, r in zip(STAMPS, VALUES, strict=True)
            ],
            True,
        ),
        (
            [
                {"timestamp_ms": t, "face_blendshapes": [categories(r), categories(r[::-1])]}
                for t, r in zip(STAMPS, VALUES, strict=True)
            ],
            True,
        ),
        ({"fps": 30, "frames": [{"blendshapes": s} for s in SCORES]}, True),
    ],
)
@pytest.mark.parametrize("layout", ["json", "jsonl"])
def test_json(content, timed, layout, tmp_path):
    path = tmp_path / f"a.{layout}"
    if layout == "jsonl":
        if isinstance(content, dict):
            pytest.skip("one frame a line has no place for the rate")
        path.write_text("\n".join(map(json.dumps, content)))
    else:
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    found = mediapipe.load(path)
    assert found.names == NAMES and found.fps == 30 and bool(found.notes) is not timed
    np.testing.assert_array_equal(found.weights, VALUES)
    np.testing.assert_allclose(found.seconds, np.arange(ROWS) / 30, atol=2e-3)


def test_json_frames_without_a_face_and_names_left_out(tmp_path):
    content = [SCORES[0], None, [], {}, {"jawOpen": 0.5}, SCORES[5], {"jawOpen": None, "mouthClose": 0.1}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = mediapipe.load(tmp_path / "a.json", fps=30)
    assert found.notes[0] == "3 of 7 rows without a face were bridged."
    np.testing.assert_allclose(found.weights[:5, JAW], np.linspace(VALUES[0, JAW], 0.5, 5))
    assert found.weights[4].sum() == 0.5 and found.weights[6, JAW] == VALUES[5, JAW]
    (tmp_path / "a.json").write_text(json.dumps(categories(VALUES[3])))
    np.testing.assert_array_equal(mediapipe.load(tmp_path / "a.json").weights, VALUES[3:4])


def test_it_drives_a_head(tmp_path, tiny):
    recording = mediapipe.load(table(tmp_path / "a.csv", ("time", np.arange(ROWS) / 25)))
    motion = drive.livelink_motion(recording, tiny())
    np.testing.assert_allclose(motion.flame.expression[:, 1], VALUES[:, JAW], atol=1e-6)
    assert motion.fps == 25 and not motion.flame.neck.any()


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no list of frames"),
        ("3", "no list of frames"),
        ("[1, 2]", "frame 1: no names with scores"),
        ('[{"a": 1}]', "none of MediaPipe's"),
        ('[{"jawOpen": "wide"}]', "jawOpen is 'wide'"),
        ('[{"jawOpen": true}]', "jawOpen is True"),
        ('[{"jawOpen": 1e999}]', "not finite"),
        ('[{"jawOpen": 7}]', "neither 0..1"),
        ('[{"jawOpen": 1, "time": 1}, {"jawOpen": 1}]', "time is missing in row 2"),
        ('[{"jawOpen": 1, "time": 1}, {"jawOpen": 1, "time": 0}]', "runs backward"),
        ('[{"jawOpen": 1, "time_s": 1}, {"jawOpen": 1, "time_s": 34}]', "name its unit"),
        (json.dumps([{"jawOpen": 1, "time": t} for t in (0, 0.1, 0.2, 60)]), "frame 4: 60 s without a row"),
        ('{"fps": 0, "frames": [{"jawOpen": 1}]}', "rate is above 0"),
        ('{"fps": "x", "frames": [{"jawOpen": 1}]}', "fps is 'x'"),
        ('[[{"categoryName": "jawOpen", "score": 1}, 3]]', "not every category"),
        (json.dumps([[[[[[[[[[]]]]]]]]]]), "no names with scores"),
    ],
)
def test_wrong_json(text, words, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(Refused, match=words) as caught:
        mediapipe.load(tmp_path / "a.json")
    assert "a.json" in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(FileNotFoundError):
        mediapipe.load(tmp_path / "none.json")


def long_table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.mark.parametrize("melted", [False, True])
@pytest.mark.parametrize(
    "header",
    [
        ("frame", "timestamp_ms", "index", "category_name", "score"),
        ("id", "time", "category", "value"),
        ("Time (s)", "blendshape", "Score", "display_name"),
        ("categoryName", "score"),
        ("row", "frame", "name", "weight"),
    ],
    ids=str,
)
def test_a_row_a_category(header, melted, tmp_path):
    """As a program writes them, frame by frame, or as a melted table; other columns say nothing."""
    pairs = [(i, k) for i in range(ROWS) for k in range(len(NAMES))]
    pairs = sorted(pairs, key=lambda pair: pair[1]) if melted else pairs
    cells = {
        "frame": lambda n, i, k: i,
        "timestamp_ms": lambda n, i, k: 40 * i,
        "time": lambda n, i, k: i / 25,
        "Time (s)": lambda n, i, k: i / 25,
        "index": lambda n, i, k: k,
        "id": lambda n, i, k: n,
        "row": lambda n, i, k: n,
        "display_name": lambda n, i, k: "",
    }
    cells |= dict.fromkeys(
        ("category_name", "category", "blendshape", "categoryName", "name"), lambda n, i, k: NAMES[k]
    )
    cells |= dict.fromkeys(("score", "value", "Score", "weight"), lambda n, i, k: VALUES[i, k])
    rows = [[cells[name](n, i, k) for name in header] for n, (i, k) in enumerate(pairs)]
    found = mediapipe.load(long_table(tmp_path / "a.csv", header, rows))
    assert found.names == NAMES and found.fps == (25 if any("time" in n.lower() for n in header) else 30)
    np.testing.assert_array_equal(found.weights, VALUES)
    np.testing.assert_array_equal(found.frame, np.arange(ROWS))


def test_a_row_a_category_with_lost_faces_second_faces_and_what_is_left_out(tmp_path):
    rows = [[i, "jawOpen", i / 10] for i in range(6)] + [[i, "mouthPucker", 0.5] for i in range(3)]
    rows += [[2, "jawOpen", 0.9], [6, "", ""], [7, "jawOpen", 0.7], [3, "unheard", 0.2]]
    found = mediapipe.load(long_table(tmp_path / "a.csv", ["frame", "category", "score"], rows))
    np.testing.assert_allclose(found.weights[:, 0], np.arange(8) / 10)
    np.testing.assert_allclose(found.weights[:6, 1], [0.5, 0.5, 0.5, 0, 0, 0])
    assert "1 of 8 rows without a face were bridged." in found.notes
    one = long_table(
        tmp_path / "b.csv", ["index", "category", "score"], [[0, "jawOpen", 0.3], [1, "cheekPuff", 0.1]]
    )
    np.testing.assert_allclose(mediapipe.load(one).weights, [[0.3, 0.1]])


@pytest.mark.parametrize(
    "header, rows, words",
    [
        (["frame", "category", "score"], [[0, "jawOpen", "wide"]], "'wide' under jawOpen is no number"),
        (["frame", "category", "score"], [[1, "jawOpen", 0.1], [0, "jawOpen", 0.2]], "frame runs backward"),
        (["frame", "category", "age"], [[0, "jawOpen", 0.1]], "none of its columns"),
        (["frame", "category", "score"], [[0, "person", 0.1], [0, "dog", 0.1]], "none of its columns"),
    ],
)
def test_wrong_rows_a_category(header, rows, words, tmp_path):
    with pytest.raises(Refused, match=words):
        mediapipe.load(long_table(tmp_path / "a.csv", header, rows))
