"""Settings: one reader, all faults at once."""

from pathlib import Path
from uuid import uuid4

import pytest

from drs_service.errors import BindRefused, SettingsInvalid
from drs_service.parts import beside
from drs_service.settings import Secret, Settings


def test_nothing_set_is_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_an_empty_variable_is_not_set() -> None:
    assert Settings.from_env({"DRS_PORT": "", "DATABASE_URL": ""}) == Settings()


def test_the_command_line_wins_over_the_environment() -> None:
    assert Settings.from_env({"DRS_PORT": "1", "DRS_HOST": "::1"}, port=2, host=None) == Settings(port=2, host="::1")


def test_every_fault_is_told_at_once() -> None:
    env = {"DRS_PORT": "65536", "DRS_PROCESSES": "0", "DRS_MAX_UPLOAD_BYTES": "5GB"}
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_env(env)
    assert all(name in str(caught.value) for name in env)


@pytest.mark.parametrize(
    "env",
    [
        {"PUBLIC_URL": "drs.example.org"},
        {"PUBLIC_URL": "ftp://drs.example.org"},
        {"PUBLIC_URL": "https://drs.example.org/?x"},
        {"PUBLIC_URL": "https://[::1"},
        {"PUBLIC_URL": "https://[::1]"},
        {"PUBLIC_URL": "https://drs.example.org:port"},
        {"PUBLIC_URL": "https://user:secret@drs.example.org"},
        {"PUBLIC_URL": "https://bücher.example"},
        {"PUBLIC_URL": "https://drs.example.org/\n"},
        {"DRS_STORAGE_URL": "ftp://bucket"},
        {"DRS_STORAGE_URL": "gs:///prefix"},
        {"DRS_STORAGE_URL": "az://container"},
        {"DRS_AZURE_ACCOUNT_KEY": "alone"},
        {"DRS_AZURE_ACCOUNT": "twice", "DRS_AZURE_CONNECTION_STRING": "AccountName=a;AccountKey=b"},
        {"DRS_AZURE_ENDPOINT_URL": "127.0.0.1:10000"},
        {"DRS_GCS_ENDPOINT_URL": "127.0.0.1:9023"},
        {"DRS_STORAGE_URL": "s3://"},
        {"DRS_STORAGE_URL": "s3:///prefix"},
        {"DRS_STORAGE_URL": "s3://key:secret@bucket/prefix"},
        {"DRS_S3_ENDPOINT_URL": "127.0.0.1:9000"},
        {"DRS_S3_ACCESS_KEY_ID": "alone"},
        {"DRS_S3_SECRET_ACCESS_KEY": "alone"},
        {"DATABASE_URL_FILE": "/nowhere/at/all"},
        {"DRS_STORAGE_URL": "file://relative"},
        {"DRS_STORAGE_URL": "memory://", "DRS_PROCESSES": "2"},
        {"DRS_LOG_LEVEL": "loud"},
        {"DRS_STORAGE_URL": "memory:", "DRS_PROCESSES": "2"},
        {"DRS_PORT": "9" * 5000},
        {"DRS_OWNER_QUOTA_BYTES": "0"},
        {"DRS_OWNER_QUOTA_BYTES": "5GB"},
        {"DRS_SPACE_QUOTA_BYTES": "-1"},
        {"DRS_MAX_UNFINISHED_UPLOADS": "0"},
        {"DRS_MAX_UPLOADS_AT_ONCE": "none"},
        {"DRS_UPLOAD_REQUESTS_PER_MINUTE": "0.5"},
        {"DRS_UPLOAD_BYTES_PER_SECOND": "65535"},
        {"DRS_VERIFY_EXTERNAL": "yes"},
        {"DRS_VERIFY_EXTERNAL": "True"},
        {"DRS_VERIFY_EXTERNAL": "1"},
        {"DRS_VERIFY_EXTERNAL_HOSTS": "files.example.org"},
        {"DRS_VERIFY_EXTERNAL_HOSTS": "10.0.0.0/8 10.0.0.1/8"},
        {"DRS_VERIFY_EXTERNAL_HOSTS": "10.0.0.0/33"},
    ],
)
def test_a_setting_that_cannot_work_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid):
        Settings.from_env(env)


def test_a_limit_that_is_not_set_is_none() -> None:
    settings = Settings.from_env({"DRS_OWNER_QUOTA_BYTES": "100", "DRS_SPACE_QUOTA_BYTES": ""})
    assert (settings.owner_quota_bytes, settings.space_quota_bytes) == (100, None)
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        (" https://a.example,http://localhost:3000 ,\t* ", ("https://a.example", "http://localhost:3000", "*")),
        ("http://[::1]:8080 http://127.0.0.1:1", ("http://[::1]:8080", "http://127.0.0.1:1")),
        ("chrome-extension://abcdefgh https://xn--bcher-kva.example", None),
        ("http://a.example:443 https://a.example:80", None),
        (" , ", ()),
    ],
)
def test_origins_are_separated_by_commas_or_spaces(text: str, origins: tuple[str, ...] | None) -> None:
    settings = Settings.from_env({"DRS_CORS_ORIGINS": text})
    assert settings.cors_origins == (tuple(text.split()) if origins is None else origins)
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.parametrize(
    "origin",
    [
        "a.example",
        "null",
        "*.example.org",
        "https://*.example.org",
        "https://",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?x",
        "https://user@a.example",
        "https://A.example",
        "HTTPS://a.example",
        "https://a.example:443",
        "http://a.example:80",
        "http://a.example:65536",
        "http://a.example:080",
        "http://a.example:",
        "https://bücher.example",
        "http://[0:0::1]",
        "http://[:::]",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(SettingsInvalid, match="DRS_CORS_ORIGINS") as caught:
        Settings.from_env({"DRS_CORS_ORIGINS": f"https://a.example {origin}"})
    assert repr(origin) in str(caught.value)
    assert str(caught.value).count("DRS_CORS_ORIGINS") == 1


def test_a_switch_is_true_or_false() -> None:
    assert Settings.from_env({"DRS_VERIFY_EXTERNAL": "true"}).verify_external is True
    assert Settings.from_env({"DRS_VERIFY_EXTERNAL": "false"}).verify_external is False
    with pytest.raises(SettingsInvalid, match="DRS_VERIFY_EXTERNAL: 'on' is neither true nor false"):
        Settings.from_env({"DRS_VERIFY_EXTERNAL": "on"})


def test_a_name_where_an_address_is_wanted_is_told() -> None:
    with pytest.raises(SettingsInvalid, match=r"DRS_VERIFY_EXTERNAL_HOSTS: .*'files\.example\.org'"):
        Settings.from_env({"DRS_VERIFY_EXTERNAL_HOSTS": "10.1.2.3 fd00::/8 files.example.org"})


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("very secret\n")
    env = {"DRS_S3_ACCESS_KEY_ID": "id", "DRS_S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret")}
    settings = Settings.from_env(env)
    assert settings.s3_secret_access_key == Secret("very secret")
    assert Settings.from_env(env | settings.to_env()) == settings
    with pytest.raises(SettingsInvalid, match="DRS_S3_SECRET_ACCESS_KEY_FILE is set as well"):
        Settings.from_env(env | {"DRS_S3_SECRET_ACCESS_KEY": "another"})


def test_another_process_reads_back_what_was_handed_over() -> None:
    settings = Settings(
        database_url=Secret("postgresql://u:p@h/d"),
        data_dir=Path("/srv/x"),
        port=0,
        processes=3,
        verify_external=True,
        verify_external_hosts=("10.0.0.0/8", "fd00::1"),
    )
    assert Settings.from_env(settings.to_env()) == settings


def test_a_secret_does_not_print() -> None:
    settings = Settings(database_url=Secret("postgresql://u:hunter2@h/d"))
    assert "hunter2" not in f"{settings} {settings!r} {settings.database_url}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_served(host: str) -> None:
    Settings(host=host).check_bind()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "drs.example.org", "localhost.example.org", ""])
def test_what_others_reach_is_not(host: str) -> None:
    with pytest.raises(BindRefused):
        Settings(host=host).check_bind()


def test_a_store_beside_a_service_that_keeps_its_bytes_elsewhere_is_not_taken_for_its_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=Secret("postgresql:///drs"))
    (tmp_path / "store" / "identity").mkdir(parents=True)
    with pytest.raises(SettingsInvalid, match="no service keeps its bytes in"):
        beside(settings)
    (tmp_path / "store" / "identity" / str(uuid4())).touch()
    assert beside(settings).storage_url == (tmp_path / "store").as_uri()
