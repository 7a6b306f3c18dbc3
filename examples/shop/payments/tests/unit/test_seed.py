import pytest

from payments.seed import main, seed, seeds_file
from payments.store import Store


def test_seeding_twice_adds_nothing_the_second_time():
    store = Store(":memory:")
    assert seed(store) == 3
    assert seed(store) == 0
    assert store.get("pay_seed_3").status == "declined"
    store.close()


def test_the_command_fills_the_file_that_the_environment_names(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE", str(tmp_path / "payments.db"))
    assert main() == 0
    assert "3 payments added" in capsys.readouterr().out


def test_without_a_file_the_command_says_what_to_set(monkeypatch, capsys):
    monkeypatch.delenv("DATABASE", raising=False)
    assert main() == 2
    assert "DATABASE" in capsys.readouterr().err


def test_seeds_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"seeds/payments\.json"):
        seeds_file(tmp_path / "src" / "payments" / "seed.py")
