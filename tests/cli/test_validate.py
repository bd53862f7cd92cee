"""`config validate` says which history has no files: that is wrong for a joiner only."""

from pathlib import Path

from tests.test_cli_config import ROOT, called


def test_a_history_without_files_is_said(tmp_path: Path) -> None:
    text = (ROOT / "examples/kafka.toml").read_text()
    source = 'source = "kafka:clicks"'
    assert source in text
    path = tmp_path / "site.toml"
    path.write_text(
        text.replace(source, f'{source}\nhistory = "files:old/*.jsonl"\nhistory_until = "2024-01-05"')
    )
    code, out, err = called("config", "validate", str(path))
    assert (code, out) == (0, "")
    valid, note = err.splitlines()
    assert valid == f"{path}: valid"
    assert note.startswith("note: events.click.history: no file matches") and "joiner will not start" in note
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "clicks.jsonl").write_text("{}\n")
    assert called("config", "validate", str(path))[2] == f"{valid}\n"
