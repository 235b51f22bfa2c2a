"""Standard output into a file."""

from __future__ import annotations

import pytest

from cxrbench.errors import SettingsError
from cxrbench.output.show import standard_output_to


def test_what_is_printed_goes_to_the_file_whole(tmp_path, capsys):
    path = tmp_path / "new" / "board.md"
    with standard_output_to(path):
        print("a board")
        assert not path.exists()
    assert path.read_text() == "a board\n"
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "board.md"):
        with (
            pytest.raises(SettingsError, match="cannot write the result"),
            standard_output_to(path),
        ):
            raise AssertionError("the work began")


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "board.md"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), standard_output_to(path):
        print(1 // 0)
    assert path.read_text() == "old"


def test_a_command_with_an_exit_code_writes_its_result(cli, tmp_path):
    path = tmp_path / "board.json"
    said = cli("leaderboard", "--runs", tmp_path / "none", "--json", "--output", path)
    assert said.code == 2
    assert not path.exists()
    (tmp_path / "labels.csv").write_text("image,patient,A\nx.png,1,1\n")
    said = cli("data", "check", tmp_path / "labels.csv", "--json", "--output", path)
    assert said.code == 1
    assert said.out == ""
    assert '"sound": false' in path.read_text()
