"""Leaderboards of anybody are commands of ``bench submit``, made of the parameters that their classes declare."""

import subprocess
import sys

import pytest

from bench.cli.main import main
from bench.suite import registry, scaffold

FIELD = """    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a board of one's own, with another parameter in place of its own."""
    folder = tmp_path / "plugins" / "submissions"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BENCH_PLUGINS", str(folder.parent))
    registry.forget()

    def written(field: str = FIELD, name: str = "mine") -> None:
        text = scaffold.text("board", name)
        assert text.count(FIELD) == 1
        (folder / f"{name}.py").write_text(text.replace(FIELD, field))
        registry.forget()

    yield written
    registry.forget()


def test_a_board_of_ones_own_is_a_command_with_its_own_options(write, capsys):
    write()
    assert main(["submit", "--help"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.partition("Commands:")[2].splitlines() if line]
    names = names[: names.index("Examples:")]
    assert names == [
        "issu",
        "smiyc",
        "fishyscapes",
        "bravo",
        "cityscapes",
        "mine",
        "oodis",
        "check",
        "dry-run",
        "entry",
    ]
    assert main(["submit", "mine", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Mine: a zip of float16 maps" in said
    assert "Processes that each hold the network. [default: 1; x>=1]" in said
    assert main(["submit", "mine", "--method", "msp", "--out", "x", "--processes", "0"]) == 2
    assert "wanted greater than or equal to 1" in capsys.readouterr().err
    assert main(["submit", "check", "--help"]) == 0
    assert "<issu|smiyc|fishyscapes|bravo|cityscapes|mine|oodis>" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("    out: int = 1\n", "its parameter 'out' is an option of every board; choose another name"),
        ("    when: Mapping[int, int] | None = None\n", "its parameter 'when' is of a type that no option can have"),
        ("    title = None\n", "does not say its title"),
    ],
)
def test_what_no_command_can_be_made_of_is_refused_in_one_line(write, capsys, field, said):
    write(field)
    assert main(["submit", "mine", "--method", "msp", "--out", "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench: bench submit: board 'mine' cannot be used: ") and said in line
    assert main(["submit", "--help"]) == 0


def test_a_board_that_cannot_be_imported_hides_no_other(write, capsys):
    write("    import nothing_of_this_name\n")
    assert main(["list", "leaderboards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "issu",
        "smiyc",
        "fishyscapes",
        "bravo",
        "cityscapes",
        "mine",
        "oodis",
    ]
    (broken,) = (line for line in lines if line.startswith("mine "))
    assert "cannot be used: " in broken and "nothing_of_this_name" in broken
    assert main(["submit", "mine", "--method", "msp", "--out", "x"]) == 2
    assert "board 'mine' cannot be used" in capsys.readouterr().err
    assert main(["submit", "smiyc", "--method", "msp", "--out", "x"]) == 2
    assert "say where the method comes from" in capsys.readouterr().err
    assert main(["submit", "--help"]) == 0


def test_the_maps_of_a_board_of_ones_own_do_not_depend_on_how_many_processes_make_them(write, tmp_path, tiny, capsys):
    write()
    board = tmp_path / "plugins" / "submissions" / "mine.py"
    board.write_text(board.read_text().replace('"images": 4', '"images": 17').replace('"height": 64', '"height": 32'))
    line = ["submit", "mine", "--suite", str(tiny), "--method", "msp", "--out"]
    assert main([*line, str(tmp_path / "one")]) == 0
    assert main([*line, str(tmp_path / "two"), "--processes", "2"]) == 0
    assert (tmp_path / "one" / "msp.zip").read_bytes() == (tmp_path / "two" / "msp.zip").read_bytes()


def test_the_help_of_the_command_line_looks_for_no_board():
    look = (
        "import sys; from bench.cli.main import main; main(['--help']);"
        "print([name for name in sys.modules if name.startswith(('bench.submi', 'bench.suite.registry', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
