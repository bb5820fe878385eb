"""Set the process up so that it needs no network, no home and nothing to write but /output and /tmp; then run."""

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["BENCH_HOME"] = str(HERE / "home")
os.environ["BENCH_PLUGINS"] = os.pathsep.join(map(str, sorted((HERE / "plugins").glob("*"))))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="numba-")
os.environ["HOME"] = tempfile.gettempdir()
sys.path.insert(0, str(HERE / "lib"))

if __name__ == "__main__":
    from bench.submit import entry

    sys.exit(entry.main(HERE, Path(sys.argv[1]), Path(sys.argv[2])))
