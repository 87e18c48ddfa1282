"""What the commands that measure refuse before anything runs, and what they do not lose."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import msgspec
import pytest
import redis
from click.testing import CliRunner, Result
from sqlalchemy.exc import OperationalError

from impact.cli import bench, bench_growth, main
from impact.errors import ConfigurationError
from impact.loadtest import fairness, ratios
from impact.loadtest.growth import Growth

DOCS = Path(__file__).parents[3] / "docs"


def invoke(*arguments: str | Path, **variables: str) -> Result:
    unset = dict.fromkeys(("IMPACT_DATA_DIR", "IMPACT_PRIMARY_URL"))
    given = [str(each) for each in arguments]
    return CliRunner().invoke(main, given, env={**unset, **variables})


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


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "audit-log", "--rows"),
        ("bench", "export", "--rows"),
        ("bench", "growth", "--lines"),
        ("bench", "--products"),
        ("bench", "--rounds"),
        ("bench", "cache", "--requests"),
        ("bench", "audit", "--clients"),
        ("loadtest", "--visits"),
    ],
)
def test_absurd_sizes_are_refused(command: tuple[str, ...]) -> None:
    refused(invoke(*command, "99999999999"), "is not in the range")


class TestGroupOptions:
    @pytest.mark.parametrize("command", ["cache", "limits", "audit", "export", "growth"])
    def test_the_data_directory_goes_on(self, command: str, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        for variables in ({}, {"IMPACT_DATA_DIR": str(other)}):
            result = invoke("bench", "--data-dir", one, command, **variables)
            assert f"no stack in {one};" in result.stderr
        result = invoke("bench", "--data-dir", one, command, "--data-dir", other)
        assert f"no stack in {other};" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "option"),
        [
            (("bench", "--json", "limits"), "--json"),
            (("bench", "--rounds", "3", "audit"), "--rounds"),
            (("bench", "--row", "pages", "growth"), "--row"),
            (("bench", "growth", "--json", "show", DOCS / "growth.json"), "--json"),
        ],
    )
    def test_others_are_refused(self, arguments: tuple[str, ...], option: str) -> None:
        refused(invoke(*arguments), f"{option} goes after '")


class TestStatus:
    @pytest.mark.parametrize(
        "error",
        [
            ConfigurationError("no stack"),
            asyncpg.TooManyConnectionsError("too many\nclients"),
            asyncpg.InterfaceError("closed"),
            OperationalError("SELECT 1", {}, OSError("gone")),
            redis.exceptions.ConnectionError("no Redis"),
            ConnectionRefusedError(111, "refused"),
            asyncio.IncompleteReadError(b"", 1),
            TimeoutError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_could_not_be_measured(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bench, "load_settings", Mock(side_effect=error))
        result = invoke("bench", "limits")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize("command", [("limits",), ("growth",)])
    def test_what_was_interrupted(
        self, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module, name in ((bench, "load_settings"), (bench_growth, "running_stack")):
            monkeypatch.setattr(module, name, Mock(side_effect=KeyboardInterrupt))
        result = invoke("bench", *command)
        assert result.exit_code == 130
        assert result.stderr == "\nAborted!\n"

    def test_a_report_without_rows(self, tmp_path: Path) -> None:
        report = msgspec.json.decode((DOCS / "performance.json").read_bytes())
        file = tmp_path / "report.json"
        file.write_bytes(msgspec.json.encode({**report, "rows": []}))
        result = invoke("bench", "show", file)
        assert result.exit_code == 2
        assert result.stderr == f"Error: {file} has no rows\n"


class TestTables:
    @pytest.mark.parametrize("rounds", [(5, 5), (5, 20)])
    def test_rounds_are_each_rows_own(self, rounds: tuple[int, ...], tmp_path: Path) -> None:
        report = msgspec.json.decode((DOCS / "performance.json").read_bytes(), type=ratios.Report)
        report.rows = [
            msgspec.structs.replace(row, rounds=count)
            for row, count in zip(report.rows, rounds, strict=False)
        ]
        file = tmp_path / "report.json"
        file.write_bytes(msgspec.json.encode(report))
        shown = " ".join(invoke("bench", "show", file).stdout.split())
        assert ("medians of 5 rounds" in shown) == (rounds == (5, 5))
        assert ("| rounds |" in shown and "| 20 |" in shown) == (rounds == (5, 20))

    def test_figures_name_their_commit(self) -> None:
        file = DOCS / "growth.json"
        found = msgspec.json.decode(file.read_bytes(), type=Growth)
        assert f"; commit {found.machine.commit}." in invoke("bench", "growth", "show", file).stdout


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
