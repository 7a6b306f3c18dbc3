import pytest
from pydantic import HttpUrl, ValidationError

from shop_shared.settings import ServiceSettings, SettingsError


class Settings(ServiceSettings):
    payments_url: HttpUrl
    payments_timeout: float = 2.0


def test_a_field_is_read_from_the_variable_of_its_name():
    settings = Settings.load({"PAYMENTS_URL": "http://payments:8000", "PAYMENTS_TIMEOUT": "0.5"})

    assert str(settings.payments_url) == "http://payments:8000/"
    assert settings.payments_timeout == 0.5


def test_an_empty_value_counts_as_absent():
    assert Settings.load({"PAYMENTS_URL": "http://p", "PAYMENTS_TIMEOUT": ""}).payments_timeout == 2.0


def test_every_wrong_variable_is_named_at_once():
    with pytest.raises(SettingsError, match=r"PAYMENTS_URL: .*; PAYMENTS_TIMEOUT: .*number"):
        Settings.load({"PAYMENTS_TIMEOUT": "soon"})


def test_variables_that_are_nobodys_are_left_alone():
    assert Settings.load({"PAYMENTS_URL": "http://p", "PATH": "/bin"}).log_level == "INFO"


def test_settings_do_not_change_after_the_start():
    settings = ServiceSettings.load({})
    with pytest.raises(ValidationError, match="frozen"):
        settings.log_level = "DEBUG"
