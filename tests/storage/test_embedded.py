"""Starting, sharing and stopping the PostgreSQL that comes with the wheel, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from postpaid.storage import embedded
from postpaid.storage.embedded import EmbeddedError
from postpaid.storage.embedded_programs import IN_NAMESPACE, find_binaries

QUICK = {"fsync": "off"}  # what is tested here outlives killed processes, not a power cut
NOBODY = 65534

# Uses a data directory until its standard input ends, and says first how it went.
USE = """
import signal, sys
from pathlib import Path
from postpaid.storage import embedded
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with embedded.start(Path(sys.argv[1]), settings={"fsync": "off"}) as server:
        print("owner" if server.owner else "guest", flush=True)
        sys.stdin.read()
except embedded.EmbeddedError as error:
    print(error)
"""

# Runs a command as root without the capability that mapping root into a user namespace takes.
WITHOUT_NAMESPACES = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(24, 31, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_SETFCAP
os.execv(sys.argv[1], sys.argv[1:])
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="user namespaces are Linux's")

Use = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def initialized() -> Iterator[Path]:
    """One data directory for many tests, because making one takes a second.

    Its path is short, wherever the tests run, so that its socket has a place in it.
    """
    with tempfile.TemporaryDirectory(prefix="postpaid-") as folder:
        home = Path(folder) / "data"
        embedded.start(home, settings=QUICK).stop()
        yield home


@pytest.fixture
def data_dir(initialized: Path) -> Iterator[Path]:
    yield initialized
    left = postmasters(initialized)
    for pid in left:
        kill(pid)
    assert left == []


@pytest.fixture
def use() -> Iterator[Use]:
    """Starts another process that uses a data directory; closing its input makes it leave."""
    users = []

    def start(data_dir: Path, *prefix: str, **options: object) -> subprocess.Popen[str]:
        users.append(
            subprocess.Popen(
                [*prefix, sys.executable, "-c", USE, str(data_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                **options,  # type: ignore[call-overload]
            )
        )
        return users[-1]

    yield start
    for user in users:
        user.communicate(timeout=60)


def leave(user: subprocess.Popen[str]) -> None:
    user.communicate(timeout=60)


def said(user: subprocess.Popen[str]) -> str:
    return user.stdout.readline().strip()  # type: ignore[union-attr]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in processes())


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited for thirty seconds in vain")


def processes() -> dict[int, str]:
    """The command line of every process by its id, without zombies."""
    if sys.platform != "linux":
        listing = subprocess.run(
            ["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True
        )
        rows = (line.split(maxsplit=1) for line in listing.stdout.splitlines())
        return {int(row[0]): row[1] for row in rows if len(row) == 2}
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile
            continue
        if command:
            found[int(path.parent.name)] = command
    return found


def postmasters(home: Path) -> list[int]:
    """The servers of a directory; a child that one has just forked bears its name for a moment."""
    named = [pid for pid, command in processes().items() if f"postgres -D {home}" in command]
    return [pid for pid in named if parent(pid) not in named]


def parent(pid: int) -> int | None:
    if sys.platform == "linux":
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            return None
    ps = ["ps", "-o", "ppid=", "-p", str(pid)]
    answer = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip()
    return int(answer) if answer else None


def answer(url: str, question: str = "SELECT 1") -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(question).fetchone()
    return row and row[0]


def remember(url: str, value: int) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("DROP TABLE IF EXISTS memory")
        conn.execute("CREATE TABLE memory (value int)")
        conn.execute("INSERT INTO memory VALUES (%s)", (value,))


def test_a_first_start_makes_a_database_and_stop_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "some" / "data"
    with embedded.start(home) as server:
        assert server.owner
        assert answer(server.url, "SELECT current_database() || ' ' || current_user") == (
            "postpaid postpaid"
        )
        assert answer(server.url, "SELECT upper('é') || ('Z' < 'a')::text") == "Étrue"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert postmasters(home) == []
    assert not [path for path in home.rglob("*") if path.is_socket()]
    assert {path.name for path in home.iterdir()} == {
        "postgres",
        "postgres.attached",
        "postgres.conf",
        "postgres.lock",
        "postgres.log",
    }
    server.stop()
    shutil.rmtree(home)


def test_data_survive_a_restart(data_dir: Path) -> None:
    with embedded.start(data_dir, settings=QUICK) as server:
        remember(server.url, 42)
    with embedded.start(data_dir, settings=QUICK) as server:
        assert answer(server.url, "SELECT value FROM memory") == 42


def test_nothing_listens_on_the_network(data_dir: Path) -> None:
    with embedded.start(data_dir, settings=QUICK) as server:
        assert answer(server.url, "SHOW listen_addresses") == ""
        assert answer(server.url, "SHOW unix_socket_directories") == str(data_dir / "postgres")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=5432, user="postpaid", dbname="postpaid")


def test_settings_override_ours_and_the_operator_overrides_both(data_dir: Path) -> None:
    settings = {**QUICK, "work_mem": "5MB", "cluster_name": "it's \\ here"}
    with embedded.start(data_dir, settings=settings) as server:
        assert answer(server.url, "SHOW jit") == "off"
        assert answer(server.url, "SHOW cluster_name") == "it's \\ here"
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET work_mem = '6MB'")
    with embedded.start(data_dir, settings=settings) as server:
        assert answer(server.url, "SHOW work_mem") == "6MB"
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM RESET work_mem")


def test_the_last_to_leave_stops_the_server_whoever_started_it(data_dir: Path, use: Use) -> None:
    owner = embedded.start(data_dir, settings=QUICK)
    guest = use(data_dir)
    assert said(guest) == "guest"
    again = embedded.start(data_dir)
    assert not again.owner
    owner.stop()
    owner.stop()
    assert answer(again.url) == 1
    again.stop()
    assert len(postmasters(data_dir)) == 1
    leave(guest)
    assert postmasters(data_dir) == []


def test_of_four_processes_that_race_one_starts_and_three_attach(data_dir: Path, use: Use) -> None:
    users = [use(data_dir) for _ in range(4)]
    assert sorted(said(user) for user in users) == ["guest", "guest", "guest", "owner"]
    assert len(postmasters(data_dir)) == 1


def test_a_server_that_is_killed_is_launched_again_with_all_that_was_committed(
    data_dir: Path,
) -> None:
    with embedded.start(data_dir, settings={**QUICK, "work_mem": "7MB"}) as server:
        remember(server.url, 43)
        for _ in range(2):
            (before,) = postmasters(data_dir)
            assert not server.revive()
            kill(before)
            until(server.revive)
            assert not server.revive()
            (after,) = postmasters(data_dir)
            assert after != before
            assert answer(server.url, "SELECT value FROM memory") == 43
            assert answer(server.url, "SHOW work_mem") == "7MB"
    assert not server.revive()
    assert postmasters(data_dir) == []


def test_of_several_users_of_a_killed_server_one_launches_it(data_dir: Path) -> None:
    users = [embedded.start(data_dir, settings=QUICK) for _ in range(4)]
    kill(*postmasters(data_dir))
    ready = threading.Barrier(4)
    revived: list[bool] = []

    def revive(user: embedded.Embedded) -> None:
        ready.wait()
        revived.append(any(user.revive() for _ in range(1000)))

    threads = [threading.Thread(target=revive, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(revived) == [False, False, False, True]
    assert len(postmasters(data_dir)) == 1
    for user in users:
        assert answer(user.url) == 1
        user.stop()
    assert postmasters(data_dir) == []


def test_a_server_that_was_killed_under_busy_connections_is_launched_again(data_dir: Path) -> None:
    with embedded.start(data_dir, settings=QUICK) as server:
        with psycopg.connect(server.url) as idle, psycopg.connect(server.url) as busy:
            idle.execute("SELECT 1")
            asking = threading.Thread(target=ask_for_long, args=(busy,))
            asking.start()
            until(lambda: answer(server.url, COUNT_SLEEPERS) == 1)
            kill(*postmasters(data_dir))
            until(server.revive)
            asking.join()
            with pytest.raises(psycopg.OperationalError):
                idle.execute("SELECT 1")
        assert answer(server.url) == 1


COUNT_SLEEPERS = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'
"""


def ask_for_long(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        conn.execute("SELECT pg_sleep(60)")


def test_the_server_of_a_killed_process_is_adopted(data_dir: Path, use: Use) -> None:
    owner = use(data_dir)
    assert said(owner) == "owner"
    kill(owner.pid)
    (orphan,) = postmasters(data_dir)
    with embedded.start(data_dir) as server:
        assert not server.owner
        assert postmasters(data_dir) == [orphan]
    assert postmasters(data_dir) == []


def test_a_killed_server_is_recovered_while_others_are_attached(data_dir: Path, use: Use) -> None:
    guest = use(data_dir)
    assert said(guest) == "owner"
    with embedded.start(data_dir) as server:
        remember(server.url, 7)
        (killed,) = postmasters(data_dir)
        kill(killed)
        with embedded.start(data_dir, settings=QUICK) as relaunched:
            assert relaunched.owner
            assert answer(server.url, "SELECT value FROM memory") == 7


def test_what_is_left_of_a_killed_server_may_take_a_moment_to_end(data_dir: Path) -> None:
    with (
        embedded.start(data_dir, settings=QUICK) as server,
        psycopg.connect(server.url) as conn,
    ):
        backend = conn.info.backend_pid
        os.kill(backend, signal.SIGSTOP)  # as busy as can be
        kill(postmasters(data_dir)[0])
        end = threading.Timer(0.3, os.kill, (backend, signal.SIGCONT))
        end.start()
        with embedded.start(data_dir, settings=QUICK) as relaunched:
            assert relaunched.owner
            assert answer(server.url) == 1
        end.join()
        conn.close()
    assert "is still in use" in (data_dir / "postgres.log").read_text()


def test_a_stale_pid_that_another_process_has_now_is_no_obstacle(data_dir: Path) -> None:
    with embedded.start(data_dir, settings=QUICK) as server:
        remember(server.url, 7)
        kill(postmasters(data_dir)[0])
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with bystander:
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            stale = data_dir / "postgres" / name
            _, *rest = stale.read_text().splitlines()
            stale.write_text("\n".join([str(bystander.pid), *rest, ""]))
        with embedded.start(data_dir, settings=QUICK) as server:
            assert answer(server.url, "SELECT value FROM memory") == 7
        bystander.communicate(b"\n")


def test_the_server_does_not_hear_the_terminal(data_dir: Path, use: Use) -> None:
    user = use(data_dir)
    assert said(user) == "owner"
    os.killpg(user.pid, signal.SIGINT)  # what Ctrl-C does; this user ignores it
    with embedded.start(data_dir) as server:
        assert answer(server.url) == 1
        assert not server.owner


def test_a_first_start_killed_half_way_is_begun_again(tmp_path: Path, use: Use) -> None:
    home = tmp_path / "data"
    user = use(home)
    until(lambda: list(home.glob("postgres.new-*/base")))
    kill(user.pid)
    assert not (home / "postgres").exists()
    with embedded.start(home, settings=QUICK) as server:
        assert answer(server.url) == 1
    shutil.rmtree(home, ignore_errors=True)  # that initdb may still be writing its last


@pytest.fixture(params=["long" * 40, "a, b"])
def no_place_for_a_socket(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[Path]:
    """A data directory whose path is too long for a socket, or means two to the client library."""
    place = data_dir.parent / request.param
    place.mkdir()
    home = data_dir.rename(place / "data")
    yield home
    home.rename(data_dir)
    place.rmdir()


def test_a_socket_that_cannot_be_in_the_cluster_is_in_tmp_meanwhile(
    no_place_for_a_socket: Path, use: Use
) -> None:
    home = no_place_for_a_socket
    with embedded.start(home, settings=QUICK) as server:
        sockets = Path(str(answer(server.url, "SHOW unix_socket_directories")))
        assert sockets.parent == Path("/tmp")
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        guest = use(home)
        assert said(guest) == "guest"
        leave(guest)
        kill(postmasters(home)[0])
    assert not sockets.exists()
    sockets.mkdir()
    sockets.chmod(0o777)
    try:
        with pytest.raises(EmbeddedError, match=f"{sockets} must be a directory that only"):
            embedded.start(home, settings=QUICK)
        assert postmasters(home) == []
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


@only_root
@only_linux
def test_root_needs_no_permission_changed_anywhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in (*tmp_path.parents, tmp_path, closed)}
    with embedded.start(closed / "data", settings=QUICK) as server:
        assert answer(server.url) == 1
        assert {path.stat().st_uid for path in (closed / "data").rglob("*")} == {0}
    assert modes == {path: path.stat().st_mode for path in modes}
    shutil.rmtree(closed)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that everybody may enter, on the way to it too; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="postpaid-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def nobody_may_run(program: Path | str) -> bool:
    try:
        subprocess.run(
            [program, "--version"], capture_output=True, user=NOBODY, check=True, cwd="/"
        )
    except PermissionError:
        return False
    return True


@only_root
@only_linux
def test_root_without_namespaces_becomes_nobody(
    open_dir: Path, initialized: Path, use: Use
) -> None:
    if not nobody_may_run(find_binaries() / "postgres"):
        pytest.skip("PostgreSQL is installed where nobody may not run it")
    home = shutil.copytree(initialized, open_dir / "data")
    user = use(home, sys.executable, "-c", WITHOUT_NAMESPACES)
    assert said(user) == "owner"
    owners = {path.stat().st_uid for path in (home / "postgres", *(home / "postgres").rglob("*"))}
    assert owners == {NOBODY}
    assert home.stat().st_uid == 0
    assert stat.S_IMODE(home.stat().st_mode) == 0o711
    with embedded.start(home) as server:
        assert not server.owner
        leave(user)
    with embedded.start(home, settings=QUICK) as server:  # now with namespaces, still as nobody
        assert server.owner
        assert answer(server.url) == 1


@only_root
@only_linux
def test_root_that_cannot_become_anybody_says_what_is_in_the_way(open_dir: Path, use: Use) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "data"
    error = said(use(home, sys.executable, "-c", WITHOUT_NAMESPACES))
    assert error.startswith("PostgreSQL refuses to run as root, and user 65534 may not pass /")
    assert error.endswith("or give a --database-url.")
    if nobody_may_run(find_binaries() / "postgres"):
        assert f"may not pass {closed} to run" in error
    assert not (home / "postgres").exists()


@only_root
@only_linux
@pytest.mark.parametrize("how", ["truly", "in a namespace"])
def test_an_ordinary_user_uses_a_directory_of_theirs(
    open_dir: Path, initialized: Path, use: Use, how: str
) -> None:
    home = open_dir / "data"
    if how == "truly":
        if not nobody_may_run(sys.executable):
            pytest.skip("this Python is installed where nobody may not run it")
        open_dir.chmod(0o777)
        user = use(home, user=NOBODY, group=NOBODY, cwd="/")
        owner = NOBODY
    else:
        shutil.copytree(initialized, home)
        user = use(home, *in_a_namespace())
        owner = 0
    assert said(user) == "owner"
    assert {path.stat().st_uid for path in (home, *home.rglob("*"))} == {owner}
    with embedded.start(home) as server:
        assert not server.owner
        assert answer(server.url) == 1


def in_a_namespace() -> list[str]:
    return [sys.executable, "-c", IN_NAMESPACE, str(NOBODY), str(NOBODY)]


@only_root
@only_linux
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, use: Use) -> None:
    (tmp_path / "read-only").mkdir(mode=0o500)
    home = tmp_path / "read-only" / "data"
    assert said(use(home, *in_a_namespace())) == (
        f"PostgreSQL cannot use {home}: Permission denied."
    )


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"cannot use .*/file: a file is in the way\.$"):
        embedded.start(tmp_path / "file")
    with pytest.raises(EmbeddedError, match=r"cannot use .*/file/data: a file is in the way\.$"):
        embedded.start(tmp_path / "file" / "data")
    (tmp_path / "postgres").touch()
    with pytest.raises(EmbeddedError, match=r"/postgres/postmaster\.pid: a file is in the way"):
        embedded.start(tmp_path)


def test_data_of_another_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(EmbeddedError, match="/postgres is not a PostgreSQL cluster: move it away"):
        embedded.start(tmp_path)
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedError, match="was written by PostgreSQL 15 and this is PostgreSQL"):
        embedded.start(tmp_path)
    assert (tmp_path / "postgres" / "PG_VERSION").read_text() == "15\n"


def test_a_server_that_does_not_start_is_quoted(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"(?s)did not start.*log ends.*no_such_setting"):
        embedded.start(data_dir, settings={"no_such_setting": "1"})
    with embedded.start(data_dir, settings=QUICK) as server:
        assert answer(server.url) == 1
