import json

import pytest
from fastapi import FastAPI, Header, Response

from shop_shared.seeding import SeedError, plant, seed_command, seeds_of
from shop_shared.testing import running

SEEDS = [{"key": "one", "request": {"name": "tea"}}, {"key": "two", "request": {"name": "cup"}}]


@pytest.fixture
def garden():
    app = FastAPI()
    app.state.kept = {}

    @app.post("/things", status_code=201)
    def add(body: dict[str, str], response: Response, idempotency_key: str = Header()) -> dict[str, str]:
        if body["name"] == "weed":
            response.status_code = 422
        elif idempotency_key in app.state.kept:
            response.status_code = 200
        else:
            app.state.kept[idempotency_key] = body
        return body

    return app


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "garden.json").write_text(json.dumps(SEEDS))
    return tmp_path / "src" / "garden" / "seed.py"


def test_seeds_are_sent_once_however_often_one_plants(garden):
    with running(garden) as url:
        assert plant(url, "/things", SEEDS) == 2
        assert plant(url, "/things", SEEDS) == 0
    assert garden.state.kept["seed-one"] == {"name": "tea"}


def test_a_refused_seed_is_named(garden):
    with running(garden) as url, pytest.raises(SeedError, match="seed three was refused with 422"):
        plant(url, "/things", [{"key": "three", "request": {"name": "weed"}}])


def test_the_command_seeds_the_service_that_the_environment_names(garden, folder, monkeypatch, capsys):
    with running(garden) as url:
        monkeypatch.setenv("GARDEN_URL", url)
        assert seed_command("garden", "/things", folder) == 0
    assert capsys.readouterr().out == "2 of 2 seeds are new in garden\n"


def test_without_an_address_the_command_says_what_to_set(folder, monkeypatch, capsys):
    monkeypatch.delenv("GARDEN_URL", raising=False)
    assert seed_command("garden", "/things", folder) == 2
    assert "set GARDEN_URL" in capsys.readouterr().err


def test_a_service_that_is_away_fails_the_command(garden, folder, monkeypatch, capsys):
    with running(garden) as url:
        pass
    monkeypatch.setenv("GARDEN_URL", url)
    assert seed_command("garden", "/things", folder) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_seeds_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(SeedError, match=r"seeds/garden\.json"):
        seeds_of("garden", tmp_path / "src" / "garden" / "seed.py")
