"""Tables of rows: bands of yaw, and paired differences."""

from zero1a_jax.showing import tables

MORE = {"psnr_aligned": 21.0, "ssim_aligned": 0.6, "sharpness": 0.8}


def rows(identity, gain=0.0):
    return [
        {
            "identity": identity,
            "pair": k,
            "yaw": yaw,
            "psnr": 20 + k + gain,
            "ssim": 0.5,
            "landmark_error": 0.1,
            **MORE,
        }
        for k, yaw in enumerate([5, -20, 35, -50, 70])
    ]


def test_tables():
    text = tables.table_text(rows(1))
    lines = text.splitlines()
    assert len(lines) == 1 + 5 + 1 and lines[1].split()[:3] == ["0-15", "1", "20.00"]
    assert lines[-1].split()[:3] == ["all", "5", "22.00"]


def test_paired_differences():
    base, better = [*rows(1), *rows(2)], [*rows(1, 1.0), *rows(2, 2.0)]
    result = tables.paired(base, better[::-1])
    assert result["count"] == 4 and result["won"] == 4  # two pairs in the band, two people
    assert abs(result["psnr"] - 1.5) < 1e-9
    low, high = result["interval"]
    assert 1 <= low < 1.5 < high <= 2
    assert tables.paired(rows(1), rows(3)) is None
    text = tables.comparison_text({"portrait only": base, "full": better})
    assert "+1.50" in text and "4 of 4" in text and "| full | 30-45 |" in text


def test_the_summarys_interval_is_over_people():
    found = tables.summary([*rows(1), *rows(2, 4.0)])
    low, high = found["psnr_interval"]
    assert found["pairs"] == 10 and found["psnr"] == 24 and 20 < low < 24 < high < 28
    front = found["by_yaw"]["0-15"]  # one pair of each person: 20 and 24
    assert front["psnr"] == 22 and front["psnr_interval"] == [20, 24]
