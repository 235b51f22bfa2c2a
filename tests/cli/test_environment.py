"""Environments that are not those of a desktop: other encodings, no home, streams that end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import environment, install

MAIN = "from cxrbench.cli import main; main()"


def command(
    *arguments: object, site, code: str = MAIN, without: tuple[str, ...] = (), **settings
) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own, with other variables."""
    variables = {**environment(site), **settings.pop("variables", {})}
    for name in without:
        variables.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=variables,
        check=False,
        **{"capture_output": True, **settings},
    )


@pytest.fixture
def site(tmp_path):
    install(tmp_path, "tiny-parts", "tiny_parts")
    return tmp_path


@pytest.mark.parametrize(
    "encoding",
    ["ascii", *(pytest.param(one, marks=pytest.mark.slow) for one in ("latin-1", "cp1252"))],
)
def test_a_finished_run_ends_with_its_board_in_any_encoding(site, encoding):
    places = ("--runs", site / "runs", "--cache", site / "cache")
    variables = {"PYTHONIOENCODING": encoding}
    said = command("run", "prior", "--data", "drawn", *places, site=site, variables=variables)
    assert said.returncode == 0, said.stderr
    text = said.stdout.decode(encoding)
    assert "prior" in text
    assert "micro AUROC" in text
    assert b"Traceback" not in said.stderr
    for output in ("table", "json", "csv", "markdown", "html", "latex"):
        said = command(
            *("leaderboard", "--runs", site / "runs", "--format", output),
            site=site,
            variables=variables,
        )
        assert said.returncode == 0, (output, said.stderr)
        said.stdout.decode(encoding)


def test_typographic_characters_have_something_near_and_names_are_kept():
    code = (
        "from cxrbench.cli import _prepare_streams; _prepare_streams(); "
        "print('── 0.5 ± 0.1 · 3 × 4 … ≤ Pneumonía 肺')"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "-- 0.5 +- 0.1 . 3 x 4 ... <= Pneumon\\xeda \\u80ba\n"


def test_a_closed_standard_output_is_no_error(site):
    said = command("plugins", "list", site=site, code=f"import sys; sys.stdout = None; {MAIN}")
    assert (said.returncode, said.stderr) == (0, b"")


def test_a_reader_that_has_enough_ends_the_command_with_one_message(site):
    read, write = os.pipe()
    os.close(read)
    said = command(
        "plugins", "list", site=site, capture_output=False, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert said.returncode == 2
    assert said.stderr.count(b"cxrbench: ") == 1
    assert b"Traceback" not in said.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_standard_output_that_is_full_is_one_message(site):
    with open("/dev/full", "wb") as full:
        said = command(
            "plugins", "list", site=site, capture_output=False, stdout=full, stderr=subprocess.PIPE
        )
    assert said.returncode == 2
    assert said.stderr.count(b"cxrbench: ") == 1
    assert b"Traceback" not in said.stderr
    assert b"ignored" not in said.stderr


# As for a user id without an entry in /etc/passwd.
NO_HOME = f"import pwd; pwd.getpwuid = {{}}.__getitem__; {MAIN}"
HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CXRBENCH_CACHE", "CXRBENCH_DICOM_KEY")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("run", "prior", "--data", "drawn"), b"--cache or CXRBENCH_CACHE"),
        (("cache", "list"), b"--cache or CXRBENCH_CACHE"),
        (("cache", "list", "--cache", "~/there"), b"write the whole path"),
        (("run", "prior", "--data", "~/there", "--cache", "c"), b"write the whole path"),
    ],
)
def test_without_a_home_the_message_says_what_to_name(site, arguments, advice):
    said = command(*arguments, site=site, code=NO_HOME, without=HOMES, cwd=site)
    assert said.returncode == 2, said.stderr
    assert said.stderr.count(b"cxrbench: ") == 1
    assert b"Traceback" not in said.stderr
    assert advice in said.stderr
    assert not (site / "~").exists()


def test_without_a_home_a_run_with_its_cache_named_works(site):
    arguments = ("run", "prior", "--data", "drawn", "--runs", "r", "--cache", "c")
    said = command(*arguments, site=site, code=NO_HOME, without=HOMES, cwd=site)
    assert said.returncode == 0, said.stderr
    assert not (site / "~").exists()


def test_a_tilde_that_the_shell_left_is_the_home(site):
    said = command(
        *("run", "prior", "--data", "drawn", "--runs=~/runs", "--cache=~/cache"),
        site=site,
        variables={"HOME": str(site / "home")},
        cwd=site,
    )
    assert said.returncode == 0, said.stderr
    assert (site / "home" / "runs").is_dir()
    assert (site / "home" / "cache").is_dir()
    assert not (site / "~").exists()


# Memory

_FAILS = """
from unittest import mock
import cxrbench.cli.app
from cxrbench.cli import main
with mock.patch.object(cxrbench.cli.app, "app", side_effect={error}):
    main()
"""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("MemoryError()", "MemoryError"),
        (
            "ImportError('libtensorflow_cc.so.2: failed to map segment from shared object')",
            "libtensorflow_cc.so.2: failed to map segment",
        ),
    ],
)
def test_want_of_memory_is_a_message(tmp_path, error, text):
    said = command(site=tmp_path, code=_FAILS.format(error=error))
    assert said.returncode == 2, said.stderr
    err = said.stderr.decode()
    assert "the memory is too small" in err
    assert text in err
    assert "Traceback" not in err


def test_another_import_error_is_no_want_of_memory(tmp_path):
    said = command(site=tmp_path, code=_FAILS.format(error="ImportError('no such name')"))
    assert said.returncode == 1
    assert b"Traceback" in said.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_small_limit_of_memory_is_said_at_the_start(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); " + MAIN
    said = command("--version", site=tmp_path, code=limited)
    assert said.returncode == 0
    assert b"only 2.1 GB of address space (ulimit -v)" in said.stderr
    assert b"ulimit" not in command("--version", site=tmp_path).stderr
