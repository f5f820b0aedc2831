"""The account that development makes for the console."""

from __future__ import annotations

import dataclasses
import stat
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.app import Application, make_app
from station.auth.models import ADMIN, User
from station.cli.first_admin import EMAIL, FirstAdmin, console_line, has_console
from station.config import Config
from station.errors import Unauthorized

if TYPE_CHECKING:
    from pathlib import Path

    from leaks import Leaks

    from station.auth.service import AuthService
    from station.resources import Resources

URL = "http://127.0.0.1:3001"
HERE = "127.0.0.1"


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, plugins=("oauth_m2m",))


def begin(config: Config, resources: Resources) -> Application:
    return make_app(config, resources=resources, plugins=[FirstAdmin()])


async def log_in(app: Application, password: str) -> User:
    auth: AuthService = app.settings["auth"]
    user, _ = await auth.login(EMAIL, password, HERE)
    return user


@pytest.mark.gen_test
async def test_an_admin_is_made_whose_password_is_in_a_file(
    config: Config, engine_resources: Resources, leaks: Leaks
) -> None:
    app = begin(config, engine_resources)
    async with app.lifespan():
        file = config.data_dir / "console.password"
        password = file.read_text().strip()
        leaks.keep(password)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(password) >= 43
        assert (await log_in(app, password)).roles == (ADMIN,)
    line = console_line(config, URL)
    assert line == (
        f"The console: {URL}/console, as admin@localhost with the password that this prints: cat {file}"
    )


@pytest.mark.gen_test
async def test_the_next_start_undoes_no_change_of_the_password(
    config: Config, engine_resources: Resources
) -> None:
    chosen = "a password that somebody chose"
    app = begin(config, engine_resources)
    async with app.lifespan():
        first = (config.data_dir / "console.password").read_text().strip()
        user = await log_in(app, first)
        await app.settings["auth"].passwords.change(user, first, chosen, HERE)
    app = begin(config, engine_resources)
    async with app.lifespan():
        assert (await log_in(app, chosen)).id == user.id
        with pytest.raises(Unauthorized):
            await log_in(app, first)
        await app.settings["auth"].disable(EMAIL)
    app = begin(config, engine_resources)
    async with app.lifespan():
        with pytest.raises(Unauthorized):
            await log_in(app, chosen)
        assert await engine_resources.database["users"].count_documents({}) == 1


@pytest.mark.gen_test
async def test_nothing_is_made_where_there_is_an_admin(config: Config, engine_resources: Resources) -> None:
    app = make_app(config, resources=engine_resources)
    async with app.lifespan():
        await app.settings["auth"].create_user("ada@example.com", "correct horse battery", roles=[ADMIN])
    app = begin(config, engine_resources)
    async with app.lifespan():
        assert await engine_resources.database["users"].count_documents({}) == 1
    assert not (config.data_dir / "console.password").exists()
    assert console_line(config, URL) == f"The console: {URL}/console, for accounts with the role admin"


@pytest.mark.gen_test
async def test_a_person_of_that_name_stays_who_they_are(config: Config, engine_resources: Resources) -> None:
    app = make_app(config, resources=engine_resources)
    async with app.lifespan():
        await app.settings["auth"].create_user(EMAIL, "correct horse battery")
    app = begin(config, engine_resources)
    async with app.lifespan():
        assert (await log_in(app, "correct horse battery")).roles == ()
    assert not (config.data_dir / "console.password").exists()


@pytest.mark.gen_test
async def test_neither_commands_nor_other_workers_make_one(
    config: Config, engine_resources: Resources
) -> None:
    async with begin(config, engine_resources).lifespan(serving=False):
        pass
    app = begin(config, engine_resources)
    app.worker = dataclasses.replace(app.worker, number=1)
    async with app.lifespan():
        assert await engine_resources.database["users"].count_documents({}) == 0


@pytest.mark.gen_test
async def test_without_a_console_nobody_is_made(config: Config, engine_resources: Resources) -> None:
    off = dataclasses.replace(config, sections={"oauth_m2m": OAuthM2MConfig(bcrypt_cost=4, console="off")})
    app = begin(off, engine_resources)
    assert not has_console(app)
    async with app.lifespan():
        assert await engine_resources.database["users"].count_documents({}) == 0


def test_a_directory_with_a_space_can_be_pasted(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "it's here")
    config.data_dir.mkdir()
    (config.data_dir / "console.password").touch()
    assert console_line(config, URL).endswith(f"""cat '{tmp_path}/it'"'"'s here/console.password'""")
