from __future__ import annotations

import contextlib
import dataclasses
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.config import Config, load_config
from station.errors import ConfigError
from station.redis_url import RedisAddress, parse_redis_url
from station.settings import settings_of

PASSWORD = "s3cr3t"
ONE = (("redis.example", 6379),)
THREE = (("10.0.0.1", 26379), ("two.example", 5000), ("fd00::1", 26379))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis.example", RedisAddress(form="single", hosts=ONE)),
        ("redis://redis.example/", RedisAddress(form="single", hosts=ONE)),
        ("redis://redis.example:6380/7", RedisAddress(form="single", hosts=(("redis.example", 6380),), db=7)),
        ("redis://redis.example?db=7", RedisAddress(form="single", hosts=ONE, db=7)),
        ("redis://[::1]:6380", RedisAddress(form="single", hosts=(("::1", 6380),))),
        ("redis://:s3cr3t@redis.example", RedisAddress(form="single", hosts=ONE, password=PASSWORD)),
        ("redis://me@redis.example", RedisAddress(form="single", hosts=ONE, username="me")),
        (
            "redis://a%40b:c%2Fd@redis.example",
            RedisAddress(form="single", hosts=ONE, username="a@b", password="c/d"),
        ),
        (
            "redis://me:a@b:c,d@redis.example",
            RedisAddress(form="single", hosts=ONE, username="me", password="a@b:c,d"),
        ),
        ("rediss://redis.example", RedisAddress(form="single", hosts=ONE, tls=True)),
        (
            "rediss://redis.example?ssl_ca_certs=/a%20b.pem&ssl_check_hostname=false&ssl_cert_reqs=none",
            RedisAddress(
                form="single",
                hosts=ONE,
                tls=True,
                tls_options={
                    "ssl_ca_certs": "/a b.pem",
                    "ssl_cert_reqs": "none",
                    "ssl_check_hostname": False,
                },
            ),
        ),
        ("unix:///run/redis.sock", RedisAddress(form="socket", path="/run/redis.sock")),
        (
            "unix://me:s3cr3t@/run/my%20redis.sock?db=2",
            RedisAddress(form="socket", path="/run/my redis.sock", db=2, username="me", password=PASSWORD),
        ),
        (
            "redis+sentinel://10.0.0.1,two.example:5000,[fd00::1]/mymaster",
            RedisAddress(form="sentinel", hosts=THREE, service="mymaster"),
        ),
        (
            "rediss+sentinel://me:s3cr3t@10.0.0.1,two.example:5000,[fd00::1]/my.master/3"
            "?sentinel_username=it&sentinel_password=other%26",
            RedisAddress(
                form="sentinel",
                hosts=THREE,
                service="my.master",
                db=3,
                tls=True,
                username="me",
                password=PASSWORD,
                sentinel_username="it",
                sentinel_password="other&",
            ),
        ),
        ("redis+cluster://redis.example", RedisAddress(form="cluster", hosts=ONE)),
        (
            "rediss+cluster://:s3cr3t@a:7000,b:7001/0",
            RedisAddress(form="cluster", hosts=(("a", 7000), ("b", 7001)), tls=True, password=PASSWORD),
        ),
    ],
)
def test_every_form_is_read(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address
    assert "s3cr3t" not in repr(parse_redis_url(url))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3cr3t", "be a URL that starts with redis:// or rediss:// or unix:// or redis+sentinel://"),
        ("http://s3cr3t@host", "be a URL that starts with"),
        ("redis+sentinels://s3cr3t@host/x", "be a URL that starts with"),
        ("redis://", "name each host"),
        ("redis://:s3cr3t@", "name each host"),
        ("redis://:s3cr3t@host:s3cr3t", "name each host"),
        ("redis://:s3cr3t@host:0", "name each host"),
        ("redis://:s3cr3t@host:65536", "name each host"),
        ("redis://:s3cr3t@::1", "name each host"),
        ("redis://:s3cr3t/1@host", "in a password @ is written %40, / %2F, ? %3F and % %25"),
        ("redis://:s3cr3t?1@host", "have only options that Station knows"),
        ("redis://:s3cr3t#1@host", "in a password it is written %23"),
        ("redis://:s3cr3t%ff@host", "be percent-encoded UTF-8"),
        ("redis://a,s3cr3t", "name one host; several are redis+sentinel:// or redis+cluster://"),
        ("redis://host/s3cr3t", "end with the number of a database"),
        ("redis://host/-1", "end with the number of a database"),
        ("redis://host/1/s3cr3t", "end with the number of a database"),
        ("redis://host?db=s3cr3t", "end with the number of a database"),
        ("redis://host/1?db=2", "name the database once"),
        ("redis://host?db=1&db=2", "once each"),
        ("redis://host?s3cr3t=1", "this form has the options db"),
        ("redis://host?ssl_ca_certs=s3cr3t", "this form has the options db"),
        ("rediss://host?ssl_cert_reqs=s3cr3t", "have required or none as ssl_cert_reqs"),
        ("rediss://host?ssl_check_hostname=s3cr3t", "have true or false as ssl_check_hostname"),
        ("unix://", "name a socket by its whole path"),
        ("unix://s3cr3t/redis.sock", "name a socket by its whole path"),
        ("redis+sentinel://:s3cr3t@a,b", "name the service that the Sentinels watch after the hosts"),
        ("redis+sentinel://:s3cr3t@a,b/?db=1", "name the service"),
        ("redis+sentinel://:s3cr3t@a,,b/mymaster", "name each host"),
        ("redis+sentinel://a/mymaster?s3cr3t=1", "the options db, sentinel_username, sentinel_password"),
        ("redis+cluster://:s3cr3t@a,b/1", "name no database but 0"),
        ("redis+cluster://a,b?db=0&s3cr3t", "this form has no options"),
    ],
)
def test_what_is_wrong_is_said_without_a_part_of_the_url(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^(be|have|name|end) ") as refused:
        parse_redis_url(url)
    assert told in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.text().filter(str.isprintable))
def test_any_password_can_be_encoded(password: str, username: str) -> None:
    url = f"redis+cluster://{quote(username, safe='')}:{quote(password, safe='')}@a,b"
    address = parse_redis_url(url)
    assert (address.password, address.username or "") == (password, username)


@given(st.text())
def test_nothing_but_a_value_error_is_raised(rest: str) -> None:
    for scheme in ("redis", "rediss", "unix", "redis+sentinel", "rediss+cluster"):
        with contextlib.suppress(ValueError):
            parse_redis_url(f"{scheme}://{rest}")


def test_it_is_told_with_everything_else_that_is_wrong() -> None:
    environ = {"STATION_PLUGINS": "none", "REDIS_URL": "redis+sentinel://:s3cr3t@a,b", "PORT": "x"}
    with pytest.raises(ConfigError) as refused:
        load_config(environ)
    port, redis_url = refused.value.problems
    assert port.startswith("PORT must ")
    assert redis_url.startswith("REDIS_URL must name the service ")
    assert "s3cr3t" not in str(refused.value)


def test_what_is_shown_of_it_has_no_password() -> None:
    url = "rediss+sentinel://me:s3cr3t,a@b,c/mymaster?sentinel_username=it&sentinel_password=s3cr3t"
    [setting] = [one for one in settings_of(Config) if one.key == "redis_url"]
    config = Config(redis_url=url, jwt_secret="x" * 32)
    assert "s3cr3t" not in setting.shown(url) + repr(config)
    assert "mymaster" in setting.shown(url)


def test_an_address_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_redis_url("redis://host").db = 1  # type: ignore[misc] # a mistake on purpose
