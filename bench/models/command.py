"""A program in any environment as a network: images of a shard in one folder, its outputs in another."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from PIL import Image
from pydantic import AliasChoices, Field

from bench.api import CITYSCAPES, File, Positive, Prediction, Sample, ShardModel, ShardNetwork, View
from bench.core import files, untrusted_arrays
from bench.core.errors import BadPlugin, MissingData
from bench.core.file_names import file_name
from bench.models import stored

if TYPE_CHECKING:
    from torch import nn

ENDINGS = {"score": "anomaly", "labels": "segmentation"}  # as Fishyscapes names them; others go by their own name
GRACE = 10.0  # seconds between asking a program to end and ending it
LAST = 3  # lines of a program's output that an error repeats
_interrupted: list[bool] = []  # whether this process, if it is one of a pool, was told to stop


@dataclass(frozen=True)
class Command(ShardModel):
    """A program in any environment, called once per shard: ``<id>.png`` in {input}, ``<id>_<name>.npy`` in {output}.

    The name is ``anomaly`` for the score [h, w], ``segmentation`` for the class map, whole numbers [h, w], and that of
    the output for any other in ``gives``, such as ``logits`` [C, h, w]; all at any resolution up to the image's. Words
    are split as a shell does, but no shell is started. The program itself cannot be looked at: ``program``, a file or
    folder whose path stands for {program}, and ``version`` say when its results are no longer the same.
    """

    name = "command"
    source = "a program of the user's; the exchange of files is that of the Fishyscapes containers"
    computations = frozenset({"scoring"})  # whole images: nothing is merged

    run: str
    # ``gives`` in a suite; ``outputs`` is what every network has, with what comes from the image itself.
    output_names: Annotated[
        tuple[str, ...], Field(validation_alias=AliasChoices("gives", "outputs"), serialization_alias="outputs")
    ] = ("score",)
    timeout: Positive = 3600.0  # seconds for one shard
    program: File | None = None
    version: str = ""
    classes: tuple[str, ...] = CITYSCAPES

    def __post_init__(self) -> None:
        stored.whole_images_only(self.inference, "a command's")
        for mark in ("{input}", "{output}", *(("{program}",) if self.program else ())):
            if mark not in self.run:
                raise ValueError(f"run does not name {mark}, wanted where its path belongs")
        if "{program}" in self.run and not self.program:
            raise ValueError("run names {program}, but there is no program; say program: a file or folder")
        if not self.output_names or len(set(self.output_names)) < len(self.output_names):
            raise ValueError("gives are names, each once")
        try:
            shlex.split(self.run)
        except ValueError as error:
            raise ValueError(f"run cannot be split into words: {error}") from None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset({*self.output_names, "raw", "image"})

    def check(self) -> None:
        if self.program and not Path(self.program).exists():
            raise MissingData(
                f"model command: program {self.program} does not exist; paths in a suite are relative to its file"
            )
        first = self.words(Path("input"), Path("output"))[0]
        if shutil.which(first) is None:
            raise MissingData(
                f"model command: {first} is no program that can be run; install it, or give its whole path"
            )

    def digest(self) -> str:
        """16 hex digits of the command, of ``version``, of the content of ``program``, and of the code that reads."""
        parts = [
            self.run,
            self.version,
            *self.output_names,
            files.digest(Path(__file__)),
            files.digest(Path(stored.__file__)),
            files.digest(Path(untrusted_arrays.__file__)),
        ]
        if self.program:
            parts += [f"{name} {files.digest(path)}" for name, path in _contents(Path(self.program))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> CommandNetwork:
        return CommandNetwork(self, device)

    def words(self, images: Path, made: Path) -> list[str]:
        """Return the command for two folders, as words."""
        paths = {"{input}": str(images), "{output}": str(made), "{program}": str(self.program)}
        words = shlex.split(self.run)
        for mark, path in paths.items():
            words = [word.replace(mark, path) for word in words]
        return words


class CommandNetwork(ShardNetwork):
    """The program, its folders of one shard, and the images of it that are still to be read."""

    def __init__(self, command: Command, device: str) -> None:
        self._command, self._device = command, device
        self._who = f"model command: {command.run!r}"
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._waiting: set[str] = set()

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Write the images, run the program, and see whether it left what it must."""
        self._forget()
        if any(_interrupted):
            raise KeyboardInterrupt
        self._folder = tempfile.TemporaryDirectory(prefix="bench-command-", ignore_cleanup_errors=True)
        images, made = Path(self._folder.name, "input"), Path(self._folder.name, "output")
        images.mkdir()
        made.mkdir()
        made.chmod(0o777)  # a container may run as somebody else; the folder above is this user's alone
        for sample in samples:
            Image.fromarray(sample.image()).save(images / f"{file_name(sample.id)}.png", compress_level=1)
        last_line = self._call(self._command.words(images, made), Path(self._folder.name, "said"))
        self._compare(made, [sample.id for sample in samples], last_line)
        shutil.rmtree(images)
        self._waiting = {sample.id for sample in samples}

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view) for view in views]

    def module(self) -> nn.Module:
        raise BadPlugin("model command: a program cannot be trained from here")

    def _prediction(self, view: View) -> Prediction:
        if self._folder is None:
            raise RuntimeError(f"model command: {view.sample} belongs to no shard that was prepared")
        made, classes = Path(self._folder.name, "output"), len(self._command.classes)
        largest = (max(view.image_size[0], view.input_size[0]), max(view.image_size[1], view.input_size[1]))
        outputs, labels = {}, None
        for name in self._command.output_names:
            entry = stored.Entry(made / _file(view.sample, name))
            if name == "labels":
                labels = stored.class_map(entry, classes, view.image_size).to(self._device)
            elif name in ("logits", "class_scores"):
                outputs[name] = stored.volume(entry, classes, largest).to(self._device)
            elif name == "score":
                outputs[name] = stored.volume(entry, None, largest).to(self._device)
            else:
                outputs[name] = stored.numbers(entry).to(self._device)
        self._waiting.discard(view.sample)
        if not self._waiting:
            self._forget()
        return Prediction(outputs, view.input_size, labels=labels, image=view.pixels)

    def _forget(self) -> None:
        """Remove the folder of the shard before."""
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def _call(self, words: Sequence[str], log: Path) -> str:
        """Run the program to its end; return what it said last, in one line."""
        import torch

        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # as the numerics of the run have it
        with log.open("wb") as sink:
            try:
                process = subprocess.Popen(  # noqa: S603 - a suite is code, and names what to run
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | threads,
                )
            except OSError as error:
                raise BadPlugin(f"model command: {words[0]} cannot be started: {error.strerror}") from None
        try:
            status = process.wait(self._command.timeout)
        except KeyboardInterrupt:
            # A pool hands its process the next shard after this one failed; a program would be started for nobody.
            _interrupted.append(multiprocessing.parent_process() is not None)
            raise
        except subprocess.TimeoutExpired:
            _end(process)
            raise BadPlugin(
                f"{self._who} was ended after {self._command.timeout:g} seconds; raise timeout if it needs more;"
                f" {_last(log)}"
            ) from None
        finally:
            _end(process)  # also what it left running, and all of it where this process is interrupted
        if status:
            end = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise BadPlugin(f"{self._who} {end}; {_last(log)}")
        return _last(log)

    def _compare(self, made: Path, ids: Sequence[str], last_line: str) -> None:
        """Refuse a file that is missing or that nobody asked for."""
        expected = [_file(sample, name) for sample in ids for name in self._command.output_names]
        names = {path.name for path in made.iterdir()}
        if missing := [name for name in expected if name not in names]:
            raise BadPlugin(
                f"{self._who} left no {missing[0]} ({len(missing)} of {len(expected)} files are missing); {last_line}"
            )
        if surplus := sorted(names - set(expected)):
            raise BadPlugin(
                f"{self._who} left {surplus[0]}, which nobody asked for; wanted such as {expected[0]};"
                f" name further outputs in gives; {last_line}"
            )


def _file(sample: str, output: str) -> str:
    return f"{file_name(sample)}_{ENDINGS.get(output, output)}.npy"


def _contents(program: Path) -> list[tuple[str, Path]]:
    """Every file of a program by its name in there, without caches and hidden folders."""
    if program.is_file():
        return [(program.name, program)]
    contents = []
    for path in sorted(program.rglob("*")):
        inner = path.relative_to(program)
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in inner.parts):
            contents.append((inner.as_posix(), path))
    return contents


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it started: asked first, so that a container's client can stop its container."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            process.poll()  # one that ended keeps its group until somebody asks
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return f"it said last: {' | '.join(lines[-LAST:])}" if lines else "it said nothing"
