"""What the commands that measure refuse before anything runs, and what they do not lose."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from impact.cli import bench, bench_growth, main
from impact.loadtest import fairness
from impact.loadtest.growth import Growth

DOCS = Path(__file__).parents[3] / "docs"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--rate", "--duration", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0"])
def test_numbers_that_end_nothing_are_refused(option: str, value: str) -> None:
    refused(invoke("loadtest", "--url", "http://127.0.0.1:1", option, value), f"'{option}'")


def test_a_shop_is_not_its_own_neighbour() -> None:
    refused(invoke("bench", "fairness", "--tenant", "lyon"), "another shop")


@pytest.mark.parametrize(("errors", "status"), [(0, 0), (3, 1)])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_errors_are_no_fairness(
    errors: int,
    status: int,
    form: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = fairness.Times(1.0, 2.0, 1.0)
    found = fairness.Fairness(times, times, times, errors, {200: 9}, 1, 10)
    monkeypatch.setattr(fairness, "measure", lambda *_, **__: found)
    monkeypatch.setattr(bench, "load_settings", lambda _: None)
    assert invoke("bench", "fairness", *form).exit_code == status


class TestReportFiles:
    @pytest.mark.parametrize(
        "command",
        [
            ("bench", "--save"),
            ("bench", "growth", "--save"),
            ("loadtest", "--url", "http://127.0.0.1:1", "--html"),
        ],
    )
    def test_a_place_that_takes_none_is_refused_first(
        self, command: tuple[str, ...], tmp_path: Path
    ) -> None:
        place = ("--data-dir", tmp_path)
        refused(invoke(*command, tmp_path / "no" / "file", *place), "cannot be written")
        refused(invoke(*command, tmp_path, *place), "is a directory")

    def test_looking_leaves_nothing_and_takes_nothing(self, tmp_path: Path) -> None:
        kept, new = tmp_path / "kept", tmp_path / "new"
        kept.write_text("of the last run")
        for each in (kept, new):
            result = invoke("bench", "growth", "--data-dir", tmp_path / "none", "--save", each)
            assert "there is no stack" in result.stderr
        assert kept.read_text() == "of the last run"
        assert not new.exists()

    def test_a_full_disk_does_not_cost_the_figures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = msgspec.json.decode((DOCS / "growth.json").read_bytes(), type=Growth)
        monkeypatch.setattr(bench_growth, "_measure", lambda *_: found)
        result = invoke("bench", "growth", "--save", "/dev/full")
        assert result.exit_code == 2
        assert "products, page 1" in result.stdout
        assert result.stderr == "Error: '/dev/full' cannot be written: No space left on device\n"
