"""Makes everything that Tocsin needs, in .venv and a cache: `make setup`, or `python3 deploy/setup.py`.

Standard library only. A run that was cut short is noticed by the next one, which starts anew instead of trusting it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "tocsin-setup.json"
UNFINISHED = VENV / "tocsin-setup.unfinished"
REQUIREMENTS = ROOT / "requirements"
SUMS = ROOT / "deploy/tocsin/deploy/stack/kafka-jars.sha256"
INPUTS = [
    Path(__file__),
    ROOT / "pyproject.toml",
    *(REQUIREMENTS / name for name in ("build.txt", "dev.txt", "java.txt")),
    SUMS,
]
LINES_SHOWN_OF_A_FAILURE = 15
DOWNLOADED = ("Installing collected packages", "Prepared ")
"""How pip and uv begin the line that follows their last download."""

downloads: list[float] = []  # seconds each took


def main() -> int:
    if is_complete():
        if "--check" not in sys.argv:
            print("Everything is set up in .venv")
        return 0
    if "--check" in sys.argv:
        return 1
    missing = what_python_lacks()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    started = time.monotonic()
    try:
        set_up()
    except subprocess.CalledProcessError as failure:
        UNFINISHED.unlink(missing_ok=True)  # the tool said no and left things in order: the next run goes on from here
        print(f"Set-up failed at: {' '.join(failure.cmd)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next run starts anew", file=sys.stderr)
        return 130
    print(f"Set-up: {time.monotonic() - started:.1f} s, of which downloads {sum(downloads):.1f} s", flush=True)
    return 0


Command = list["str | Path"]


def set_up() -> None:
    make_environment()
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    install_packages()
    with compiling():  # beside the downloads, which leave a processor idle
        java = find_or_install_java()
        jars = fetch_jars()
    STAMP.write_text(json.dumps({"inputs": fingerprint(), "java": java, "jars": jars}, indent=2) + "\n")
    UNFINISHED.unlink()


def fingerprint() -> str:
    digest = hashlib.sha256(str(ROOT).encode())  # scripts in .venv hold the path: a moved folder is another one
    for path in INPUTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_complete() -> bool:
    """Quick: files are looked for, not into; the stack checks the jars' sums whenever it starts."""
    try:
        stamp = json.loads(STAMP.read_text())
        names = [line.split()[1] for line in SUMS.read_text().splitlines() if line and not line.startswith("#")]
        present = set(os.listdir(stamp["jars"]))
        return (
            stamp["inputs"] == fingerprint()
            and not UNFINISHED.exists()
            and Path(stamp["java"]).exists()
            and PYTHON.exists()
            and (VENV / "bin" / "tocsin").exists()
            and present.issuperset(names)
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def what_python_lacks() -> str | None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python there is
        return f"Tocsin needs Python 3.11 or newer; {sys.executable} is {version}. Try: make setup PYTHON=python3.12"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{version}-venv"
        how = f"apt install {package}" if shutil.which("apt") else f"install the package that holds it ({package})"
        return f"This Python ({sys.executable}) lacks venv: {how}, then try again."
    return None


def make_environment() -> None:
    if UNFINISHED.exists():
        print("The last set-up was cut short: starting anew")
        shutil.rmtree(VENV)
    elif VENV.exists() and not runs([PYTHON, "-m", "pip", "--version"]):
        print("The environment in .venv does not work: making it anew")
        shutil.rmtree(VENV)
    if not VENV.exists():
        with step("Virtual environment .venv"):
            VENV.mkdir()
            UNFINISHED.touch()
            run([sys.executable, "-m", "venv", VENV])


def install_packages() -> None:
    build, dev = REQUIREMENTS / "build.txt", REQUIREMENTS / "dev.txt"
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    with step(f"Installer: {packages_in(build)} packages of requirements/build.txt, with pip"):
        run([PYTHON, "-m", "pip", "install", *quiet, "--require-hashes", "-r", build], fetches=True)
    with step(f"Python packages: {packages_in(dev)} of requirements/dev.txt, with uv"):
        run([*uv_install(), "--require-hashes", "-r", dev], fetches=True)
    with step("Tocsin itself, editable"):
        run([*uv_install(), "--no-deps", "--no-build-isolation", "-e", ROOT])


@contextmanager
def compiling() -> Iterator[None]:
    """Bytecode of all packages and of our own, written once: every process of the demo starts in half the time.

    Python does it by itself, one import at a time, but not where PYTHONDONTWRITEBYTECODE is set. And the detector's
    machine code, which its first start would take ten seconds for.
    """
    bytecode: Command = [PYTHON, "-m", "compileall", "-q", "-q", VENV / "lib", "shared", "services", "deploy"]
    machine_code: Command = [PYTHON, "-m", "tocsin.evaluator.detector.warm"]
    with in_background(bytecode) as first, in_background(machine_code) as second:
        try:
            yield
        except BaseException:
            first.kill()
            second.kill()
            raise
        with step("Bytecode and the detector's machine code, begun meanwhile"):
            first.wait()  # a file of some package that does not compile is no fault of ours, and harmless
            second.wait()  # as is this: a detector compiles what it misses when it starts


def in_background(command: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT)


def find_or_install_java() -> str:
    """The runtime that the stack will use; a wheel where the machine has none that is new enough."""
    ask: Command = [PYTHON, "-m", "tocsin.deploy.stack", "java"]
    found = answer(ask)
    if found is None:
        with step("Java: none here that is new enough, so a runtime from requirements/java.txt"):
            run([*uv_install(), "--require-hashes", "-r", REQUIREMENTS / "java.txt"], fetches=True)
        found = answer(ask)
    if found is None:
        run(ask)  # says why, and fails
    else:
        print(f"Java: {found}", flush=True)
    return found or ""


def fetch_jars() -> str:
    """Prints what it fetches; the last line names the folder."""
    command: Command = [PYTHON, "-m", "tocsin.deploy.stack", "fetch"]
    said, fetching = "", None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said = line.strip() or said
            if fetching is not None:
                downloads.append(time.monotonic() - fetching)
            fetching = time.monotonic() if line.startswith("Kafka: fetching ") else None
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, [str(part) for part in command])
    return said.partition(" complete in ")[2]


def uv_install() -> Command:
    return [VENV / "bin" / "uv", "pip", "install", "--python", PYTHON]


def packages_in(requirements: Path) -> int:
    return sum("==" in line for line in requirements.read_text().splitlines())


@contextmanager
def step(title: str) -> Iterator[None]:
    print(f"{title} ...", flush=True)
    started, before = time.monotonic(), len(downloads)
    yield
    fetched = f", of which downloads {sum(downloads[before:]):.1f} s" if downloads[before:] else ""
    print(f"    {time.monotonic() - started:.1f} s{fetched}", flush=True)


def run(command: Command, *, fetches: bool = False) -> None:
    """Quiet, but for what is being downloaded; when it fails, the end of what it said."""
    said: list[str] = []
    started = time.monotonic()
    # Another environment that happens to be active is none of our business.
    env = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"}}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=env,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.lstrip().startswith("Downloading "):
                print(f"    {line.strip()}", flush=True)
            if fetches and line.startswith(DOWNLOADED) and has_downloaded(said):
                downloads.append(time.monotonic() - started)
    if process.returncode != 0:
        sys.stderr.writelines(said[-LINES_SHOWN_OF_A_FAILURE:])
        raise subprocess.CalledProcessError(process.returncode, [str(part) for part in command])


def has_downloaded(said: list[str]) -> bool:
    """uv tells of what is large only, but prepares nothing that it has; pip tells of all."""
    return any(line.lstrip().startswith(("Downloading ", "Prepared ")) for line in said)


def runs(command: Command) -> bool:
    return answer(command) is not None


def answer(command: Command) -> str | None:
    """What it printed, or None when it failed or isn't there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
