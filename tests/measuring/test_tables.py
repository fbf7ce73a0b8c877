"""Tables of rows: bands of yaw, and paired differences."""

from zero1a_jax.measuring import tables

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
    more = {"CPU s": {"full": "12"}}
    text = tables.markdown(tables.comparison({"portrait only": base, "full": better}, more))
    assert "| full | 4 | +1.50 (+1.00 to +2.00) | 4 of 4 | +0.0000 |" in text
    lines = text.splitlines()
    assert lines[2] == (
        "| method | PSNR dB | 95 % | SSIM | aligned dB | aligned SSIM | sharpness | landmarks % | CPU s |"
    )
    assert lines[4].startswith("| portrait only | 22.00 | 21.10 to 22.80 |") and lines[4].endswith(
        "| 10.00 | - |"
    )
    assert lines[5].endswith("| 12 |")
    assert "| full | 21.50 | 22.50 | 23.50 | 24.50 | 25.50 |" in text


def test_what_could_not_be_told_is_a_dash():
    told, untold = rows(1), rows(2)
    for row in untold:
        row |= {"strength": 0.02, "psnr_colour": None}
    for row in told:
        row |= {"strength": 0.001 * row["pair"], "psnr_colour": 30.0}
    assert tables.means(told)["psnr_colour"] == 30 and tables.means(untold)["psnr_colour"] is None
    assert tables.means([*told, *untold])["psnr_colour"] == 30  # of those that tell
    text = tables.markdown(tables.comparison({"a": told, "b": untold}))
    assert "| colour dB |" in text and "| - |" in text and "| 0-1 % | 1-3 % |" in text
    assert "colour dB" not in tables.table_text(untold) and "moved %" in tables.table_text(untold)


def test_the_summarys_interval_is_over_people():
    found = tables.summary([*rows(1), *rows(2, 4.0)])
    low, high = found["psnr_interval"]
    assert found["pairs"] == 10 and found["psnr"] == 24 and 20 < low < 24 < high < 28
    front = found["by_yaw"]["0-15"]  # one pair of each person: 20 and 24
    assert front["psnr"] == 22 and front["psnr_interval"] == [20, 24]
