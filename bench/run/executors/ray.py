"""Workers of a Ray cluster: one actor each, which keeps its network loaded.

An actor writes what a task leaves below a folder of its own and hands the bytes over; the driver alone writes the run
directory. What an earlier phase left is read in the run directory where the actor sees the very same one (it finds the
driver's token there), and is sent along where not. Actors that would compute other bits than the first are not used.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported

import ray
from ray import exceptions

import bench
from bench.api import State
from bench.core.cpu_time import spent
from bench.core.errors import ClusterTrouble, MissingData, UserError, WorkerDied
from bench.core.files import writing
from bench.core.scratch_folder import ScratchFolder
from bench.fit import fitted_store
from bench.models import numerics
from bench.models.numerics import Numerics
from bench.run.executors import ray_readers
from bench.run.executors.dispatch import DEPTH, Died, RayOptions, WorkerPool
from bench.run.messages import Outcome, Work, moved
from bench.run.passes import execute
from bench.run.provenance import version_of
from bench.run.shard_files import inputs_of
from bench.run.worker import Worker
from bench.suite.cells import Ref
from bench.suite.schema import NumericsRule
from bench.suite.wrappers import corrupted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 2**25  # bytes of files that travel together: what driver and actor hold in memory at a time
SEEN = ".seen-"
FOLDER = "bench-ray-"
KNOCK = 10.0  # seconds to wait for the head of a cluster
LOST = (exceptions.RayActorError, exceptions.ObjectLostError, exceptions.WorkerCrashedError, exceptions.NodeDiedError)
SAME = ("ood-seg-bench", "torch", "numpy", "numba")  # packages whose versions must be the driver's

Chunk = dict[str, "NDArray[np.uint8]"]  # the bytes of files by their path relative to the run


@dataclass(frozen=True)
class Hello:
    """What an actor says of itself when it begins."""

    numerics: Numerics
    shares: bool  # whether it sees the run directory
    host: str
    node: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """What a task left: its outcome, and its files in the object store."""

    outcome: Outcome
    chunks: Sequence[Any]  # references to Chunk


class RayWorker:
    """The actor."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        ray_readers.begin(folder, environment)
        self._worker = Worker()
        self._worker.cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
        self._scratch = ScratchFolder(FOLDER)
        self._known: set[Ref] = set()
        self._elsewhere = False
        self._shares: Path | None = None  # the run directory, if it can be seen here

    def begin(self, rule: NumericsRule, run_dir: Path, token: str, node: str) -> Hello:
        """Look around; ``token`` is a file in the run directory of the driver, which runs on ``node``."""
        here = ray.get_runtime_context().get_node_id()
        self._shares = run_dir if (run_dir / token).is_file() else None
        self._elsewhere = here != node
        return Hello(numerics.resolve(rule), self._shares is not None, socket.gethostname(), here, _versions())

    def read_by(self, readers: Any, name: str) -> None:
        """Have the actor of this node read, which knows this worker by its name."""
        self._worker.name, self._worker.pool = name, ray_readers.NodePool(readers)

    def execute(
        self, work: Work, states: Mapping[str, Any], files: Sequence[Any], digests: Mapping[Ref, str]
    ) -> Batch | Died | UserError:
        """Do one task. ``states`` are references to what was fitted, ``files`` to what earlier phases left.

        Returned, not raised, is what ends the run: Ray would wrap it.
        """
        for key, reference in states.items():
            self._worker.take_state(key, ray.get(reference))
        try:
            self._compare(digests)
            with tempfile.TemporaryDirectory(dir=self._scratch.path) as folder:
                run, inputs = Path(folder, "run"), Path(folder, "inputs")
                run.mkdir()
                for reference in files:
                    _unpack(ray.get(reference), inputs)
                outcome = execute(moved(work, run, self._shares or inputs), self._worker)
                outcome = replace(outcome, spent=spent.taken())
                return Batch(outcome, [ray.put(chunk) for chunk in _packed(run, _files(run))])
        except WorkerDied as error:
            return Died.of(error)
        except UserError as error:
            return error

    def _compare(self, digests: Mapping[Ref, str]) -> None:
        """Another machine may have other files under the same names."""
        if not self._elsewhere:
            return
        for ref, expected in digests.items():
            if ref not in self._known:
                digest = ref.plain.build().digest() if ref.kind == "dataset" else ref.build().digest()
                if ref.kind == "dataset" and ref.corruption:
                    digest = corrupted.digest(digest)
                if digest != expected:
                    raise MissingData(
                        f"{ref.kind} {ref.label} is not the same on {socket.gethostname()} as where the run was started"
                        f" (digests {digest} and {expected}); put the same files there"
                    )
                self._known.add(ref)


def _versions() -> dict[str, str]:
    """Of what numbers depend on."""
    return {"ood-seg-bench": bench.__version__, **{name: version_of(name) for name in SAME[1:]}}


def _files(run: Path) -> list[str]:
    """Files of a run relative to it: shards last, since a shard says that the maps beside it are there."""
    names = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    return sorted(names, key=lambda name: (name.startswith("work/"), name))


def _packed(run: Path, names: Sequence[str]) -> Iterator[Chunk]:
    """Files in that order, a few at a time; those that are not there are left out."""
    import numpy as np

    chunk: Chunk = {}
    size = 0
    for name in names:
        if not (run / name).is_file():
            continue
        content = np.fromfile(run / name, np.uint8)
        if chunk and size + content.size > CHUNK:
            yield chunk
            chunk, size = {}, 0
        chunk[name] = content
        size += content.size
    if chunk:
        yield chunk


def _unpack(chunk: Chunk, folder: Path) -> None:
    for name, content in chunk.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise MissingData(f"a worker sent the file {name!r}, which does not belong into a run")
        with writing(folder / inside) as file:
            file.write(content.data)


@dataclass
class _Actor:
    """One actor as the driver sees it."""

    handle: Any
    hello: Any  # the reference, until it was answered
    under_way: deque[Any]  # references to outcomes, in order
    states: set[str]  # keys of what it was sent
    shares: bool = False


class RayPool(WorkerPool):
    """Actors of a cluster. ``numerics`` are those of the first that answered."""

    def __init__(
        self,
        options: RayOptions,
        rule: NumericsRule,
        run_dir: Path,
        digests: Mapping[Ref, str],
        say: Callable[[str], None],
    ) -> None:
        self._options, self._rule, self._digests, self._say = options, rule, digests, say
        self._run_dir = run_dir.resolve()
        self._own_cluster = not ray.is_initialized()
        for token in self._run_dir.glob(f"{SEEN}*"):  # of a driver that was killed: the directory is this one's now
            token.unlink()
        self._token = self._run_dir / f"{SEEN}{secrets.token_hex(8)}"
        self._token.touch()
        self._states: dict[str, Any] = {}
        self._actors: dict[int, _Actor] = {}
        self._readers: dict[str, Any] = {}  # the actor of each node
        self._stillborn = 0
        self._agreed: Numerics | None = None
        self._cores, self._gpus = options.cpus, options.gpus
        try:
            if self._own_cluster:
                connect(options)
            if self._gpus is None:
                self._gpus = 1.0 if rule.device != "cpu" and ray.cluster_resources().get("GPU", 0) else 0.0
            self.size = options.workers or self._room_for()
            for number in range(self.size):
                self._actors[number] = self._start()
            self.numerics = self._first()
        except BaseException:
            self.close()
            raise

    def _room_for(self) -> int:
        """How many workers the nodes have room for now."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        needs = {"CPU": self._cores, "GPU": self._gpus or 0}
        room = sum(
            min(int(node.get(name, 0) / amount + 1e-9) for name, amount in needs.items() if amount) for node in nodes
        )
        if not room:
            raise ClusterTrouble(
                f"--executor ray: no node of the cluster has room for a worker of {self._cores:g} CPUs and"
                f" {self._gpus:g} GPUs; ask for less with --cpus-per-worker and --gpus-per-worker, or say --processes N"
                " to wait for nodes that come later"
            )
        return room

    def _surroundings(self) -> tuple[dict[str, Any], str, dict[str, str]]:
        """Return the runtime environment of actors, their folder and their variables."""
        clone = Path(bench.__file__).parents[1]
        # Not installed: the others find it where it lies, if they see that place. Wheels are theirs to install.
        env: dict[str, Any] = {}
        if (clone / "pyproject.toml").is_file():
            path = filter(None, [str(clone), os.environ.get("PYTHONPATH")])
            env = {"env_vars": {"PYTHONPATH": os.pathsep.join(path)}}
        environment = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
        for name in ("BENCH_DATA", "BENCH_HOME"):
            if name in environment:
                environment[name] = str(Path(environment[name]).resolve())
        return env, str(Path.cwd()), environment

    def _start(self) -> _Actor:
        env, *surroundings = self._surroundings()
        actor = ray.remote(RayWorker).options(
            num_cpus=self._cores,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env=env,
        )
        handle = actor.remote(*surroundings)
        node = ray.get_runtime_context().get_node_id()
        return _Actor(handle, handle.begin.remote(self._rule, self._run_dir, self._token.name, node), deque(), set())

    def _first(self) -> Numerics:
        """Wait for the first actor."""
        while self._agreed is None:
            waiting = {actor.hello: number for number, actor in self._actors.items()}
            ready, _ = ray.wait(list(waiting), num_returns=1)
            self._meet(waiting[ready[0]])
        return self._agreed

    def _meet(self, number: int) -> None:
        """Take an actor that answered into the pool, or not."""
        actor = self._actors[number]
        try:
            hello = self._answer(number)
        except exceptions.RayTaskError as error:
            raise _own(error) from error
        except exceptions.RayError as error:
            self._stillborn += 1
            if self._stillborn > self._options.retries:
                raise WorkerDied(
                    f"--executor ray: {self._stillborn} workers in a row died before they did anything:"
                    f" {_last_words(error)}; see the logs of Ray on that node"
                ) from error
            self._actors[number] = self._start()
            return
        here = _versions()
        if other := {name: version for name, version in hello.versions.items() if version != here[name]}:
            named = ", ".join(f"{name} {version} (here {here[name]})" for name, version in other.items())
            self._leave_out(number, f"{hello.host} has {named}")
        elif self._agreed is not None and hello.numerics != self._agreed:
            self._leave_out(number, f"{hello.host} computes as {_difference(hello.numerics, self._agreed)}")
        else:
            self._agreed = hello.numerics
            actor.hello, actor.shares = None, hello.shares
            if self._options.readers != 0:
                if hello.node not in self._readers:
                    self._readers[hello.node] = ray_readers.start(hello.node, *self._surroundings())
                actor.handle.read_by.remote(self._readers[hello.node], str(number))

    def _answer(self, number: int) -> Hello:
        hello: Hello = ray.get(self._actors[number].hello)
        return hello

    def _leave_out(self, number: int, why: str) -> None:
        ray.kill(self._actors.pop(number).handle)
        self.size -= 1
        self._say(f"a worker is not used: {why}; equal numbers need equal machines and packages")
        if not self._actors:
            raise ClusterTrouble(f"--executor ray: no worker can be used; the last one: {why}")

    def room(self) -> list[int]:
        free = [number for number, actor in self._actors.items() if not actor.hello and len(actor.under_way) < DEPTH]
        return sorted(free, key=lambda number: len(self._actors[number].under_way))

    def give(self, worker: int, work: Work) -> None:
        actor = self._actors[worker]
        states = {key: self._state(key) for key in work.fits - actor.states}
        actor.states |= states.keys()
        files = []
        if not actor.shares:
            files = [ray.put(chunk) for chunk in _packed(self._run_dir, inputs_of(work))]
        digests = {ref: self._digests[ref] for ref in work.refs if ref in self._digests}
        actor.under_way.append(actor.handle.execute.remote(work, states, files, digests))

    def _state(self, key: str) -> Any:
        if key not in self._states:
            state: State = fitted_store.load(key).state
            self._states[key] = ray.put(state)
        return self._states[key]

    def take(self) -> tuple[int, Outcome | Died] | None:
        heads = {
            actor.hello or actor.under_way[0]: n for n, actor in self._actors.items() if actor.hello or actor.under_way
        }
        ready, _ = ray.wait(list(heads), num_returns=1)
        number = heads[ready[0]]
        actor = self._actors[number]
        if actor.hello:
            self._meet(number)
            return None
        try:
            outcome = ray.get(ready[0])
            if isinstance(outcome, Batch):
                for reference in outcome.chunks:
                    _unpack(ray.get(reference), self._run_dir)
        except exceptions.RayTaskError as error:
            raise _own(error) from error
        except LOST as error:
            return number, Died(_short(error))
        except exceptions.OutOfMemoryError:
            return number, Died("was ended by Ray for want of memory")
        if isinstance(outcome, UserError):
            raise outcome
        self._stillborn = 0
        actor.under_way.popleft()
        if not isinstance(outcome, Batch):
            return number, outcome
        spent.add(outcome.outcome.spent, child=False)
        return number, outcome.outcome

    def restart(self, worker: int) -> None:
        with contextlib.suppress(exceptions.RayError):
            ray.kill(self._actors[worker].handle)
        self._actors[worker] = self._start()

    def close(self) -> None:
        self._token.unlink(missing_ok=True)
        for actor in self._actors.values():
            with contextlib.suppress(exceptions.RayError):
                ray.kill(actor.handle)
        for readers in self._readers.values():
            ray_readers.end(readers)
        if self._own_cluster and ray.is_initialized():
            ray.shutdown()


def connect(options: RayOptions) -> None:
    """Join a cluster, or start one on this machine that nothing outside it can reach."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "namespace": "ood-seg-bench"}
    address = options.address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _knock(address)
            ray.init(address=address, **quiet)
            return
        cores = int((options.workers or 1) * options.cpus + 0.999)
        ray.init(
            address="local",
            num_cpus=max(cores, os.cpu_count() or 1),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    except (OSError, RuntimeError, ValueError, exceptions.RayError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        where = f"the cluster at {address}" if address else "a cluster on this machine"
        raise ClusterTrouble(
            f"--executor ray: {where} cannot be reached: {reason}; start one with 'ray start --head', or say no"
            " --address; where a token is asked for, set RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition(":")
    if re.fullmatch(r"[0-9]+", port) and "/" not in host:
        if len(port) > 5 or int(port) >= 2**16:
            raise OSError(f"{port} is no port")
        socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()


def _own(error: exceptions.RayTaskError) -> BaseException:
    """What was raised in the actor: the user's to repair as it is, or a bug of ours with its traceback there."""
    cause: BaseException = error.cause
    return cause if isinstance(cause, UserError) else error


def _short(error: BaseException) -> str:
    """The reason why an actor is gone, after "a worker"."""
    text = str(error).lower()
    if (
        "low on memory" in text or "memory pressure" in text
    ):  # of its memory monitor; the other texts name it as a guess
        return "was ended by Ray for want of memory"
    if isinstance(error, exceptions.NodeDiedError) or "its node has died" in text:
        return "was lost with its machine"
    return "was killed"


def _last_words(error: BaseException) -> str:
    """What an actor died of before it began: the exception that its start raised, if there is one."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return named[-1] if named else _short(error)


def _difference(own: Numerics, other: Numerics) -> str:
    """Where two numerics differ, for people."""
    its, others = asdict(own), asdict(other)
    return ", ".join(f"{name} {its[name]} (others {others[name]})" for name in its if its[name] != others[name])
