"""What is written down about a running stack, and when it is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.deploy.processes import ProcessRef
from tocsin.deploy.stack import StackInfo, find_running
from tocsin.deploy.stack.cli import stack
from tocsin.deploy.stack.info import read_info
from tocsin.deploy.stack.ports import free_port

DAMAGED = (
    '{"bootstrap_servers": "127.0.0.1:1", "cluster_id": "a", "redis_url": null, "smtp": null, "mail_dir": null, '
    '"pids": [1, 2], "started": {}}'
)


def info(port: int) -> StackInfo:
    return StackInfo(
        bootstrap_servers=f"127.0.0.1:{port}",
        cluster_id="abc",
        redis_url=None,
        smtp_port=None,
        mail_dir=None,
        processes={"kafka": ProcessRef.of(os.getpid())},
    )


def test_what_is_written_is_read_back_and_plain_for_others(tmp_path: Path) -> None:
    written = info(9092)
    written.write(tmp_path)
    assert read_info(tmp_path) == written
    assert json.loads((tmp_path / "stack.json").read_text())["bootstrap_servers"] == "127.0.0.1:9092"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bootstrap_servers": "127.0.0.1:1"}', DAMAGED])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert find_running(tmp_path) is None


def test_a_stack_whose_broker_does_not_answer_is_not_running(tmp_path: Path) -> None:
    info(free_port()).write(tmp_path)
    assert find_running(tmp_path) is None


def test_status_and_down_of_a_folder_without_a_stack_say_so_and_make_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "not-there"
    status = CliRunner().invoke(stack, ["status", "--state-dir", str(folder)])
    down = CliRunner().invoke(stack, ["down", "--state-dir", str(folder)])
    assert (status.exit_code, status.output) == (1, f"nothing is running in {folder}\n")
    assert (down.exit_code, down.output) == (0, f"nothing is running in {folder}\n")
    assert not folder.exists()


def test_a_broker_setting_without_a_value_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(stack, ["up", "--state-dir", str(tmp_path), "--property", "num.io.threads"])
    assert result.exit_code == 2
    assert "'num.io.threads' is not of the form key=value" in result.output
