"""Budget: which variants fit a device, and which budget files are valid."""

import pytest

from export.budget import Budget, read_budget
from relple_tf.errors import InputError

FITTING = {"flash_bytes": 1000, "arena_bytes": 500, "largest_error": 0.2}


def budget_of(tmp_path, text):
    path = tmp_path / "budget.toml"
    path.write_text(text)
    return read_budget(path)


def test_a_value_equal_to_its_limit_fits_and_without_limits_everything_fits():
    assert Budget(**FITTING).exceeded(**FITTING) == ()
    assert Budget().exceeded(flash_bytes=10**9, arena_bytes=None, largest_error=9.0) == ()


@pytest.mark.parametrize(("name", "above"), [("flash_bytes", 1001), ("arena_bytes", 501), ("largest_error", 0.2001)])
def test_only_the_exceeded_limit_is_reported(name, above):
    (reason,) = Budget(**FITTING).exceeded(**{**FITTING, name: above})
    assert reason.startswith(name.split("_")[0] if name != "largest_error" else "error")


def test_an_unmeasured_arena_and_an_error_of_nan_do_not_fit():
    assert Budget(arena_bytes=500).exceeded(**{**FITTING, "arena_bytes": None}) == ("arena not measured",)
    assert Budget(largest_error=0.5).exceeded(**{**FITTING, "largest_error": float("nan")})


def test_a_budget_file_sets_the_limits(tmp_path):
    budget = budget_of(tmp_path, "flash_bytes = 65536\narena_bytes = 32768\nlargest_error = 1\n")
    assert budget == Budget(flash_bytes=65536, arena_bytes=32768, largest_error=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ram_bytes = 1", "'ram_bytes'"),
        ("flash_bytes = 64.5", "64.5"),
        ("flash_bytes = true", "True"),
        ("arena_bytes = -1", "-1"),
        ('largest_error = "small"', "'small'"),
        ("largest_error = nan", "nan"),
        ("", "has no limit"),
        ("flash_bytes", "not TOML"),
        ("[device]\nflash_bytes = 1", "'device'"),
    ],
)
def test_an_invalid_budget_is_refused_in_one_line_with_the_file_and_the_value(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refusal:
        budget_of(tmp_path, text)
    assert "budget.toml" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_budget(tmp_path / "none.toml")
