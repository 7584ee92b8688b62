"""What an operator says of further places, and of what is copied there."""

import pytest
from fsspec import AbstractFileSystem

from drs_service.blobs.fsspec_connecting import options_of
from drs_service.blobs.sftp import Sftp
from drs_service.domain.places import parse_places, parse_secrets, path_within
from drs_service.domain.replication import Rule, parse_rules, places_for
from drs_service.errors import SettingsInvalid
from drs_service.parts import access_of
from drs_service.settings import Secret, Settings

MIRROR = "mirror=s3://bucket/prefix?endpoint_url=https://s3.example.org&region=eu-1&access_key_id=AKIA"


def test_a_place_is_a_name_and_a_url_with_options() -> None:
    mirror, cold = parse_places([MIRROR, "cold=file:///mnt/cold"], primary="primary")
    assert (mirror.name, mirror.url) == ("mirror", "s3://bucket/prefix")
    assert mirror.options == {"endpoint_url": "https://s3.example.org", "region": "eu-1", "access_key_id": "AKIA"}
    assert (cold.name, cold.url, cold.options) == ("cold", "file:///mnt/cold", {})


def test_an_external_place_is_beside_the_others() -> None:
    [archive] = parse_places(["archive=s3://bucket/a?region=eu-1&external=true"], primary="primary")
    assert (archive.url, archive.options, archive.external) == ("s3://bucket/a", {"region": "eu-1"}, True)
    for said in (
        "s3://bucket/ab",
        "s3://other/a",
        "gs://bucket/a",
        "s3://bucket/a?endpoint_url=https://s3.example.org",
    ):
        Settings.from_env({"DRS_PLACES": f"archive=s3://bucket/a?external=true other={said}"})


@pytest.mark.parametrize(
    ("url", "inner", "path"),
    [
        ("file:///a", "file:///a/b%20c/%FFd", "b c/\udcffd"),
        ("file:///a/", "file:///a", ""),
        ("file:///a", "file:///ab", None),
        ("file:///", "file:///a", "a"),
        ("s3://bucket", "s3://bucket/a/", "a"),
        ("s3://bucket", "gs://bucket/a", None),
        ("az://c/a", "abfs://c/a/b", "b"),
    ],
)
def test_a_path_within_a_place(url: str, inner: str, path: str | None) -> None:
    assert path_within(url, inner) == path


@pytest.mark.parametrize(
    "env",
    [
        {"DRS_PLACES": "file:///mnt/cold"},
        {"DRS_PLACES": "Cold=file:///mnt/cold"},
        {"DRS_PLACES": "cold=/mnt/cold"},
        {"DRS_PLACES": "cold=package.module:Class"},
        {"DRS_PLACES": "cold=s3://"},
        {"DRS_PLACES": "cold=s3://key:secret@bucket/"},
        {"DRS_PLACES": "cold=s3://bucket?secret_access_key=x"},
        {"DRS_PLACES": "cold=s3://bucket?region=a&region=b"},
        {"DRS_PLACES": "cold=s3://bucket?region"},
        {"DRS_PLACES": "cold=s3://bucket?endpoint_url=s3.example.org"},
        {"DRS_PLACES": "cold=file:///mnt/cold?region=a"},
        {"DRS_PLACES": "primary=file:///mnt/cold"},
        {"DRS_PLACES": "main=file:///mnt/cold", "DRS_STORAGE_NAME": "main"},
        {"DRS_PLACES": "cold=file:///a cold=file:///b"},
        {"DRS_PLACES": "cold=s3://bucket?access_key_id=AKIA"},
        {"DRS_PLACES": "cold=s3://bucket", "DRS_PLACE_SECRETS": "cold=x"},
        {"DRS_PLACES": "cold=s3://bucket", "DRS_PLACE_SECRETS": "hot=x"},
        {"DRS_PLACES": "cold=s3://bucket", "DRS_PLACE_SECRETS": "x"},
        {"DRS_PLACES": "cold=file:///a?external=yes"},
        {"DRS_PLACES": "cold=memory:?external=true"},
        {"DRS_PLACES": "cold=file:///a?external=true", "DRS_REPLICAS": "cold"},
        {"DRS_PLACES": "cold=file:///a?external=true warm=file:///a/b"},
        {"DRS_PLACES": "cold=file:///a/b?external=true", "DRS_STORAGE_URL": "file:///a"},
        {"DRS_PLACES": "cold=file:///a?external=true", "DRS_DATA_DIR": "/a/data"},
        {"DRS_PLACES": "cold=file:///a?external=true", "DRS_DATA_DIR": "/a/data", "DRS_STORAGE_URL": "s3://bucket"},
        {"DRS_PLACES": "cold=s3://bucket?external=true", "DRS_STORAGE_URL": "s3://bucket/prefix"},
        {"DRS_PLACES": "cold=sftp://host/path"},
        {"DRS_STORAGE_URL": "sftp://host/path"},
        {"DRS_STORAGE_URL": "sftp://host/path", "DRS_FSSPEC_PROTOCOLS": "smb"},
        {"DRS_FSSPEC_PROTOCOLS": "package.module:Class"},
        {"DRS_FSSPEC_PROTOCOLS": "package.module.Class"},
        {"DRS_FSSPEC_PROTOCOLS": "s3"},
        *(
            {"DRS_FSSPEC_PROTOCOLS": "sftp,simplecache", variable: prefix + url}
            for variable, prefix in (("DRS_PLACES", "cold="), ("DRS_STORAGE_URL", ""))
            for url in (
                "sftp://user:secret@host/path",
                "sftp://host/path?password=secret@",
                "sftp://host/path?Port=1",
                "sftp://host/path?a=1&a=2",
                "sftp://host/path#a",
                "sftp://host/path?external=true",
                "sftp:path",
                "simplecache::sftp://host/path",
                "simplecache://path::sftp://host/path",
            )
        ),
        {"DRS_STORAGE_NAME": "Main"},
        {"DRS_REPLICAS": "cold"},
        {"DRS_REPLICAS": "primary", "DRS_PLACES": "cold=file:///a"},
        *(
            {"DRS_PLACES": "cold=file:///a", "DRS_REPLICAS": rule}
            for rule in (
                "cold:",
                "cold:size>1",
                "cold:size>=1GB",
                "cold:size>=1,size>=2",
                "cold:type=image",
                "cold:type=*/*",
                "cold:space=a/b",
                "cold:name=x",
                "cold:size>=1,",
            )
        ),
    ],
)
def test_places_that_cannot_work_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_env(env)
    assert "secret@" not in str(caught.value)


def test_another_process_reads_the_same_places() -> None:
    settings = Settings.from_env(
        {
            "DRS_PLACES": f"{MIRROR} cold=file:///mnt/cold",
            "DRS_PLACE_SECRETS": "mirror=hunter2",
            "DRS_REPLICAS": "mirror cold:size>=10,type=image/*",
        }
    )
    assert Settings.from_env(settings.to_env()) == settings
    assert "hunter2" not in repr(settings)


def test_a_place_is_reached_as_it_says_and_otherwise_as_the_primary() -> None:
    settings = Settings(
        places=(MIRROR, "second=s3://other?region=us-2"),
        place_secrets=Secret("mirror=one"),
        s3_endpoint_url="https://primary.example.org",
        s3_access_key_id="general",
        s3_secret_access_key=Secret("secret"),
    )
    mirror, second = (access_of(one, settings).s3 for one in parse_places(settings.places, primary="primary"))
    assert (mirror.endpoint_url, mirror.region) == ("https://s3.example.org", "eu-1")
    assert (mirror.access_key_id, mirror.secret_access_key) == ("AKIA", "one")
    assert (second.endpoint_url, second.region) == ("https://primary.example.org", "us-2")
    assert (second.access_key_id, second.secret_access_key) == ("general", "secret")


def test_a_place_of_another_protocol_takes_the_options_of_its_library() -> None:
    settings = Settings.from_env(
        {
            "DRS_FSSPEC_PROTOCOLS": "sftp,smb",
            "DRS_STORAGE_URL": "sftp://drs@one.example.org:2222/srv/a%20b?known_hosts=/etc/hosts&compress=true",
            "DRS_PLACES": "share=smb://two.example.org/share/drs?secret_option=ticket&register_session_retries=7",
            "DRS_PLACE_SECRETS": "primary=hunter2 share=hunter3",
        }
    )
    assert Settings.from_env(settings.to_env()) == settings
    [share] = settings.other_places
    primary, other = (access_of(one, settings).fsspec for one in (settings.primary, share))
    assert (settings.primary.url, share.url) == (
        "sftp://drs@one.example.org:2222/srv/a%20b",
        "smb://two.example.org/share/drs",
    )
    assert "hunter" not in repr((primary, other, settings))
    assert options_of(settings.primary.url, Sftp, primary) == {
        "host": "one.example.org",
        "port": 2222,
        "username": "drs",
        "known_hosts": "/etc/hosts",
        "compress": True,
        "password": "hunter2",
    }
    assert options_of(share.url, AbstractFileSystem, other) == {"register_session_retries": 7, "ticket": "hunter3"}


def test_secrets_may_stand_in_lines() -> None:
    assert parse_secrets("a=1\nb=2=3\n") == {"a": "1", "b": "2=3"}


def test_rules_are_read_as_they_are_said() -> None:
    assert parse_rules(" mirror  cold:size>=1000000,type=Image/*,size<=2000000 cold:space=a ") == (
        Rule(place="mirror"),
        Rule(place="cold", least=1000000, most=2000000, media_type="image/*"),
        Rule(place="cold", space="a"),
    )
    assert parse_rules("") == ()


def test_a_size_decides_where_a_blob_may_be_wanted() -> None:
    rules = parse_rules("big:size>=10 all small:size<=10 big:size<=3")
    assert places_for(rules, 10) == ["big", "all", "small"]
    assert places_for(rules, 11) == ["big", "all"]
    assert places_for(rules, 5) == ["all", "small"]
    assert places_for(rules, 3) == ["all", "small", "big"]
